"""Named points at which a test may kill this process; without the environment variable they do nothing.

Apart, so that the crash test can list them and nothing else in the gate knows of tests.
"""

from __future__ import annotations

import os
import signal
from typing import Final

VARIABLE: Final = "PILOTHOUSE_FAULT"
POINTS: Final = (
    "before-proposed", "after-proposed", "before-decided", "after-decided", "before-intent", "after-intent",
    "after-sent", "before-outcome", "after-outcome",
)  # fmt: skip

_armed: Final = os.environ.get(VARIABLE, "")


def point(name: str) -> None:
    """Die here with SIGKILL if the environment names this point."""
    if _armed and _armed == name:
        os.kill(os.getpid(), signal.SIGKILL)
