"""The program cni-macvlan-py, which under the names host-local and lan-local is those plugins."""

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
    from cni_core.schema.validators import host_local_plugin
    from ipam import host_local
    from ipam.plugin import Addresses

    return Addresses(host_local, "host-local", host_local_plugin)


def lan_local() -> Plugin:
    from cni_core.schema.validators import lan_local_plugin
    from ipam import lan_local
    from ipam.plugin import Addresses

    return Addresses(lan_local, "lan-local", lan_local_plugin)


def commands() -> Commands:
    from cni_cli.main import main

    return lambda program, arguments: main(program, "macvlan", arguments)


main({"macvlan": macvlan, "host-local": host_local, "lan-local": lan_local}, commands)
