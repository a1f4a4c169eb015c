"""Groundlook: pre-annotation, queue order and retraining for Earth imagery in Label Studio."""

__version__ = "0.1.0"
