"""replay: which strategy saves labels, on a set that is labelled already."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from pathlib import Path

import typer

from groundlook.service.cli.shared import JSON, out, progress


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    example = "groundlook replay --data ucmerced/data --embedder onnx:yolox_nano.onnx --peers --jobs 2"
    app.command(epilog=f"Example: {example}")(replay)


def replay(
    data: Path = typer.Option(..., help="Folder: train/CLASS/* and test/CLASS/*, sites with labels.geojson, or VOC."),
    task: str = typer.Option("", help="classification, detection or segmentation; by default guessed from the folder."),
    strategies: str = typer.Option("", help="Names, separated by commas; by default all that there are."),
    peers: bool = typer.Option(False, "--peers", help="Those of scikit-activeml and modAL too, where installed."),
    seeds: int = typer.Option(12, min=1, help="Paired seeds per strategy."),
    batch: int = typer.Option(21, min=1, help="Labels bought per round (boxes or outlines, of detectors)."),
    rounds: int = typer.Option(20, min=1, help="Rounds per run."),
    start: int = typer.Option(0, min=0, help="Labels drawn at random before the first round, alike for all."),
    targets: str = typer.Option(".7,.8,.85,.9", help="Qualities to reach; 90% is of that with all labels."),
    embedder: str = typer.Option(
        "thumbnail-1", help="thumbnail-1, onnx:PATH, yolo:PATH, timm:NAME:PATH; d4: before it looks from all sides."
    ),
    head: str = typer.Option("", help="What learns classes: spread (default; passes labels on first) or logistic."),
    jobs: int = typer.Option(1, min=1, help="Processes."),
    folder: Path = typer.Option(None, "--out", help="Where runs and reports are kept; a replay goes on from there."),
    subject: str = typer.Option("", help="The strategy on trial; by default the kind's default."),
    as_json: bool = JSON,
) -> None:
    """Let strategies choose and simulated people label, round after round, and compare what the model learned.

    Writes replay.json, replay.png and replay.html. A run that is kept in --out is not done again: delete its file in
    runs/ after changing the code of a strategy or of what learns. Ctrl-C loses only the runs that are under way."""
    from groundlook.evaluation.replay import Setup
    from groundlook.evaluation.replay.report import body, table
    from groundlook.service.wiring.replay import Asked, run

    asked = Asked(
        data,
        task,
        _split(strategies),
        peers,
        seeds,
        Setup(batch, rounds, start),
        _split(targets),
        embedder,
        jobs,
        folder or Path("replays") / data.resolve().name,
        subject,
        head,
    )
    command = shlex.join(["groundlook", *sys.argv[1:]])
    done = run(asked, command, lambda share, text: progress(f"{share:4.0%} {text}"))
    said = body(done.found, done.summary, command)
    files = {kind: str(path) for kind, path in done.files.items()}
    left = "".join(f"\nleft out: {why}" for why in done.found.left_out.values())
    text = f"{table(done.found, done.summary)}{left}\n{files['html']}"
    kept = {"setup": asdict(asked.setup), "left_out": dict(done.found.left_out), "files": files}
    out(as_json, {"command": command, **kept, "summary": said["summary"]}, text)


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
