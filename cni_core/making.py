"""Makes the parent that a plan (cni_core.parent) says is missing: a VLAN, or a dummy, marked as ours by its alias."""

from __future__ import annotations

from cni_core import sysctl
from cni_core.names import LONGEST_NAME
from cni_core.parent import ALIAS, existing, is_unfinished, own_name, unusable
from cni_core.rtnl.messages import IFLA_VLAN_ID, mark, mark_and_raise, new_parent, u16

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_core.netns import Place
    from cni_core.parent import Plan
    from cni_core.rtnl.messages import Link

# Of a link that we make, before it comes up: else the host has, by a router's advertisement on that VLAN, an address
# and a default route there, and answers (Documentation/networking/ip-sysctl.rst).
_NO_PART = (("accept_ra", "0"), ("addr_gen_mode", "1"))  # the latter: no link-local address


def make(plan: Plan, home: Place) -> Link:
    """The parent, in the place where it belongs, made if it is not there, and brought up with what it is on of ours.

    What is on a link that is down cannot be (ENETDOWN): it comes up with that, as VLANs do (vlan_device_event,
    net/8021q/vlan.c), and a link that is somebody else's is theirs to bring up.
    """
    below: Link | None = None
    for link in plan.there:
        below = _raised(link, below, home)
    for name, vlan in plan.missing:
        below = _made(name, vlan, below, home)
    assert below
    return below


def _raised(link: Link, below: Link | None, home: Place) -> Link:
    """One of ours that is down is brought up; what others took down is theirs to bring up."""
    if not is_unfinished(link):
        return link
    below = below or (home.rtnl.link(index=link.parent) if link.parent else None)
    return _finished(link, link.name, below and _raised(below, None, home), home)


def _made(name: str, vlan: int, below: Link | None, home: Place) -> Link:
    """The new link, marked as ours, up, and under its name if that is free and short enough, else the one it has."""
    if below:
        made = own_name(name)
        message = new_parent(made, "vlan", u16(IFLA_VLAN_ID, vlan), below=below.index)
    else:
        made = name
        message = new_parent(made, "dummy", b"", below=0)
    rtnl = home.rtnl
    rtnl.execute(message)
    link = rtnl.link(made)
    if not link:
        raise unusable(f"the new link {made} vanished")
    free = made != name and not existing(name, rtnl) and len(name.encode()) <= LONGEST_NAME
    return _finished(link, name if free else made, below, home)


def _finished(link: Link, name: str, below: Link | None, home: Place) -> Link:
    """Marked as ours, named, and up unless it is on a link that is down. The host itself takes no part in it."""
    with home.entered():
        for setting, value in _NO_PART:
            sysctl.try_to_write(value, "net", "ipv6", "conf", link.name, setting)
    finish = mark if below and not below.up else mark_and_raise
    home.rtnl.execute(finish(link.index, name, ALIAS))
    return home.rtnl.link(index=link.index) or link
