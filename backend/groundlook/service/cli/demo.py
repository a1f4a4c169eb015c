"""demo."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

import typer

from groundlook.core.errors import InvalidInput


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command(epilog="Example: groundlook demo --headless --annotators 3 --rounds 3 --json")(demo)


def demo(
    headless: bool = typer.Option(False, help="Run the whole loop with simulated people and end."),
    annotators: int = typer.Option(3, min=1, max=20, help="Simulated people."),
    rounds: int = typer.Option(3, min=1, max=20, help="Rounds of labelling and learning."),
    data: str = typer.Option("scene", help="scene (made up), oam or neon (real imagery, see README)."),
    seed: int = typer.Option(7, help="Seed of the people's hands."),
    work: Path = typer.Option(None, "--dir", help="Keep everything here; by default a temporary folder."),
    port: int = typer.Option(None, help="Port of our service; by default a free one."),
    studio_port: int = typer.Option(None, help="Port of Label Studio; by default a free one."),
    as_json: bool = typer.Option(False, "--json", help="End with one JSON line."),
) -> None:
    """Start a real Label Studio with a project that works: imagery, pre-annotation, queue, retraining."""
    from groundlook.demo.headless import run_headless
    from groundlook.demo.house import House, open_house

    if data not in ("scene", "oam", "neon"):
        raise InvalidInput(f"--data {data!r}: choose scene, oam or neon")
    for number in (signal.SIGINT, signal.SIGTERM):  # ended either way, everything is taken down; a shell may have
        signal.signal(number, signal.default_int_handler)  # started us with SIGINT ignored
    with ExitStack() as stack:
        folder = work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="groundlook-demo-")))
        folder.mkdir(parents=True, exist_ok=True)

        def per_round(tasks: int) -> int:
            """8 a person, and never so many that the last round runs out of tasks; the service's default by hand."""
            return max(1, min(8 * annotators, tasks * 9 // 10 // rounds)) if headless else 24

        opened = open_house(folder.resolve(), data, {}, _say, port, studio_port, per_round)
        house: House = stack.enter_context(opened)
        if headless:
            report = run_headless(house, annotators, rounds, seed, _say)
            typer.echo(json.dumps(report) if as_json else json.dumps(report, indent=2))
            return
        _show(house, as_json)
        threading.Event().wait()


def _show(house: object, as_json: bool) -> None:
    from groundlook.demo.house import House

    assert isinstance(house, House)  # noqa: S101 (imports are lazy here)
    url = f"{house.studio.url}/projects/{house.project}/data"
    login = {"url": url, "username": house.studio.username, "password": house.studio.password}
    if as_json:
        typer.echo(json.dumps({**login, "token": house.studio.token, "backend": house.backend.settings.url}))
        return
    typer.echo(f"\n  open      {url}\n  login     {house.studio.username}\n  password  {house.studio.password}\n")
    typer.echo(f'  Press "Label All Tasks": Groundlook decides what comes first. {house.tasks} tiles wait.')
    typer.echo(f"  Watch it: GROUNDLOOK_HOME={house.backend.settings.home} groundlook jobs --watch")
    typer.echo(f"  After {house.each} annotations the first model is trained, and pre-annotates what is left.")
    typer.echo("  Ctrl-C ends everything.")


def _say(text: str) -> None:
    if sys.stderr.isatty() or os.environ.get("GROUNDLOOK_LOG") == "info":
        sys.stderr.write(f"demo: {text}\n")
        sys.stderr.flush()
