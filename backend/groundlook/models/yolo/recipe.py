"""How to train on the few tiles that a team has labelled so far, on a CPU, in about the time of a coffee."""

from __future__ import annotations

from typing import Any

_SEEN_START = 900
_SEEN_SCRATCH = 1800
_FEWEST, _MOST = 8, 60
_SIDE = 256
BATCH = 8


def epochs(pictures: int, side: int, pretrained: bool) -> int:
    """How often to show every picture, so that a training takes about as long whatever their number and size.

    Few pictures are shown often, within bounds: below 8 epochs a new head has not settled, above 60 it only
    memorises. Twice as often without pretrained weights.
    """
    budget = _SEEN_START if pretrained else _SEEN_SCRATCH
    shown = budget / max(pictures, 1) * min(1.0, (_SIDE / side) ** 2 * 2)
    return round(min(max(shown, _FEWEST), _MOST * (1 if pretrained else 2)))


def arguments() -> dict[str, Any]:
    """ultralytics' training arguments, from facts/stack.md and these: on OpenAerialMap buildings (z19, four sites,
    eastern 30 % of each held out, COCO start of yolov5n, one seed) 18, 36 and 54 tiles give mAP50 .31, .37 and .36;
    lr0 0.005 instead gives .29 for 54.

    `nbs` equals the batch: the default gathers eight batches before it steps, too few steps for a small set.
    No mosaic: it shrinks things that are small already. Flips along both axes: there is no "up" on the ground.
    """
    return {
        "batch": BATCH,
        "nbs": BATCH,
        "optimizer": "AdamW",
        "lr0": 0.002,
        "lrf": 0.05,
        "warmup_epochs": 1.0,
        "warmup_bias_lr": 0.0,
        "cos_lr": True,
        "mosaic": 0.0,
        "close_mosaic": 0,
        "scale": 0.2,
        "translate": 0.1,
        "fliplr": 0.5,
        "flipud": 0.5,
        "erasing": 0.0,
    }
