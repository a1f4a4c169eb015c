"""The report as one HTML page without scripts, fonts or pictures from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from groundlook.core.exam import Exam
from groundlook.learning.gate.report.differ import Differ
from groundlook.learning.gate.report.picture import COLOURS
from groundlook.learning.gate.report.plot import calibration, changes
from groundlook.learning.gate.report.style import STYLE
from groundlook.learning.gate.verdict import Finding, Measured, Verdict

_MOST = 60
"""Lines of the table; projects have hundreds of sites where each picture is one."""

Panels = list[tuple[str, str, tuple[str, ...]]]


def page(verdict: Verdict, challenger: Exam, champion: Exam | None, pictures: Sequence[tuple[Differ, Panels]]) -> str:
    """Verdict, findings, figures, pictures. Names and labels are people's: everything is escaped."""
    against = "no champion" if champion is None else f"against {escape(champion.version)}"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Gate: {escape(challenger.version)}</title><style>{STYLE}</style></head><body>
<header class="{verdict.outcome.replace(" ", "-")}"><p class="outcome">{verdict.outcome}</p>
<h1>{escape(challenger.version)} <small>{against}</small></h1><p class="reason">{escape(verdict.reason)}</p>
<p class="facts"><span><b>{verdict.tiles}</b> held-out tiles</span><span><b>{verdict.blocks}</b> map blocks</span><span>
<b>{challenger.objects}</b> labelled objects</span><span><b>{escape(verdict.limits)}</b> limits</span></p></header>
<main>{_findings(verdict.findings)}
{_figures(verdict, challenger, champion)}
{_pictures(pictures, champion)}{_HOW}</main></body></html>
"""


def _findings(findings: Sequence[Finding]) -> str:
    if not findings:
        return ""
    shown = [f for n, f in enumerate(findings) if n < _MOST or f.asks != "promoted"]
    rows = "".join(_row(finding) for finding in shown)
    more = len(findings) - len(shown)
    note = f"<p>{more} more, from which nothing follows, are in the JSON beside this page.</p>" if more else ""
    names = ("what", "measure", "champion", "challenger", "difference", "limit", "objects", "blocks", "")
    heads = "".join(f"<th>{name}</th>" for name in names)
    return (
        '<section><h2>What was checked</h2><div class="scroll"><table>'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>{note}</section>"
    )


def _row(finding: Finding) -> str:
    name = f"{finding.what} <b>{escape(finding.name)}</b>" if finding.name else f"<b>{finding.what}</b>"
    limit = "" if finding.difference is None else _limit(finding)
    asks = "" if finding.asks == "promoted" else f" → {finding.asks}"
    numbers = "".join(f"<td>{count or '–'}</td>" for count in (finding.objects, finding.blocks))
    return (
        f"<tr><td>{name}</td><td>{escape(finding.measure)}</td><td>{_value(finding.champion)}</td>"
        f"<td>{_value(finding.challenger)}</td><td>{_change(finding)}</td><td>{limit}</td>{numbers}"
        f'<td><span class="{finding.state}">{finding.state}</span>{asks}</td></tr>'
    )


def _limit(finding: Finding) -> str:
    text = f"× {finding.limit:.2f}" if finding.what == "speed" else f"{finding.limit:+.2f}" if finding.limit else "0"
    return text.replace("-", "−")


def _value(found: Measured | None) -> str:
    return "–" if found is None else f"{found.value:.3f}{_range(found, '{:.3f}')}"


def _change(finding: Finding) -> str:
    if finding.difference is None:
        return "–"
    form = "× {:.2f}" if finding.what == "speed" else "{:+.3f}"
    return (form.format(finding.difference.value) + _range(finding.difference, form)).replace("-", "−")


def _range(found: Measured, form: str) -> str:
    if not math.isfinite(found.low):
        return ""
    return f"<small>{form.format(found.low)} … {form.format(found.high)}</small>"


def _figures(verdict: Verdict, challenger: Exam, champion: Exam | None) -> str:
    titled = (
        ("What changed, and how surely", changes(verdict.findings)),
        ("Does it mean what it says?", calibration(challenger, champion)),
    )
    drawn = "".join(f"<figure><figcaption>{title}</figcaption>{svg}</figure>" for title, svg in titled if svg)
    return f'<section class="figures">{drawn}</section>' if drawn else ""


def _pictures(pictures: Sequence[tuple[Differ, Panels]], champion: Exam | None) -> str:
    if not pictures:
        return "<section><h2>Pictures</h2><p>There is no tile on which the two differ.</p></section>"
    title = "Where they differ most" if champion is not None else "Where it is most mistaken"
    shown = "".join(_picture(one, panels) for one, panels in pictures)
    return f'<section><h2>{title}</h2><div class="tiles">{shown}</div></section>'


def _picture(one: Differ, panels: Panels) -> str:
    place = f" · {escape(one.place)}" if one.place else ""
    better = "" if one.champion is None else "better" if one.change < 0 else "worse"
    counts = {"champion": one.champion, "challenger": one.challenger}
    shown = "".join(_panel(who, uri, labels, counts.get(who)) for who, uri, labels in panels)
    head = f'<h3>task {one.task}{place} <span class="{better}">{better}</span></h3>'
    return f'<article>{head}<div class="row">{shown}</div></article>'


def _panel(who: str, uri: str, labels: tuple[str, ...], mistakes: float | None) -> str:
    image = f'<img src="{uri}" alt="{who}">' if uri else '<p class="gone">picture not available</p>'
    classes = f"<em>{escape(', '.join(labels))}</em>" if labels else ""
    count = "" if mistakes is None else f" <small>{_mistakes(mistakes)}</small>"
    return f'<div style="--own:{COLOURS[who]}"><p><i></i>{who}{count}</p>{image}{classes}</div>'


def _mistakes(count: float) -> str:
    if count != int(count):
        return f"{count:.1%} of pixels wrong"
    return f"{count:.0f} mistake{'' if count == 1 else 's'}"


_HOW = """<section class="how"><h2>How to read this</h2><p>Both versions answered the same held-out tiles, which
neither learned from. Intervals are 95 % and come of 2,000 resamples of whole map blocks, as neighbouring tiles are
alike; they are wider for fewer blocks. A class, site or sensor is <b>worse beyond noise</b> where a one-sided 95 %
interval, corrected for the number of parts, ends below 0. <b>Unknown</b>: too few objects or map blocks are labelled to
tell. Pictures show answers that are sure enough for the version’s best F1; mistakes are things missed and things found
that are not there.</p></section>"""
