"""The network's configuration as values: read once from the document that the schema accepted, then by attribute.

Each value is what the plugins go by: a key that is absent, null, empty or zero, all of which Go's plugins take for the
same, has its default here. What only one reader needs stays as it is: `ipam`, for the IPAM that it names.
"""

from __future__ import annotations

from cni_core.names import split_vlan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cni_core.access import HostAccess


class Network:
    """What cni_core/schema's network.json and the schema of the kind tell of each key; the names are the kernel's.

    masters: names of the parent, of which the first that exists is taken; none: the link of the default route.
    vlan, mtu, bc_queue_length: 0 where none is asked for. mode, flag, mac, dad, conflict, ra, ipv6_token: empty where
    none is. mac_is_stable: it follows from whom the attachment is for (cni_core.stable), and mac is empty. host_routes:
    None where the configuration does not say; host_access: None where there is to be none. dns: the specification's
    dictionary, empty if there is none. sysctls: values by names, of which IFNAME is a part. What the kind's schema does
    not know (a flag of macvlan's) may be anything, and nobody reads it.
    """

    __slots__ = (
        "bc_queue_length",
        "conflict",
        "dad",
        "dns",
        "flag",
        "host_access",
        "host_routes",
        "internal",
        "ipam",
        "ipv6",
        "ipv6_token",
        "link_in_container",
        "mac",
        "mac_is_stable",
        "masters",
        "mode",
        "mtu",
        "name",
        "ra",
        "sysctls",
        "vlan",
    )

    def __init__(self, config: dict[str, Any]) -> None:
        master: str | list[str] = config.get("master") or []
        self.name: str = config["name"]
        self.masters: list[str] = [master] if isinstance(master, str) else master
        self.vlan: int = config.get("vlan") or 0
        self.internal: bool = config.get("internal", False)
        self.link_in_container: bool = config.get("linkInContainer", False)
        self.mode: str = config.get("mode", "")
        self.flag: str = config.get("flag", "")
        self.mtu: int = config.get("mtu", 0)
        mac: str = config.get("mac", "")
        self.mac_is_stable = mac == "stable"
        self.mac = "" if self.mac_is_stable else mac
        self.bc_queue_length: int = config.get("bcqueuelen", 0)
        self.dad: str = config.get("dad", "")
        self.conflict: str = config.get("conflict", "")
        self.host_routes: bool | None = config.get("hostRoutes")
        self.host_access: HostAccess | None = None
        if config.get("hostAccess"):
            from cni_core.access import HostAccess  # not for a network to pay for that has none

            self.host_access = HostAccess.from_json(config["hostAccess"])
        self.dns: dict[str, Any] = config.get("dns", {})
        self.ipam: dict[str, Any] = config.get("ipam", {})
        self.ra: str = config.get("ra", "")
        self.ipv6: bool = config.get("ipv6", True)
        self.ipv6_token: str = config.get("ipv6Token", "")
        self.sysctls: dict[str, str] = config.get("sysctls", {})

    @property
    def is_tuned(self) -> bool:
        """Whether the link has settings of its own, for cni_core.tuning."""
        return bool(self.ra or not self.ipv6 or self.ipv6_token or self.sysctls)

    @property
    def probes(self) -> bool:
        """Whether the LAN is asked for an address before a container gets it."""
        return self.conflict == "probe"

    @property
    def may_make_its_parent(self) -> bool:
        """Whether the parent may be one that an ADD makes: a dummy, or a VLAN."""
        return self.internal or self.vlan > 0 or any(split_vlan(name) for name in self.masters)
