"""The program cni-ipvlan-py."""

from __future__ import annotations

from cni_core.entry import main

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_core.entry import Plugin


def ipvlan() -> Plugin:
    import ipam
    from cni_core.attach import Attachments
    from cni_ipvlan_py import link

    return Attachments(link, ipam.choose)


main({"ipvlan": ipvlan})
