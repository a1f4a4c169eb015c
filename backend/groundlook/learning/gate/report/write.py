"""The report of a verdict as two files: a page that needs nothing else, and the same numbers as JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path

from groundlook.core.exam import Exam
from groundlook.core.types import ModelVersion
from groundlook.learning.gate.report.body import body
from groundlook.learning.gate.report.differ import SHOWN, differ
from groundlook.learning.gate.report.page import page
from groundlook.learning.gate.report.picture import Read, panels
from groundlook.learning.gate.verdict import Verdict


def report_folder(home: Path, project: int, version: ModelVersion) -> Path:
    """Where the report of the last judgement of a version lies."""
    return home / "reports" / str(project) / str(version)


def write_report(
    folder: Path, verdict: Verdict, challenger: Exam, champion: Exam | None, read: Read, shown: int = SHOWN
) -> tuple[Path, Path]:
    """`folder`/gate.json and gate.html, each whole or not at all. `read` gives a task's pixels, uint8 RGB (H, W, 3),
    or None where they can't be had any more; `shown`: of how many pictures at most."""
    folder.mkdir(parents=True, exist_ok=True)
    found = differ(challenger, champion)[:shown]
    pictures = [panels(one, challenger, champion, read(challenger.tasks[one.row])) for one in found]
    texts = {
        "gate.json": json.dumps(body(verdict, challenger, champion, found), indent=2, allow_nan=False),
        "gate.html": page(verdict, challenger, champion, list(zip(found, pictures, strict=True))),
    }
    for name, text in texts.items():
        temporary = folder / f".{name}.{os.getpid()}"
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(folder / name)
        finally:
            temporary.unlink(missing_ok=True)  # of a full disk
    return folder / "gate.json", folder / "gate.html"
