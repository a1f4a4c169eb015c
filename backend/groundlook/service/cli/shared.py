"""What the commands share: options, progress, and how a result is printed."""

from __future__ import annotations

import json
import sys
from typing import Any

import typer

from groundlook.core.errors import InvalidInput

PROJECT = typer.Option(..., "--project", "-p", help="Id of the Label Studio project.")
URL = typer.Option(None, envvar="GROUNDLOOK_LABEL_STUDIO_URL", help="Label Studio's address.")
TOKEN = typer.Option(
    None, envvar="GROUNDLOOK_TOKEN", help="Personal access token, or legacy token.", show_default=False
)
JSON = typer.Option(False, "--json", help="Print one JSON line.")


def pairs(items: list[str], what: str = "model class") -> dict[str, str]:
    """name=label, repeated, as a dict. Raises InvalidInput."""
    found = {}
    for item in items:
        name, sep, label = item.partition("=")
        if not sep or not name or not label:
            raise InvalidInput(f"--map {item!r} is not of the form '{what}=Project label'")
        found[name] = label
    return found


def progress(text: str) -> None:
    """One line that overwrites itself, on a terminal only."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text[:110]}")
        sys.stderr.flush()


def out(as_json: bool, body: dict[str, Any], text: str) -> None:
    """The result: one JSON line for machines, or sentences."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
    typer.echo(json.dumps(body) if as_json else text)
