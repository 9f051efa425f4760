"""The program cni-ipvlan-py."""

from __future__ import annotations

from cni_core.entry import main

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_core.entry import Commands, Plugin


def ipvlan() -> Plugin:
    import ipam
    from cni_core.attach import Attachments
    from cni_ipvlan_py import link

    return Attachments(link, ipam.choose)


def commands() -> Commands:
    from cni_cli.main import main

    return lambda program, arguments: main(program, "ipvlan", arguments)


main({"ipvlan": ipvlan}, commands)
