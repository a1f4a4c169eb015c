"""What the yolo extra would compute with."""

from __future__ import annotations

from groundlook.models.yolo import offline


def describe() -> str:
    """Versions and device, in words. Raises InvalidInput, with the remedy, where the `yolo` extra is not installed."""
    package = offline.ultralytics()
    import torch

    name = torch.cuda.get_device_name(0) if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    return f"torch {torch.__version__}, ultralytics {package.__version__}, on {name}"
