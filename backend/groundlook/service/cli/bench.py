"""bench: measured against a peer, with a goal."""

from __future__ import annotations

import json
from typing import Any

import typer

from groundlook.service.cli.shared import JSON

_HEAD = ("case", "ours", "peer", "unit", "ratio", "goal", "")


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command(epilog="Example: groundlook bench serve --json")(bench)


def bench(
    name: str = typer.Argument(..., help="Which: geo, jobs, models, rank, serve or train."),
    quick: bool = typer.Option(False, help="Fewer repeats, for CI."),
    threads: int = typer.Option(1, min=1, help="Threads of every numeric library; with 1, other work disturbs least."),
    as_json: bool = JSON,
) -> None:
    """Measure ours and a peer in turns in one run. Exit code 1: a case crashed; a goal that is missed is no error."""
    from groundlook.service.bench import run_bench

    if not as_json:
        typer.echo(_row(_HEAD))
    results, ended = run_bench(name, quick, threads, (lambda _: None) if as_json else _show)
    if as_json:
        error = {"error": ended} if ended else {}
        typer.echo(json.dumps({"bench": name, "results": results, **error}))
    if ended:
        typer.echo(f"groundlook: bench {name}: {ended}", err=True)
        raise typer.Exit(1)


def _show(body: dict[str, Any]) -> None:
    peer = "-" if body["peer"] is None else f"{body['peer']:.3g} ({body['peer_name']})"
    ratio = "-" if body["ratio"] is None else f"{body['ratio']:.2f}"
    holds = "holds" if body["holds"] else "MISSED"
    typer.echo(_row((body["case"], f"{body['ours']:.3g}", peer, body["unit"], ratio, body["goal"], holds)))


def _row(cells: tuple[str, ...]) -> str:
    return "  ".join(f"{c:<{w}}" for c, w in zip(cells, (58, 9, 34, 14, 6, 14, 6), strict=True)).rstrip()
