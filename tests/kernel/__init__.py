"""Behaviour on a real kernel, with the frozen executables: run in the lab by `make test`."""
