"""The macvlan plugin: what is macvlan's own is in link.py, all else in cni_core and ipam."""
