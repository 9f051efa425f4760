"""A CNI test suite for macvlan, ipvlan and host-local that judges any set of binaries from outside."""
