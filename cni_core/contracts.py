"""What the walk of a call (cni_core.attach) asks of a kind of link and of an IPAM. Types alone: nothing runs here."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Protocol

    from cni_core.address import Address, Cidr
    from cni_core.network import Network
    from cni_core.request import Request
    from cni_core.result import Result
    from cni_core.rtnl.messages import Link
    from cni_core.undo import Steps

    class LinkKind(Protocol):
        """What differs between macvlan and ipvlan."""

        @property
        def NAME(self) -> str:
            """The kernel's and the schema's name of the kind (IFLA_INFO_KIND)."""

        @property
        def TAKES_OVER(self) -> bool:
            """Whether a parent and addresses that the configuration leaves out are those of prevResult."""

        @property
        def SWITCHES_OTHERS(self) -> bool:
            """Whether the kernel gives a new link's mode to all others of its parent."""

        @property
        def LIES_FLAT_ON(self) -> tuple[str, ...]:
            """Kinds of parent through which the kernel looks, to put a new link on the parent's own parent."""

        @property
        def HAS_OWN_MAC(self) -> bool:
            """Whether each link has a hardware address of its own, not its parent's."""

        def accepts(self, config: dict[str, Any]) -> bool:
            """Whether the configuration is valid by the kind's schema."""

        def use(self, network: Network) -> str:
            """What a parent is used as: only attachments of equal use can share it."""

        def use_of(self, link: Link) -> str:
            """The use of the parent of a link that is there."""

        def is_exclusive(self, network: Network) -> bool:
            """Whether a parent that is used so carries one link alone."""

        def is_routed(self, network: Network) -> bool:
            """Whether packets go by routes alone, so that there are no next hops."""

        def info_data(self, network: Network) -> bytes:
            """The attributes of IFLA_INFO_DATA for a new link."""

        def mac(self, request: Request, network: Network) -> bytes:
            """The hardware address to give the link; empty for the kernel's choice. CniError."""

        def difference(self, network: Network, link: Link) -> str:
            """In words, how a link differs from what the configuration asks for; empty if it does not."""

    class Ipam(Protocol):
        """Where addresses come from."""

        @property
        def NEEDS_LINK(self) -> bool:
            """Whether it looks at the container's link or sends by it, as dhcp does: it is then asked to add when the
            link has its name, and to delete while the link is there.
            """

        def add(self, request: Request, steps: Steps, refused: Mapping[Address, str]) -> Result:
            """ips, routes and dns for the attachment, as steps. CniError.

            refused: addresses that cannot be given, each with the reason in words. They are passed over; CniError where
            one of them is asked for, or nothing else is left. May be called again when its steps were taken back.
            """

        def delete(self, request: Request) -> None:
            """Releases all addresses of the attachment; none is no error."""

        def check(self, request: Request) -> None:
            """CniError unless the attachment still holds its addresses."""

        def gc(self, request: Request) -> None:
            """Releases what no valid attachment owns."""

        def status(self, request: Request) -> None:
            """CniError if an add would fail now."""

        def subnets(self, request: Request) -> list[Cidr]:
            """What the network's addresses are from, as far as its configuration tells."""
