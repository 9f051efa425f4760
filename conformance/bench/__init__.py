"""`make bench`: what a call costs, ours and the Go plugins' in turns, in one run, on the host's own kernel.

As a program, inside the lab: python3 -m conformance.bench. `make profile` shows where the time of a call goes:
python3 -m conformance.bench.profile. Both write their part of docs/performance.md.
"""
