"""How good a mask is likely to be: what SAM says of it, how firm it is, and what people's masks said of that."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidWeights

_MOST_BYTES = 1 << 20
_OFFSET = 1.0  # logits, as Segment Anything's automatic masks have it


def raw_score(predicted_iou: float, stability: float) -> float:
    """What is calibrated, 0…1: their product. Either alone misses what the other sees."""
    return min(max(predicted_iou, 0.0), 1.0) * min(max(stability, 0.0), 1.0)


def stability(logits: NDArray[np.float32]) -> float:
    """IoU of the masks at thresholds one logit stricter and one laxer (Kirillov et al. 2023, app. B), 0 for none."""
    lax = int(np.count_nonzero(logits > -_OFFSET))
    return int(np.count_nonzero(logits > _OFFSET)) / lax if lax else 0.0


def disagreement(masks: NDArray[np.bool_], chosen: int) -> float:
    """1 − mean IoU of the chosen one of (M, h, w) with the three of an ambiguous prompt (1…) that it is not."""
    mine = masks[chosen]
    ious = []
    for place in range(1, len(masks)):
        if place != chosen:
            both = int(np.count_nonzero(mine & masks[place]))
            union = int(np.count_nonzero(mine | masks[place]))
            ious.append(both / union if union else 1.0)
    return 1.0 - float(np.mean(ious)) if ious else 0.0


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the decoder says of one object. `logits`: float32 (4, low, low): the single mask, then the three of an
    ambiguous prompt. `quality`: float32 (4,), the IoU expected of each. `chosen`: which of them is the answer."""

    logits: NDArray[np.float32]
    quality: NDArray[np.float32]
    chosen: int

    def terms(self, rows: slice, columns: slice) -> dict[str, float]:
        """The terms of a Cut, of what of the logits lies in the picture."""
        shown = self.logits[:, rows, columns]
        return {
            "predicted_iou": float(self.quality[self.chosen]),
            "stability": stability(shown[self.chosen]),
            "disagreement": disagreement(shown > 0, self.chosen),
        }


@dataclass(frozen=True, slots=True)
class Calibration:
    """Raw score → IoU to expect: straight lines between the points (`raw`, `iou`), both ascending, 0…1; flat beyond
    them. `pairs`: how many masks of people it was fitted to; `before`, `after`: expected calibration error, the latter
    on masks that were left out of the fit."""

    raw: tuple[float, ...]
    iou: tuple[float, ...]
    pairs: int = 0
    before: float = 0.0
    after: float = 0.0

    def __call__(self, raw: float) -> float:
        return float(np.interp(raw, self.raw, self.iou))


def beside(weights: Path) -> Path:
    """Where the calibration of the weights lies."""
    return weights.with_name(f"{weights.name}.calibration.json")


def load(weights: Path) -> Calibration | None:
    """The calibration beside `weights`, None if there is none. Raises InvalidWeights for one that can't be used."""
    path = beside(weights)
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise ValueError(f"larger than {_MOST_BYTES} bytes")
        body = json.loads(text)
        found = Calibration(
            _column(body["raw"]), _column(body["iou"]), int(body["pairs"]), float(body["before"]), float(body["after"])
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
        raise InvalidWeights(f"calibration {path} can't be read ({error!r}): fit it again or remove it") from error
    if not found.raw or len(found.raw) != len(found.iou):
        raise InvalidWeights(f"calibration {path}: {len(found.raw)} raw scores for {len(found.iou)} IoUs; fit it again")
    return found


def save(weights: Path, calibration: Calibration) -> Path:
    """Write it beside `weights`."""
    body: Mapping[str, object] = {
        "raw": [round(v, 6) for v in calibration.raw],
        "iou": [round(v, 6) for v in calibration.iou],
        "pairs": calibration.pairs,
        "before": round(calibration.before, 6),
        "after": round(calibration.after, 6),
    }
    path = beside(weights)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(body, indent=1) + "\n")
    return partial.replace(path)


def _column(values: Sequence[float]) -> tuple[float, ...]:
    """Raises ValueError unless ascending and within 0…1."""
    column = np.array([float(v) for v in values])
    if not np.isfinite(column).all() or (np.diff(column) < 0).any() or (column < 0).any() or (column > 1).any():
        raise ValueError("not ascending within 0…1")
    return tuple(float(v) for v in column)
