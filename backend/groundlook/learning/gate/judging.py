"""Champion against challenger: promoted, refused, or a person has to look."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from groundlook.core.exam import Exam, Taught
from groundlook.learning.gate.calibration import calibration
from groundlook.learning.gate.compare import Compared, compared, fit
from groundlook.learning.gate.labels import labels
from groundlook.learning.gate.limits import Limits
from groundlook.learning.gate.speed import speed
from groundlook.learning.gate.verdict import Finding, Outcome, State, Verdict

_SAME = 1e-9
"""Qualities this near are equal: sums in another order."""


def judge(
    challenger: Exam,
    champion: Exam | None,
    limits: Limits,
    rng: np.random.Generator,
    taught: tuple[Taught, Taught] | None = None,
) -> Verdict:
    """Both on the same held-out tiles; the same exams and rng state give the same verdict. `taught`: what came of the
    labels that challenger and champion learned.

    Refused is a challenger that finds nothing, that is worse overall (by any amount, as the champion costs nothing to
    keep), whose boxes fit worse beyond noise, whose own labels are off, or that forgot a class, site or sensor. A
    person is asked where one of these is worse beyond noise though the whole is not, where it is slow, or what they
    answer can't be compared; with `limits.proof` also where it can't be told that the whole, or a part of which enough
    is known, is not worse. Else it is promoted. A first model has to find something.

    A challenger that answers better on any tile, and is neither slower nor less calibrated, is never refused where it
    was promoted before. Raises InvalidInput where the exams are not on the same tiles and labels.
    """
    if champion is not None and challenger.measure != champion.measure:
        reason = f"the champion's {champion.measure} can't be compared with the challenger's {challenger.measure}"
        return _verdict("needs a person", reason, (), challenger, limits)
    if champion is not None:
        challenger.check(champion)
    if not challenger.objects:
        reason = "no held-out object is labelled yet, so nothing can be proved"
        return _verdict("refused", reason, (), challenger, limits)
    overall, *parts = compared(challenger, champion, rng)
    findings = [_overall(overall, limits), *_parts(parts, limits)]
    closely = fit(challenger, champion, rng)
    if closely is not None:
        findings.append(_part(closely, limits, (1, 1), "refused"))
    if taught is not None:
        findings.append(labels(*taught, limits))
    others = (calibration(challenger, champion, limits), speed(challenger, champion, limits, rng))
    findings += [finding for finding in others if finding is not None]
    return _decide(tuple(findings), challenger, limits)


def _overall(found: Compared, limits: Limits) -> Finding:
    difference = found.difference()
    if found.new.value <= 0 or (difference is not None and difference.value < -_SAME):
        return found.finding(0.0, "failed", "refused")
    if difference is None or not limits.proof:
        return found.finding(0.0, "passed")
    enough = difference.blocks >= limits.blocks and difference.measured().low > -limits.whole
    return found.finding(-limits.whole, *_told(enough))


def _parts(parts: Sequence[Compared], limits: Limits) -> list[Finding]:
    tested = sum(part.objects >= limits.objects and part.new.blocks >= limits.blocks for part in parts)
    return [_part(part, limits, (len(parts), tested), "needs a person") for part in parts]


def _part(found: Compared, limits: Limits, many: tuple[int, int], asks: Outcome) -> Finding:
    """`many`: how many there are like it, and of how many enough is known; `asks`: what follows where it is worse
    beyond noise."""
    difference, limit = found.difference(), -limits.part
    parts, tested = many
    if difference is None:
        return found.finding(limit, "passed")
    lost = limits.lost(found.objects, parts)
    if difference.value < -lost:
        return found.finding(-lost, "failed", "refused")
    if found.objects < limits.objects or difference.blocks < limits.blocks:
        return found.finding(limit, "unknown")  # of hundreds of sites some always are: told, and nobody is asked
    if difference.value < limit and difference.worse(tested):
        return found.finding(limit, "failed", asks)
    return found.finding(limit, *_told(not limits.proof or difference.measured().low > -limits.each))


def _told(enough: bool) -> tuple[State, Outcome]:
    return ("passed", "promoted") if enough else ("unknown", "needs a person")


def _decide(findings: tuple[Finding, ...], exam: Exam, limits: Limits) -> Verdict:
    refused = [f for f in findings if f.asks == "refused"]
    person = [f for f in findings if f.asks == "needs a person"]
    where = f"on {len(exam.tasks)} tiles in {len(set(exam.blocks))} map block(s)"
    if refused:
        return _verdict("refused", f"{_why(refused[0], limits)}: {refused[0]}, {where}", findings, exam, limits)
    if person:
        whys = "; ".join(f"{_why(f, limits)}: {f}" for f in person)
        overall = "" if findings[0] in person else f"not worse overall: {findings[0]}, {where}; but "
        return _verdict("needs a person", overall + whys, findings, exam, limits)
    word = "first model" if findings[0].champion is None else "not worse"
    return _verdict("promoted", f"{word}: {findings[0]}, {where}{_thin(findings)}", findings, exam, limits)


_WHYS = {
    "overall": "worse",
    "fit": "boxes fit worse beyond noise",
    "labels": "what it was taught is off",
    "calibration": "it means less what it says",
    "speed": "slower",
}


def _why(finding: Finding, limits: Limits) -> str:
    if finding.state == "unknown":
        return f"it can't be told whether {finding.part or {'fit': 'the fit'}.get(finding.what, 'the whole')} is worse"
    if finding.what == "overall" and finding.challenger.value <= 0:
        return "no better than no model"
    if finding.limit <= -limits.forgotten:
        return f"{finding.part} is forgotten" if finding.part else "boxes no longer fit"
    return f"{finding.part} is worse beyond noise" if finding.part else _WHYS[finding.what]


def _thin(findings: Sequence[Finding]) -> str:
    names = [f.part for f in findings if f.state == "unknown" and f.part]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"; too little is labelled to tell of {shown}" if names else ""


def _verdict(outcome: Outcome, reason: str, findings: tuple[Finding, ...], exam: Exam, limits: Limits) -> Verdict:
    return Verdict(outcome, reason, findings, exam.measure, limits.name, len(exam.tasks), len(set(exam.blocks)))
