"""Champion against challenger on the same held-out tiles: promoted only if not worse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate decided, and the sentence that says why."""

    promoted: bool
    reason: str


def judge(challenger: Mapping[str, float], champion: Mapping[str, float] | None) -> Verdict:
    """Compare by `quality` (0…1) on the same held-out examples: the mAP50 of a detector, the mean IoU of a
    segmentation, the macro F1 of a classifier. The first model must find something: a quality of 0 is no better than
    no model. `objects` = 0 in the challenger's metrics means there is nothing to judge by: refused."""
    if challenger["objects"] == 0:
        return Verdict(False, "no held-out object is labelled yet, so nothing can be proved")
    new, name = challenger["quality"], measure(challenger)
    if champion is None:
        if new > 0:
            return Verdict(True, f"first model, {name} {new:.3f} on {challenger['images']:.0f} held-out tiles")
        return Verdict(False, f"{name} is 0 on the held-out tiles: no better than no model")
    old = champion["quality"]
    word = "not worse" if new >= old else "worse"
    tiles = f"the same {challenger['images']:.0f} tiles"
    return Verdict(new >= old, f"{name} {new:.3f} is {word} than {old:.3f} on {tiles}")


def measure(metrics: Mapping[str, float]) -> str:
    """What `quality` is of a model with these metrics."""
    return next((name for key, name in _MEASURES.items() if key in metrics), "quality")


_MEASURES = {"map50": "mAP50", "mean_iou": "mean IoU", "macro_f1": "macro F1"}
