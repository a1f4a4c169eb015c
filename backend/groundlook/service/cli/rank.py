"""rank, strategies: what people are served next, and what may decide it."""

from __future__ import annotations

import inspect
import json
import os
import textwrap
from dataclasses import asdict, replace
from typing import Any

import typer

from groundlook.core.types import Window
from groundlook.service.cli.shared import JSON, PROJECT, out
from groundlook.service.settings import read_settings


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command(epilog="Example: groundlook rank --project 1 --strategy margin --dry-run")(rank)
    app.command(epilog="Example: groundlook strategies")(strategies)


def rank(
    project: int = PROJECT,
    strategy: str = typer.Option("", help="By name, see `groundlook strategies`; by default the project's."),
    batch: int = typer.Option(0, min=0, help="Tasks in the window; by default that of the service."),
    keep: bool = typer.Option(False, help="Refill by this strategy from now on; without --strategy, by the usual one."),
    dry_run: bool = typer.Option(False, help="Only show what would be published."),
    as_json: bool = JSON,
) -> None:
    """Rank the open tasks and publish the top as the queue, each task with its reason."""
    from groundlook.loop.publish import plan, publish, told
    from groundlook.service.wiring import wire

    with wire(read_settings(os.environ)) as wired:
        found = wired.store.project(project)
        if strategy:
            wired.loop.strategies(strategy)  # an unknown one is an error here; in the service it is a fallback
        if keep and not dry_run:
            rest = {name: value for name, value in found.settings.items() if name != "strategy"}
            found = replace(found, settings={**rest, "strategy": strategy} if strategy else rest)
            wired.store.put_project(found)
        if dry_run:
            window = plan(wired.loop, found, strategy, batch, keep=False)
        else:
            publish(wired.loop, found, strategy, batch)
            window = wired.store.current_window(project)
        out(as_json, _body(project, window, dry_run), _text(window, "" if window is None else told(window), dry_run))


def _body(project: int, window: Window | None, dry_run: bool) -> dict[str, Any]:
    if window is None:
        return {"project": project, "window": None, "tasks": []}
    return {
        "project": project,
        "window": window.version,
        "published": not dry_run,
        "strategy": window.strategy,
        "fallback": window.fallback,
        "tasks": [asdict(task) for task in window.tasks],
    }


def _text(window: Window | None, said: str, dry_run: bool) -> str:
    if window is None:
        return "no open task to rank"
    lines = [f"{'would be ' if dry_run else ''}{said}"]
    return "\n".join(lines + [f"{t.rank:>4}  task {t.task_id:>7}  {t.reason}" for t in window.tasks])


def strategies(as_json: bool = JSON) -> None:
    """The strategies there are, those of installed packages included, and for what each is the usual one."""
    from groundlook.strategies.catalog import DEFAULTS
    from groundlook.strategies.catalog import strategies as known

    rows = []
    for name, make in sorted(known().items()):
        about = inspect.getdoc(type(make())) or ""
        usual = [kind for kind, chosen in DEFAULTS.items() if chosen == name]
        rows.append({"name": name, "about": " ".join(about.split("\n\n")[0].split()), "usual": usual})
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        mark = f" (usual for {', '.join(row['usual'])})" if row["usual"] else ""
        typer.echo(textwrap.fill(f"{row['name']:<20} {row['about']}{mark}", 110, subsequent_indent=" " * 21))
