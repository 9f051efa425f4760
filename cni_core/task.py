"""What an ADD or CHECK is about, in one value that every step of it takes."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_core.contracts import LinkKind
    from cni_core.names import Attachment
    from cni_core.netns import Place
    from cni_core.network import Network


class Task:
    """Who is attached (attachment) to what (network) by which kind of link (kind), and where: the host's namespace and
    the container's.
    """

    __slots__ = ("attachment", "container", "host", "kind", "network")

    def __init__(self, attachment: Attachment, network: Network, kind: LinkKind, host: Place, container: Place) -> None:
        self.attachment = attachment
        self.network = network
        self.kind = kind
        self.host = host
        self.container = container

    @property
    def home(self) -> Place:
        """Where the parent is."""
        return self.container if self.network.link_in_container else self.host
