"""Settings of a link that are others for as long as it asks a question of the LAN."""

from __future__ import annotations

from cni_core import sysctl


class Lent:
    """Settings of a link that are others for a while: family, table, name and value of each, as in
    ("ipv6", "neigh", "retrans_time_ms", "50") of net.ipv6.neigh.IFNAME.retrans_time_ms.
    """

    __slots__ = ("_before", "_settings")

    def __init__(self, settings: tuple[tuple[str, str, str, str], ...]) -> None:
        self._settings = settings
        self._before: list[str] = []

    def set(self, ifname: str) -> None:
        """By the name that the link has now, in the namespace that the thread is in. CniError."""
        for family, table, name, value in self._settings:
            self._before.append(sysctl.read("net", family, table, ifname, name))
            sysctl.write(value, "net", family, table, ifname, name)

    def give_back(self, ifname: str) -> None:
        """By the name that it has then; once more does nothing. CniError."""
        for (family, table, name, _), value in zip(self._settings, self._before, strict=False):
            sysctl.write(value, "net", family, table, ifname, name)
        self._before.clear()
