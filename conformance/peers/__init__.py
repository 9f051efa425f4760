"""Other people's suites: the Go plugins' own tests, judging any directory of binaries.

The tests are those of Debian's source package, as they stand, with their own parents. They call the plugins' functions
in their own process; `go/` holds functions of the same names that execute a binary. The Go plugins' own binaries
show that this works: what they fail cannot be judged in this way.
"""
