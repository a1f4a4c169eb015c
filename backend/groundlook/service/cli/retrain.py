"""retrain: one round of learning, for a scheduler."""

from __future__ import annotations

import logging
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from groundlook.core.errors import GroundlookError
from groundlook.service.cli.shared import JSON, PROJECT, TOKEN, URL, out, progress
from groundlook.service.settings import read_settings

CODES = {"promoted": 0, "refused": 10, "needs a person": 10, "nothing new": 20}
FAILED = 30


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command(epilog="Example: groundlook retrain --project 1 --gate strict --report out/")(retrain)


def retrain(
    project: int = PROJECT,
    gate: str = typer.Option("", help="usual, or strict: it has to be proved that nothing got worse. [usual]"),
    report: Path = typer.Option(None, help="Folder for the gate's report: report.json and report.html."),
    publish: bool = typer.Option(True, help="Let what serves then look at the open tasks, and make the queue anew."),
    first: bool = typer.Option(False, help="Begin anew where this home lacks the version that Label Studio serves."),
    weights: str = typer.Option(None, help="What the first training starts from: a path, or a URL with --sha256."),
    sha256: str = typer.Option(None, help="SHA-256 of the weights."),
    arch: str = typer.Option(None, help="The network of weights that don't say it: yolov5n.yaml, yolo11n.yaml, …"),
    url: str = URL,
    token: str = TOKEN,
    as_json: bool = JSON,
) -> None:
    """Train on what is labelled now, and promote if not worse.

    Exit codes: 0 promoted, 10 refused or left to a person, 20 nothing new to learn, 30 failed.
    """
    from groundlook.service.wiring.retrain import Asked
    from groundlook.service.wiring.retrain import retrain as run

    try:
        settings = read_settings(os.environ)
        asked = Asked(project, gate or settings.gate, report, publish, first, url, token, weights, sha256, arch)
        done = run(settings, asked, lambda share, text: progress(f"{share:4.0%} {text}"))
    except (GroundlookError, OSError) as error:
        logging.getLogger("groundlook").info("failed", exc_info=error)
        typer.echo(f"groundlook: {error}", err=True)
        raise typer.Exit(FAILED) from None
    body: dict[str, Any] = {"project": project, "outcome": done.outcome, "message": done.message}
    if done.card is not None:
        body["model"] = {**asdict(done.card), "version": str(done.card.version)}
    if report is not None and done.report is not None:
        body["report"] = [str(report / name) for name in ("report.json", "report.html")]
    out(as_json, body, f"{done.outcome}: {done.message}")
    raise typer.Exit(CODES[done.outcome])
