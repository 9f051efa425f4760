"""The calls of netavark, answered by the walk that answers CNI's."""

from __future__ import annotations

from posix import write

from cni_core import __version__
from cni_core.config import parse_object, usable
from cni_core.errors import INVALID_ENVIRONMENT, CniError
from cni_core.names import printable
from cni_core.netavark.options import name_of, read
from cni_core.netavark.translate import Call, completed, configuration, options_of, status_block
from cni_core.request import Request
from cni_core.strictjson import MAX_BYTES_WITH_RESULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cni_core.entry import Plugin

API_VERSION = "1.0.0"
INFO, CREATE, SETUP, TEARDOWN = "info", "create", "setup", "teardown"
COMMANDS = (INFO, CREATE, SETUP, TEARDOWN)


def answer(arguments: list[str], stdin: bytes, plugin: Plugin) -> dict[str, Any] | None:
    """What goes to standard output; None for nothing. arguments: the command and what follows it. CniError."""
    command, paths = arguments[0], arguments[1:]
    if command == INFO:
        return {"version": __version__, "api_version": API_VERSION}
    if len(paths) != (0 if command == CREATE else 1):
        expected = "no argument" if command == CREATE else "one argument, the path of the container's network namespace"
        raise CniError(INVALID_ENVIRONMENT, f"{command} takes {expected}")
    document = parse_object(stdin, MAX_BYTES_WITH_RESULT)
    call = None if command == CREATE else Call(document)
    network = call.network if call else document
    try:
        if not call:
            return _create(network, plugin)
        if command == SETUP:
            return _setup(call, paths[0], plugin)
        _teardown(call, paths[0], plugin)
    except CniError as error:  # of a value of the configuration: it is an option's, to whom podman tells it
        options = options_of(network)
        name = name_of(plugin.name, options, error.path)
        if not name:
            raise
        raise CniError(error.code, f"-o {name}={options[name]}: {error.problem}", error.details) from None
    return None


def _create(network: dict[str, Any], plugin: Plugin) -> dict[str, Any]:
    """The network, completed, if containers could be attached to it on this node as it is now."""
    network, remarks = completed(plugin.name, network, has_machine_id=_has_machine_id())
    config = configuration(plugin.name, network, read(plugin.name, options_of(network)))
    plugin.status(Request("STATUS", {}, _accepted(plugin, config, network)))
    for remark in remarks:
        _say(remark)
    return network


def _setup(call: Call, netns: str, plugin: Plugin) -> dict[str, Any]:
    config = _accepted(plugin, call.config(plugin.name), call.network)
    result = plugin.add(Request("ADD", call.environ("ADD", netns), config))
    if call.has_ports:
        _say(f"No port is published: {call.ifname} has an address of its own, and all its ports.")
    return status_block(result, call.ifname, netns)


def _accepted(plugin: Plugin, config: dict[str, Any], network: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a network, if the schema accepts it. CniError."""
    if plugin.accepts(config):
        return config
    from cni_core.netavark.explain import rejected  # the full program's

    raise rejected(plugin.name, config, options_of(network))


def _teardown(call: Call, netns: str, plugin: Plugin) -> None:
    config = call.config_to_leave(plugin.name)
    if not plugin.accepts(config):
        config = usable(config, plugin.accepts)
    plugin.delete(Request("DEL", call.environ("DEL", netns), config))


def _has_machine_id() -> bool:
    """Whether hardware addresses can be stable here."""
    from cni_core.stable import machine_id  # not for each container to pay for

    try:
        machine_id()
    except CniError:
        return False
    return True


def _say(remark: str) -> None:
    """On stderr, which podman passes on."""
    try:
        write(2, f"{printable(remark)}\n".encode())
    except OSError:  # nobody listens
        pass
