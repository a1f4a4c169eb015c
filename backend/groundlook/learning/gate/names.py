"""What qualities are called."""

from __future__ import annotations

from collections.abc import Mapping


def measure(metrics: Mapping[str, float]) -> str:
    """What `quality` is of a model with these metrics."""
    return next((name for key, name in _MEASURES.items() if key in metrics), "quality")


_MEASURES = {"map50": "mAP50", "mean_iou": "mean IoU", "macro_f1": "macro F1"}
