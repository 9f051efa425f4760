"""A conformance suite for macvlan, ipvlan and host-local, whoever made them: executables, the kernel, and files."""
