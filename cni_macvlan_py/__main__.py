"""The program cni-macvlan-py, which under the name host-local is that plugin."""

from __future__ import annotations

from cni_core.entry import main

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_core.entry import Commands, Plugin


def macvlan() -> Plugin:
    import ipam
    from cni_core.attach import Attachments
    from cni_macvlan_py import link

    return Attachments(link, ipam.choose)


def host_local() -> Plugin:
    import ipam.plugin

    return ipam.plugin


def commands() -> Commands:
    from cni_cli.main import main

    return lambda program, arguments: main(program, "macvlan", arguments)


main({"macvlan": macvlan, "host-local": host_local}, commands)
