"""The command line. One file per group of commands; errors are one line and an exit code."""

from __future__ import annotations

import logging
import os
import sys

import typer

from groundlook import __version__
from groundlook.core.errors import GroundlookError
from groundlook.core.process import yield_cores
from groundlook.service.cli import (
    bench,
    calibrate,
    connect,
    demo,
    doctor,
    export,
    ingest,
    jobs,
    load,
    loop,
    models,
    predict,
    rank,
    replay,
    retrain,
    savings,
    server,
    snapshot,
)
from groundlook.service.settings import from_files

app = typer.Typer(
    name="groundlook",
    help="Pre-annotation, queue order and retraining for Earth imagery in Label Studio.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (
    server,
    connect,
    ingest,
    load,
    predict,
    export,
    snapshot,
    loop,
    jobs,
    retrain,
    models,
    rank,
    calibrate,
    replay,
    savings,
    demo,
    doctor,
    bench,
):
    group.register(app)


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Log what is done."),
) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else os.environ.get("GROUNDLOOK_LOG", "warning").upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    for noisy, level in (("httpx", logging.WARNING), ("rasterio", logging.ERROR)):
        logging.getLogger(noisy).setLevel(level)
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line: exit code 0 = done, 1 = an error that one line explains, 2 = wrong usage,
    3 = done in part, 130 = interrupted."""
    yield_cores()
    try:
        os.environ.update(from_files(os.environ))
        app()
    except GroundlookError as error:
        logging.getLogger("groundlook").info("failed", exc_info=error)
        typer.echo(f"groundlook: {error}", err=True)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except OSError as error:
        logging.getLogger("groundlook").info("failed", exc_info=error)
        typer.echo(f"groundlook: {error.strerror or error} ({error.filename or 'no file'})", err=True)
        raise SystemExit(1) from None
