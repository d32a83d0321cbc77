"""Trained models as ONNX graphs and bundles, and what a graph costs."""
