"""Trained models as ONNX graphs and bundles."""

from export.bundle import export_run

__all__ = ["export_run"]
