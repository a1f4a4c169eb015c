"""calibrate: make the scores of smart tools mean what they say."""

from __future__ import annotations

import os

import typer

from groundlook.service.cli.shared import JSON, PROJECT, out, progress
from groundlook.service.settings import read_settings


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command(epilog="Example: groundlook calibrate --project 12")(calibrate)


def calibrate(
    project: int = PROJECT,
    most: int = typer.Option(100, min=1, help="Annotated tasks to use at most, the newest."),
    as_json: bool = JSON,
) -> None:
    """Fit the score of smart tools to the masks that people submitted: a score of .8 then means an IoU of about .8."""
    from groundlook.service.wiring import wire
    from groundlook.service.wiring.calibrate import calibrate as run

    with wire(read_settings(os.environ)) as wired:
        found = run(wired, wired.store.project(project), most, lambda done, text: progress(f"{done:4.0%} {text}"))
    body = {"pairs": found.pairs, "error_before": found.before, "error_after": found.after, "path": str(found.path)}
    sentence = (
        f"calibrated on {found.pairs} masks: expected calibration error {found.before:.3f}, now {found.after:.3f} (on "
        f"masks left out). Kept in {found.path}; start the service again to use it"
    )
    out(as_json, body, sentence)
