"""How hypothesis runs here: bounded, and where CI is set the same examples every time."""

from __future__ import annotations

import os
import signal

from hypothesis import HealthCheck, settings

# A busy machine is no bug: no deadline for one example, nor a limit on how long making it may take.
settings.register_profile(
    "local", max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.register_profile("ci", settings.get_profile("local"), derandomize=True, database=None)

# A quarter of an hour and a verdict, again and again, for `make soak`.
settings.register_profile("soak", settings.get_profile("local"), max_examples=4000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "local"))

# A shell starts what it leaves in the background with SIGINT ignored, which programs under test would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
