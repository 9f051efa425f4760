"""The one error the lab raises when it cannot give a kernel."""

from __future__ import annotations


class LabError(Exception):
    """No lab can be had, or it died; the message says what to do."""
