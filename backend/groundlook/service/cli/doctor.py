"""doctor: what breaks in practice, and what to do about it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict

import typer

from groundlook.service.cli.shared import JSON, TOKEN, URL
from groundlook.service.finding import Finding

_MARKS = {"ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "red"), "skip": ("-   ", None)}


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command(epilog="Example: groundlook doctor --project 1")(doctor)


def doctor(
    project: int = typer.Option(None, "--project", "-p", help="Id of the Label Studio project; by default all."),
    url: str = URL,
    token: str = TOKEN,
    as_json: bool = JSON,
) -> None:
    """Check each thing that breaks in practice. Exit code 1: something failed; warnings don't count."""
    findings = []
    for finding in _findings(project, url, token):
        findings.append(finding)
        if not as_json:
            _show(finding)
    failed = sum(f.ok == "fail" for f in findings)
    warned = sum(f.ok == "warn" for f in findings)
    if as_json:
        body = {"project": project, "ok": not failed, "failed": failed, "warned": warned}
        typer.echo(json.dumps({**body, "findings": [asdict(f) for f in findings]}))
    else:
        typer.echo(f"{len(findings)} checks: {failed} failed, {warned} warnings")
    if failed:
        raise typer.Exit(1)


def _findings(project: int | None, url: str | None, token: str | None) -> Iterator[Finding]:
    try:
        from groundlook.service.wiring.doctor import examine
    except (ImportError, OSError) as error:  # a shared library that does not fit, a package half installed
        yield Finding("packages", "fail", f"they can't be imported: {error}", "install again: pip install groundlook")
        return
    yield from examine(os.environ, project, url, token)


def _show(finding: Finding) -> None:
    mark, colour = _MARKS[finding.ok]
    typer.echo(f"{typer.style(mark, fg=colour)}  {finding.name}: {finding.says}")
    if finding.remedy and finding.ok in ("warn", "fail"):
        typer.echo(f"      → {finding.remedy}")
