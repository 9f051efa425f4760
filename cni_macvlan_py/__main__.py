"""The program cni-macvlan-py, which under the name host-local is that plugin."""

import ipam.plugin
from cni_core.attach import Attachments
from cni_core.entry import main
from cni_macvlan_py import link

main(Attachments(link, ipam.choose), ipam.plugin)
