"""serve, worker."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import typer

from groundlook.core.process import die_with_parent
from groundlook.service.settings import read_settings


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command(epilog="Example: groundlook serve --port 9090")(serve)
    app.command(epilog="Example: groundlook worker --lanes shards --threads 4")(worker)


def serve(
    host: str = typer.Option("127.0.0.1", help="Address to listen on."),
    port: int = typer.Option(0, help="Port; by default the one in GROUNDLOOK_URL."),
    worker: bool = typer.Option(True, help="Run the background worker too."),
    attached: bool = typer.Option(False, hidden=True, help="End with the parent process."),
) -> None:
    """Answer Label Studio's calls and serve tiles."""
    from groundlook.service.serve import run_service
    from groundlook.service.wiring import wire

    if attached:
        die_with_parent()
    settings = read_settings(os.environ)
    chosen = port or urlsplit(settings.url).port or 9090
    typer.echo(f"Groundlook serves {settings.url} on {host}:{chosen}; home {settings.home}", err=True)
    run_service(wire(settings), host, chosen, worker)


def worker(
    lanes: str = typer.Option(
        "", help="Run these lanes only, separated by commas: fast, slow, spare, shards. With Redis."
    ),
    threads: int = typer.Option(1, min=1, help="Jobs at a time in each lane."),
    attached: bool = typer.Option(False, hidden=True, help="End with the parent process."),
) -> None:
    """Run the background jobs (`serve` starts one by itself)."""
    from groundlook.service.wiring import wire
    from groundlook.service.worker import run_worker

    run_worker(wire(read_settings(os.environ)), attached, [w.strip() for w in lanes.split(",") if w.strip()], threads)
