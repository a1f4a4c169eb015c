"""jobs: what works in the background, how far it is, what was given up; cancel and retry."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from typing import Any

import typer

from groundlook.core.errors import InvalidInput
from groundlook.core.types import Job
from groundlook.service.cli.shared import JSON
from groundlook.service.settings import read_settings

_SHOWN = 20
_WAITS = ("queued", "running")


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    group = typer.Typer(add_completion=False)
    group.callback(invoke_without_command=True, epilog="Example: groundlook jobs --project 1 --watch")(jobs)
    group.command(epilog="Example: groundlook jobs cancel 17")(cancel)
    group.command(epilog="Example: groundlook jobs retry --failed")(retry)
    app.add_typer(group, name="jobs")


def jobs(
    context: typer.Context,
    project: int = typer.Option(None, "--project", "-p", help="Id of the Label Studio project; by default all."),
    watch: bool = typer.Option(False, help="Show again every second until nothing runs."),
    as_json: bool = JSON,
) -> None:
    """Background work: what runs, how far it is, what was given up. `cancel` and `retry` change it."""
    if context.invoked_subcommand is not None:
        return
    from groundlook.service.wiring import wire

    wired = wire(read_settings(os.environ))
    while True:
        found, dead = wired.jobs.jobs(project)[:_SHOWN], wired.jobs.dead(project)
        shown = [*found, *(j for j in dead if j.id < min((f.id for f in found), default=0))]
        if as_json:
            typer.echo(json.dumps([_body(j) for j in shown]))
        else:
            for job in shown:
                typer.echo(_line(job))
            if dead:
                typer.echo(f"{len(dead)} given up: put right what they say, then groundlook jobs retry --failed")
        if not watch or not any(j.state in _WAITS for j in found):
            return
        time.sleep(1.0)
        if not as_json:
            typer.echo("")


def cancel(number: int = typer.Argument(..., metavar="ID", help="As `groundlook jobs` lists it.")) -> None:
    """Cancel a job: one that waits never starts, one that runs ends at its next sign of progress."""
    from groundlook.service.wiring import wire

    with wire(read_settings(os.environ)) as wired:
        if not wired.jobs.cancel(number):
            raise InvalidInput(f"job {number} has ended already: it is {wired.jobs.job(number).state}")
        job = wired.jobs.job(number)
    typer.echo(f"job {number} ({job.kind} of project {job.project}) is told to stop")


def retry(
    number: int = typer.Argument(None, metavar="[ID]", help="As `groundlook jobs` lists it.", show_default=False),
    failed: bool = typer.Option(False, "--failed", help="Everything that was given up."),
    project: int = typer.Option(None, "--project", "-p", help="With --failed: of this project only."),
) -> None:
    """Queue again what was given up or cancelled."""
    from groundlook.service.wiring import wire

    if (number is None) == (not failed):
        raise InvalidInput("retry needs the ID of a job, or --failed for all that were given up")
    with wire(read_settings(os.environ)) as wired:
        wanted = [j.id for j in wired.jobs.dead(project)] if failed else [number]
        again = [n for n in wanted if wired.jobs.retry(n)]
        if not failed and not again:
            raise InvalidInput(f"job {number} is {wired.jobs.job(number).state}: there is nothing to queue again")
    typer.echo(f"queued again: {', '.join(str(n) for n in again) or 'nothing, no job was given up'}")


def _body(job: Job) -> dict[str, Any]:
    """As it stands in JSON: without what its handler is given and gives back."""
    body = {**asdict(job), "left": _left(job, time.time())}
    return {name: value for name, value in body.items() if name not in ("payload", "body")}


def _line(job: Job) -> str:
    state = "GIVEN UP" if job.state == "failed" else job.state
    marks = [f"priority {job.priority}"] if job.priority else []
    marks += [f"attempt {job.attempts}"] if job.attempts > 1 else []
    left = _left(job, time.time())
    marks += [f"{_span(left)} left"] if left is not None else []
    notes = f"[{', '.join(marks)}] " if marks else ""
    return f"{job.id:>6} {job.kind:<8} project {job.project} {state:<9} {job.progress:4.0%} {notes}{job.message}"


def _left(job: Job, now: float) -> float | None:
    """Seconds that a running job still takes, if it goes on as it did; None where that can't be told."""
    if job.state != "running" or job.started is None or job.progress <= 0 or now <= job.started:
        return None
    return (now - job.started) * (1 - job.progress) / job.progress


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
