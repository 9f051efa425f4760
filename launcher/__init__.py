"""The program that runtimes execute: a C launcher with CPython's core and the per-pod modules linked into it."""
