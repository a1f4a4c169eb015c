"""savings: what a live project saved, and whether to stop."""

from __future__ import annotations

import math
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from groundlook.service.cli.shared import JSON, PROJECT, out, progress
from groundlook.service.settings import read_settings

if TYPE_CHECKING:
    from groundlook.evaluation.savings import Estimate
    from groundlook.loop.prove import Proof
    from groundlook.loop.savings import Savings


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command(epilog="Example: groundlook savings --project 1 --target .8 --worth .01")(savings)


def savings(
    project: int = PROJECT,
    target: float = typer.Option(None, min=0, max=1, help="Quality to reach: how many labels does it take?"),
    more: int = typer.Option(500, "--next", min=1, help="Labels to look ahead."),
    worth: float = typer.Option(0.01, min=0, help="Stop when the next labels surely add less quality than this."),
    prove: bool = typer.Option(False, "--prove", help="Train on the random tasks and on the chosen ones (ten times)."),
    as_json: bool = JSON,
) -> None:
    """Accuracy without bias from the random stream, labels saved by choosing, and what the next labels are worth.

    Labels saved: how many tasks at random would have held as many of the model's mistakes as the chosen ones did, which
    flatters the choice; --prove trains on both instead.
    Exit code 0, also while too little is known: the answer then says what is missing."""
    from groundlook.loop.prove import prove as train
    from groundlook.loop.savings import savings as look
    from groundlook.service.wiring import wire

    with wire(read_settings(os.environ)) as wired:
        found = look(wired.loop, project, more, worth, target)
        proof = train(wired.loop, project, _tell) if prove else None
    body = {"project": project, **asdict(found), "proof": None if proof is None else asdict(proof)}
    out(as_json, _finite(body), "\n".join([said(found), *([proved(proof)] if proof else [])]))


def _tell(share: float, text: str) -> None:
    progress(f"{share:4.0%} {text}")


def said(found: Savings) -> str:
    """As sentences."""
    lines = [f"{found.labels} tasks answered; with a trained model {found.chosen} chosen, {found.random} at random"]
    if found.accuracy:
        lines.append(f"{found.serving} agrees with people on {_share(found.accuracy)} of all ground")
    if found.ever:
        lines.append(f"all versions, each while it served: {_share(found.ever)}")
    if found.random_labels and found.saved:
        lines.append(
            f"random would have needed {_count(found.random_labels)} tasks for the mistakes that {found.chosen} chosen "
            f"ones held: at most {_count(found.saved)} saved"
        )
    if found.worth:
        gain = f"{found.worth.value:+.3f} ({found.worth.low:+.3f} to {found.worth.high:+.3f}) {found.measure}"
        lines.append(f"the next {found.more} labels are worth {gain}: {_VERDICTS[found.verdict]} {found.least:g}")
    if found.needed:
        lines.append(f"{found.measure} {found.target:g} takes {_count(found.needed)} labels in all")
    return "\n".join([*lines, *(f"not known: {m}" for m in found.missing)])


def proved(found: Proof) -> str:
    """What the trainings showed, as sentences."""
    lines = [
        f"{half.labels} tasks at random teach {half.random:.3f}; chosen ones: "
        + ", ".join(f"{n} teach {q:.3f}" for n, q in zip(half.sizes, half.chosen, strict=True))
        for half in found.halves
    ]
    if found.random_labels is None:
        lost = all(math.isinf(half.ratio) for half in found.halves)
        why = (
            "as many chosen tasks taught less: nothing was saved" if lost else "the halves disagree: nothing is proved"
        )
        return "\n".join([*lines, f"proof: {why}"])
    needed = f"random would have needed {_count(found.random_labels)} tasks for what {found.spent} chosen ones taught"
    return "\n".join([*lines, f"proof: {needed}, if it goes on as at {found.halves[0].labels}"])


_VERDICTS = {"stop": "stop, surely less than", "go on": "go on, surely more than", "unsure": "too early to tell from"}


def _share(found: Estimate) -> str:
    return f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%})"


def _count(found: Estimate) -> str:
    return f"{_whole(found.value)} ({_whole(found.low)} to {_whole(found.high)})"


def _whole(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else "more than any number of"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
