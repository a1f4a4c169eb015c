"""queue: the loop at work."""

from __future__ import annotations

import json
import os
from dataclasses import asdict

import typer

from groundlook.service.cli.shared import JSON, PROJECT
from groundlook.service.settings import read_settings


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command(epilog="Example: groundlook queue --project 1 --json")(queue)


def queue(project: int = PROJECT, as_json: bool = JSON) -> None:
    """Planned against served order, what made it, and each task with its reason."""
    from groundlook.loop.audit import audit, order_tau
    from groundlook.service.wiring import wire

    wired = wire(read_settings(os.environ))
    wired.store.project(project)
    rows = audit(wired.loop, project)
    window = wired.store.current_window(project)
    tau = order_tau(rows)
    made = (window.strategy, window.fallback) if window else ("", "")
    if as_json:
        body = {"project": project, "window": window.version if window else None, "order_tau": tau}
        body |= {"strategy": made[0], "fallback": made[1]}
        typer.echo(json.dumps({**body, "tasks": [asdict(r) for r in rows]}))
        return
    by = f" by {made[0]}" if made[0] else ""
    typer.echo(f"window {window.version if window else 'none yet'}{by}; served against planned: tau {tau:.3f}")
    if made[1]:
        typer.echo(f"this is the last good order: {made[0]} failed ({made[1]})")
    for row in rows:
        planned = "-" if row.planned is None else str(row.planned)
        served = "open" if row.served is None else f"served {row.served}"
        typer.echo(f"task {row.task_id:>7}  planned {planned:>4}  {served:<12} {row.reason}")
