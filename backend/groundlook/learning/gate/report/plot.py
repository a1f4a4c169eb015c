"""The report's two figures: what changed and how surely, and whether each version means what it says."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from typing import Any

from groundlook.core.exam import Exam
from groundlook.learning.gate.report.body import curve
from groundlook.learning.gate.report.picture import COLOURS
from groundlook.learning.gate.verdict import Finding

_INK, _GRID = "#334155", "#E8EDF3"
STATES = {"passed": "#0F9D6B", "failed": "#D6336C", "unknown": "#8A94A3"}
_MOST = 30


def changes(findings: Sequence[Finding]) -> str:
    """Challenger − champion of every quality with its 95 % interval, as an SVG; "" where there is no champion."""
    shown = [f for f in findings if f.difference is not None and f.what not in ("speed", "calibration", "labels")][
        :_MOST
    ]
    if not shown:
        return ""
    sheet, axes = _sheet(7.4, 0.9 + 0.36 * len(shown))
    for place, finding in enumerate(reversed(shown)):
        found, colour = finding.difference, STATES[finding.state]
        if found is None:
            continue
        if math.isfinite(found.low):
            axes.plot([found.low, found.high], [place, place], color=colour, lw=3, solid_capstyle="round", alpha=0.45)
        axes.plot(found.value, place, "o", color=colour, ms=7)
        if finding.limit:
            axes.plot([finding.limit] * 2, [place - 0.32, place + 0.32], color=_INK, lw=1, ls=(0, (2, 2)))
    axes.axvline(0, color=_INK, lw=1)
    # As a list of plain text: a label with a $ is no formula.
    axes.set_yticks(range(len(shown)), [_name(f).replace("$", r"\$") for f in reversed(shown)])
    axes.set_xlabel("challenger − champion, with 95 % interval; dashed: the limit")
    return _svg(sheet)


def calibration(challenger: Exam, champion: Exam | None) -> str:
    """How often answers were right against how sure they were, as an SVG; "" where there are no answers."""
    if not len(challenger.sure):
        return ""
    sheet, axes = _sheet(4.2, 3.9)
    axes.plot([0, 1], [0, 1], color=_INK, lw=1, ls=(0, (2, 2)))
    for who, exam in (("champion", champion), ("challenger", challenger)):
        points = [] if exam is None else curve(exam)
        if points:
            said, right = [p["said"] for p in points], [p["right"] for p in points]
            axes.plot(said, right, "o-", color=COLOURS[who], lw=2, ms=5, label=who)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="how sure it was", ylabel="share that was right")
    axes.legend(frameon=False, loc="upper left")
    return _svg(sheet)


def _name(finding: Finding) -> str:
    name = finding.name if len(finding.name) < 28 else finding.name[:27] + "…"
    return f"{finding.what} {name}" if name else {"fit": "fit (mAP75)"}.get(finding.what, finding.what)


def _sheet(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    sheet = Figure(figsize=(width, height), layout="constrained")
    axes = sheet.subplots()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#B8C2CE")
    axes.tick_params(colors=_INK, length=0, labelsize=9)
    axes.grid(color=_GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.label.set(color=_INK, size=9)
    axes.yaxis.label.set(color=_INK, size=9)
    return sheet, axes


def _svg(sheet: Any) -> str:
    from matplotlib import rc_context

    body = io.StringIO()
    # Text stays text: the browser has the letters of every language, matplotlib's font has not, and warns of it.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "groundlook"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        sheet.savefig(body, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = body.getvalue()
    return text[text.index("<svg") :]
