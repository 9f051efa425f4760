"""podman's way to the plugins since it has no CNI any more: netavark, whose plugins are called with
`info`, `create`, `setup NSPATH` and `teardown NSPATH`, and JSON on standard input and output.

    network, options ──translate──▶ Request ──▶ the walk of cni_core.attach ──▶ Result ──translate──▶ StatusBlock

Sources: netavark's plugin-API.md; src/network/types.rs for the members of each document.
"""
