"""Who goes first where there is not enough processor time."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Final

_NICER: Final = 10  # a tenth of what another thread gets, and all that others leave


def yield_to_others() -> None:
    """For good, and for the thread that calls alone. Elsewhere than on Linux nothing changes."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + _NICER)
