"""The figure of a replay: curves against labels and seconds, what was gained on the reference, and how surely."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundlook.evaluation.replay.curve import area, band, common, on
from groundlook.evaluation.replay.summary import Summary
from groundlook.evaluation.replay.values import Replay

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Of Okabe & Ito: told apart by colour-blind eyes, and in this order by their brightness too."""
_REFERENCE, _OTHER = "#000000", "#B8B8B8"
_SILENT = {"svg": dict.fromkeys(("Date", "Creator", "Format", "Type")), "png": {"Software": None}}
"""The same figure gives the same bytes."""
_NAMES = {"labels": "labels", "seconds": "annotation time (min)"}


def figure(found: Replay, summary: Summary) -> Any:
    """A matplotlib Figure of four panels. The subject and the five best are in colour, the reference in black, all
    others in grey: by name they stand in the last panel, losers with the rest."""
    from matplotlib.figure import Figure

    sheet = Figure(figsize=(13, 10), layout="constrained")
    (left, right), (gain, forest) = sheet.subplots(2, 2)
    styles = _styles(summary)
    for axes, x in ((left, "labels"), (right, "seconds")):
        _curves(axes, found, summary, styles, x)
    _gains(gain, found, summary, styles)
    _forest(forest, found, summary, styles)
    left.legend(loc="lower right", fontsize=8, frameon=False)
    seeds = f"{summary.seeds} seed{'s' if summary.seeds != 1 else ''}, mean and 95 % band of the mean"
    sheet.suptitle(f"{found.study}: {found.measure}, {found.setup.batch} labels a round, {seeds}", fontsize=13)
    return sheet


def render(sheet: Any, kind: str) -> bytes:
    """The figure as "png" or "svg" bytes; the same figure gives the same bytes."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(sheet)
    body = io.BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "groundlook"}):
        sheet.savefig(body, format=kind, dpi=130, metadata=_SILENT[kind])
    return body.getvalue()


def _styles(summary: Summary) -> dict[str, dict[str, Any]]:
    best = [line.strategy for line in summary.lines if line.strategy not in (summary.reference, summary.subject)]
    styles: dict[str, dict[str, Any]] = {summary.subject: {"color": _COLOURS[0], "lw": 2.6, "zorder": 5}}
    styles[summary.reference] = {"color": _REFERENCE, "lw": 1.8, "ls": "--", "zorder": 4}
    for place, name in enumerate(best, start=1):
        shown = place < len(_COLOURS)
        styles[name] = {
            "color": _COLOURS[place] if shown else _OTHER,
            "lw": 1.4 if shown else 0.9,
            "zorder": 3 if shown else 2,
        }
    return styles


def _grid(found: Replay, x: str) -> NDArray[np.float64]:
    return np.linspace(*common([getattr(r, x) for r in found.runs]), 200, dtype=np.float64)


def _curves(axes: Any, found: Replay, summary: Summary, styles: dict[str, dict[str, Any]], x: str) -> None:
    grid = _grid(found, x)
    across = grid / 60 if x == "seconds" else grid
    grey = False
    for name, style in styles.items():
        runs = found.of(name)
        mean, low, high = band(on(grid, [getattr(r, x) for r in runs], [r.quality for r in runs]), draws=500)
        other = style["color"] == _OTHER
        axes.plot(across, mean, label="_" if other and grey else "others" if other else name, **style)
        grey = grey or other
        if not other:
            axes.fill_between(across, low, high, color=style["color"], alpha=0.13, lw=0, zorder=style["zorder"] - 1)
    for target in summary.targets:
        axes.axhline(target, color="#888888", lw=0.6, ls=":", zorder=0)
    if summary.full is not None:
        axes.axhline(summary.full, color="#888888", lw=0.9, zorder=0)
        axes.text(across[0], summary.full, "all labels", fontsize=8, color="#666666", va="bottom")
    _plain(axes, _NAMES[x], found.measure)


def _gains(axes: Any, found: Replay, summary: Summary, styles: dict[str, dict[str, Any]]) -> None:
    grid = _grid(found, "labels")
    height = {n: on(grid, [r.labels for r in found.of(n)], [r.quality for r in found.of(n)]) for n in styles}
    for name, style in styles.items():
        if name == summary.reference:
            continue
        mean, low, high = band(height[name] - height[summary.reference], draws=500)
        axes.plot(grid, mean, **style)
        if style["color"] != _OTHER:
            axes.fill_between(grid, low, high, color=style["color"], alpha=0.13, lw=0, zorder=style["zorder"] - 1)
    axes.axhline(0, color=_REFERENCE, lw=1.2, ls="--")
    _plain(axes, "labels", f"{found.measure} minus that of {summary.reference}")


def _forest(axes: Any, found: Replay, summary: Summary, styles: dict[str, dict[str, Any]]) -> None:
    reference = _areas(found, summary.reference, summary)
    names = [line.strategy for line in summary.lines][::-1]
    for place, name in enumerate(names):
        mean, low, high = (float(v) for v in band(_areas(found, name, summary) - reference))
        colour = styles[name]["color"] if styles[name]["color"] != _OTHER else "#777777"
        marker = "o" if mean >= 0 else "X"
        axes.plot([low, high], [place, place], color=colour, lw=2.2)
        axes.plot(mean, place, marker, color=colour, ms=6 if marker == "o" else 8)
    axes.axvline(0, color=_REFERENCE, lw=1.2, ls="--")
    axes.set_yticks(range(len(names)), names, fontsize=8)
    _plain(axes, f"mean {found.measure} over all rounds, minus that of {summary.reference} (×: below it)", "")


def _areas(found: Replay, name: str, summary: Summary) -> NDArray[np.float64]:
    return np.array([area(r.labels, r.quality, *summary.span) for r in found.of(name)])


def _plain(axes: Any, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="both", color="#EEEEEE", lw=0.6, zorder=0)
    axes.set_axisbelow(True)
