"""models list, promote, rollback, diff: the versions of a project, and which of them serves."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from groundlook.core.errors import InvalidInput, InvalidWeights
from groundlook.core.types import ModelCard
from groundlook.learning.gate import measure
from groundlook.learning.registry import find_card
from groundlook.service.cli.shared import JSON, PROJECT, out
from groundlook.service.settings import read_settings

if TYPE_CHECKING:
    from groundlook.service.wiring import Wired

VERSION = typer.Argument(
    ..., help="A version, yolo@1a2b3c…; its beginning, or that of the part after the @, is enough."
)
_FACTS = ("verdict", "kind", "arch", "labels", "snapshot", "parent", "code", "licence", "sha256")


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    models = typer.Typer(
        help="The model versions of a project: list (also without a command), promote, rollback, diff.",
        epilog="Example: groundlook models --project 1",
    )
    models.callback(invoke_without_command=True)(_models)
    models.command("list", epilog="Example: groundlook models list --project 1")(list_models)
    models.command(epilog="Example: groundlook models promote 1a2b --project 1")(promote)
    models.command(epilog="Example: groundlook models rollback --project 1")(rollback)
    models.command(epilog="Example: groundlook models diff 1a2b 3c4d --project 1")(diff)
    app.add_typer(models, name="models")


def _models(
    ctx: typer.Context,
    project: int = typer.Option(None, "--project", "-p", help="Id of the Label Studio project."),
    as_json: bool = JSON,
) -> None:
    if ctx.invoked_subcommand is not None:
        return
    if project is None:
        raise typer.BadParameter("name a project", ctx, param_hint="--project")
    list_models(project, as_json)


def list_models(project: int = PROJECT, as_json: bool = JSON) -> None:
    """The model versions of a project: which one serves (*), what the gate said of each, what it was trained from."""
    with _wired(project) as wired:
        cards, serving = wired.registry.cards(project), wired.registry.serving(project)
        gone = {c.version for c in cards if wired.registry.withdrawn(project, c.version)}
    rows = [{**_body(c), "serving": c == serving, "withdrawn": c.version in gone} for c in cards]
    lines = [_line(c, "*" if c == serving else " ", c.version in gone) for c in cards]
    text = "\n".join(lines) or "no model yet: the first is trained from the first annotations"
    out(as_json, {"project": project, "models": rows}, text)


def promote(
    version: str = VERSION,
    project: int = PROJECT,
    force: bool = typer.Option(False, help="Even a version that the gate refused."),
    as_json: bool = JSON,
) -> None:
    """Let a version serve, at once and in every process. Exit code 1 where the gate refused it, without --force."""
    from groundlook.loop.rollback import promote as promoted

    with _wired(project) as wired:
        card, serving = find_card(wired.registry.cards(project), version), wired.registry.serving(project)
        if card.verdict == "refused" and not force:
            raise InvalidInput(
                f"the gate refused {card.version}: {_why(wired, project, card)}; --force promotes it all the same"
            )
        if serving is not None and serving.version == card.version:
            said = f"{card.version} serves project {project} already"
        else:
            said = promoted(wired.loop, project, card.version, None if serving is None else serving.version)
    over = "" if serving is None else str(serving.version)
    out(as_json, {"project": project, "serving": str(card.version), "before": over}, said)


def rollback(
    project: int = PROJECT,
    to: str = typer.Option("", help="A version that served before; by default the last of them."),
    as_json: bool = JSON,
) -> None:
    """Let an earlier version serve again. The next request is answered by it, in every process, and nothing of what it
    takes the place of is shown any more; its queue is published at once."""
    from groundlook.loop.rollback import rollback as rolled_back

    with _wired(project) as wired:
        before = wired.registry.serving(project)
        target = find_card(wired.registry.cards(project), to).version if to else None
        said = rolled_back(wired.loop, project, target)
        now, window = wired.registry.serving(project), wired.store.current_window(project)
    body = {
        "project": project,
        "serving": "" if now is None else str(now.version),
        "before": "" if before is None else str(before.version),
        "window": None if window is None else window.version,
    }
    out(as_json, body, said)


def diff(
    a: str = VERSION,
    b: str = VERSION,
    project: int = PROJECT,
    as_json: bool = JSON,
) -> None:
    """What two versions are made of, and their metrics side by side."""
    with _wired(project) as wired:
        cards = wired.registry.cards(project)
        one, two = find_card(cards, a), find_card(cards, b)
        sizes = _size(wired, project, one), _size(wired, project, two)
    facts = {name: (getattr(one, name), getattr(two, name)) for name in _FACTS}
    facts = {"created": (_when(one), _when(two)), **facts, "bytes": sizes}
    numbers = {n: (one.metrics.get(n), two.metrics.get(n)) for n in dict.fromkeys((*one.metrics, *two.metrics))}
    body = {
        "project": project,
        "versions": [str(one.version), str(two.version)],
        "facts": facts,
        "metrics": {n: [*map(_finite, pair)] for n, pair in numbers.items()},
    }
    lines = [_row("", str(one.version), str(two.version))]
    lines += [_row(name, _short(x), "the same" if x == y else _short(y)) for name, (x, y) in facts.items()]
    lines += [_row(name, _number(x), _number(y), _change(x, y)) for name, (x, y) in numbers.items()]
    out(as_json, body, "\n".join(lines))


def _wired(project: int) -> Wired:
    """Raises NotFound where the project is not connected."""
    from groundlook.service.wiring import wire

    wired = wire(read_settings(os.environ))
    try:
        wired.store.project(project)
    except BaseException:
        wired.close()
        raise
    return wired


def _body(card: ModelCard) -> dict[str, Any]:
    metrics = {name: _finite(value) for name, value in card.metrics.items()}
    return {**asdict(card), "version": str(card.version), "metrics": metrics}


def _line(card: ModelCard, mark: str, withdrawn: bool) -> str:
    quality = f"{measure(card.metrics)} {_quality(card.metrics):.3f}"
    parts = [f"{mark} {card.version}", f"{'withdrawn' if withdrawn else card.verdict:<14}", quality, card.arch]
    parts += [f"← {card.parent}"] if card.parent else []
    parts += [f"snapshot {card.snapshot[:12]}"] if card.snapshot else []
    parts += [card.licence] if card.licence else []
    return "  ".join(parts) + _calibration(card.metrics)


def _calibration(metrics: Mapping[str, float]) -> str:
    if "ece" not in metrics:
        return ""
    after = f" → {metrics['ece_calibrated']:.3f}" if "ece_calibrated" in metrics else ""
    return f"  calibration error {metrics['ece']:.3f}{after}"


def _quality(metrics: Mapping[str, float]) -> float:
    """Cards of earlier versions have their mAP50 only."""
    return metrics.get("quality", metrics.get("map50", float("nan")))


def _why(wired: Wired, project: int, card: ModelCard) -> str:
    said = f"its {measure(card.metrics)} is {_quality(card.metrics):.3f}"
    champion = card.metrics.get("champion_quality")
    if champion is not None:
        said += f", that of the version before it {champion:.3f}"
    report = wired.settings.home / "reports" / str(project) / str(card.version) / "gate.html"
    return f"{said}; the whole reason is in {report}" if report.exists() else said


def _size(wired: Wired, project: int, card: ModelCard) -> int | None:
    """Bytes; None where the weights are gone or were changed."""
    try:
        return wired.registry.weights(project, card).stat().st_size
    except InvalidWeights:
        return None


def _when(card: ModelCard) -> str:
    return datetime.fromtimestamp(card.created, UTC).strftime("%Y-%m-%d %H:%M UTC") if card.created else ""


def _row(name: str, one: str, two: str, more: str = "") -> str:
    return f"{name:<22} {one:<34} {two:<34} {more}".rstrip()


def _short(value: Any) -> str:
    text = ", ".join(value) if isinstance(value, tuple) else "damaged" if value is None else str(value)
    return text if len(text) <= 34 else text[:31] + "…"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _change(one: float | None, two: float | None) -> str:
    return "" if one is None or two is None or not math.isfinite(two - one) else f"{two - one:+.4g}"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
