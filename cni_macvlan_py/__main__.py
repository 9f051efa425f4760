"""The program cni-macvlan-py."""

import ipam
from cni_core.attach import Attachments
from cni_core.entry import main
from cni_macvlan_py import link

main(Attachments(link, ipam))
