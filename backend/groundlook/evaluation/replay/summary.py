"""What a replay says: per strategy, the labels and seconds to each target, the area, and how sure we are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.evaluation.replay.compare import Paired, paired, worse_at
from groundlook.evaluation.replay.curve import area, band, common, labels_to, on
from groundlook.evaluation.replay.values import Replay, Run

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Reached:
    """Of a target: `labels`, `seconds`: mean over seeds of what it took, with the 95 % interval of `labels`; a seed
    that never got there counts with all that it bought, so that where `reached` < seeds they are at least this.
    `ratio`: labels by the reference's, `saved`: the reference's seconds minus these; both None where neither got there
    with every seed. `bound`: "" as it is; "≤" the ratio is at most this, as the reference did not get there with every
    seed; "≥" at least, as this one did not."""

    target: float
    labels: float
    low: float
    high: float
    seconds: float
    reached: int
    ratio: float | None
    saved: float | None
    bound: str


@dataclass(frozen=True, slots=True)
class Line:
    """Of a strategy: `area`: mean quality over the labels that all curves share, with its 95 % interval; `final`: mean
    quality at the end of that. `ratio`: geometric mean of the targets' ratios, None where one is missing; `bound` as
    there. `against`: the reference, `subject`: against the strategy that is on trial, None for those themselves.
    `worse`: labels at which it is worse than the reference (compare.worse_at), None
    where the seeds are too few to tell; `lowest`: its mean difference from it
    where that is least. `took`: mean seconds to rank one round."""

    strategy: str
    area: float
    low: float
    high: float
    final: float
    targets: tuple[Reached, ...]
    ratio: float | None
    bound: str
    against: Paired | None
    subject: Paired | None
    worse: tuple[float, ...] | None
    lowest: float
    took: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Best area first. `full`: the quality with every label, None where it was not measured. `grid`: the labels at the
    end of each round, within what all curves share; `span` of that; `targets` as quality 0…1."""

    lines: tuple[Line, ...]
    reference: str
    subject: str
    seeds: int
    full: float | None
    span: tuple[float, float]
    targets: tuple[float, ...]

    def line(self, strategy: str) -> Line:
        """Of a strategy."""
        return next(line for line in self.lines if line.strategy == strategy)


def targets_of(texts: Sequence[str], full: float | None) -> tuple[float, ...]:
    """Targets as quality 0…1: "0.85" itself, "90%" of the quality with every label. Raises InvalidInput."""
    found = []
    for text in texts:
        try:
            value = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            raise InvalidInput(f"target {text!r} is neither a quality (0.85) nor a share of the best (90%)") from None
        if text.endswith("%") and full is None:
            raise InvalidInput(f"target {text!r} needs the quality with all labels, which was not measured")
        if not 0 < value <= 1:
            raise InvalidInput(f"target {text!r} is not within 0…1")
        found.append(value * full if text.endswith("%") and full is not None else value)
    return tuple(found)


def grid_of(found: Replay) -> Floats:
    """Float64 (G,): the labels at which rounds end, within what all curves share; their middle where that is none."""
    low, high = common([r.labels for r in found.runs])
    ends = found.setup.start + found.setup.batch * np.arange(found.setup.rounds + 1)
    inside = ends[(ends >= low) & (ends <= high)].astype(np.float64)
    return inside if len(inside) else np.array([(low + high) / 2])


def summarise(found: Replay, targets: Sequence[str], reference: str = "random", subject: str = "") -> Summary:
    """`reference`: what labels are saved against; `subject`: the strategy on trial, by default the best but the
    reference. Raises InvalidInput for a strategy that was not replayed."""
    for name in (reference, *([subject] if subject else [])):
        if name not in found.strategies:
            raise InvalidInput(f"strategy {name!r} was not replayed; there are: {', '.join(found.strategies)}")
    full = float(np.mean([r.quality[-1] for r in found.full])) if found.full else None
    goals = targets_of(targets, full)
    span, grid = common([r.labels for r in found.runs]), grid_of(found)
    areas = {s: np.array([area(r.labels, r.quality, *span) for r in found.of(s)]) for s in found.strategies}
    heights = {s: on(grid, [r.labels for r in found.of(s)], [r.quality for r in found.of(s)]) for s in areas}
    ranked = sorted(areas, key=lambda s: -areas[s].mean())
    trial = subject or next((s for s in ranked if s != reference), reference)
    against, beside = paired(areas, reference), paired(areas, trial)
    lines = []
    for name in ranked:
        mean, low, high = (float(v) for v in band(areas[name]))
        reached = tuple(_reached(found.of(name), found.of(reference), t) for t in goals)
        ratio, bound = _together(reached) if name != reference else (1.0, "")
        worse = worse_at(heights[name], heights[reference])
        lines.append(
            Line(
                name,
                mean,
                low,
                high,
                float(heights[name][:, -1].mean()),
                reached,
                ratio,
                bound,
                against.get(name),
                beside.get(name),
                None if worse is None else tuple(float(v) for v in grid[worse]),
                float((heights[name] - heights[reference]).mean(axis=0).min()),
                float(np.mean([r.took.mean() for r in found.of(name)])),
            )
        )
    return Summary(tuple(lines), reference, trial, len(found.of(reference)), full, span, goals)


def _reached(runs: Sequence[Run], reference: Sequence[Run], target: float) -> Reached:
    labels, all_there = _needed([(r.labels, r.quality) for r in runs], target)
    seconds, _ = _needed([(r.seconds, r.quality) for r in runs], target)
    theirs, they_all = _needed([(r.labels, r.quality) for r in reference], target)
    their_seconds, _ = _needed([(r.seconds, r.quality) for r in reference], target)
    mean, low, high = (float(v) for v in band(labels))
    known = all_there.all() or they_all.all()
    bound = "" if all_there.all() and they_all.all() else "≤" if all_there.all() else "≥"
    ratio = mean / float(theirs.mean()) if known else None
    saved = float(their_seconds.mean() - seconds.mean()) if known else None
    return Reached(target, mean, low, high, float(seconds.mean()), int(all_there.sum()), ratio, saved, bound)


def _needed(curves: Sequence[tuple[Floats, Floats]], target: float) -> tuple[Floats, NDArray[np.bool_]]:
    """What each seed needed, all that it had where that was not enough; and where it was."""
    needed = np.array([labels_to(x, q, target) for x, q in curves])
    there = np.isfinite(needed)
    return np.where(there, needed, [x[-1] for x, _ in curves]), there


def _together(reached: Sequence[Reached]) -> tuple[float | None, str]:
    ratios = [r.ratio for r in reached if r.ratio is not None]
    bounds = {r.bound for r in reached} - {""}
    if not reached or len(ratios) < len(reached) or len(bounds) > 1:
        return None, ""
    return float(np.exp(np.mean(np.log(ratios)))), bounds.pop() if bounds else ""
