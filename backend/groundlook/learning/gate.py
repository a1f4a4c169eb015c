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
    """Compare by `map50` (0…1) on the same held-out examples. The first model must find something: a map50 of 0 is no
    better than no model. `objects` = 0 in the challenger's metrics means there is nothing to judge by: refused."""
    if challenger["objects"] == 0:
        return Verdict(False, "no held-out object is labelled yet, so nothing can be proved")
    new = challenger["map50"]
    if champion is None:
        if new > 0:
            return Verdict(True, f"first model, mAP50 {new:.3f} on {challenger['images']:.0f} held-out tiles")
        return Verdict(False, "mAP50 is 0 on the held-out tiles: no better than no model")
    old = champion["map50"]
    word = "not worse" if new >= old else "worse"
    return Verdict(new >= old, f"mAP50 {new:.3f} is {word} than {old:.3f} on the same {challenger['images']:.0f} tiles")
