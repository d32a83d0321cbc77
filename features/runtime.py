"""What ONNX Runtime has to be told before it is imported."""

from __future__ import annotations

import os


def refuse_telemetry() -> None:
    """Have it send nothing; whoever sets ORT_DISABLE_TELEMETRY themselves is left to it.

    From 1.32 on its import otherwise writes an id into the home folder and reports to its makers.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
