"""The line: which versions served a project, which one does, and which were withdrawn.

Every promotion and rollback is a folder of its own, `promotions/000012/line.json`, that says the whole line after it
and is never changed. The highest number counts. Who changes the line makes the next number, and there only one can
win: the others look again (compare and swap, with the number as the fencing token).
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from groundlook.core.types import ModelVersion
from groundlook.learning.registry.files import appear

FOLDER, _FILE = "promotions", "line.json"


@dataclass(frozen=True, slots=True)
class Line:
    """`served`: each version once, in the order in which they came to serve; the last one serves. `withdrawn`: taken
    out by a rollback and not promoted since."""

    number: int = 0
    served: tuple[ModelVersion, ...] = ()
    withdrawn: frozenset[ModelVersion] = frozenset()

    @property
    def serving(self) -> ModelVersion | None:
        """None before the first promotion."""
        return self.served[-1] if self.served else None

    @property
    def before(self) -> ModelVersion | None:
        """What a rollback leads to; None where nothing served before."""
        return self.served[-2] if len(self.served) > 1 else None

    def promoted(self, version: ModelVersion) -> Line:
        """The line with `version` at its end."""
        served = (*(v for v in self.served if v != version), version)
        return Line(self.number + 1, served, self.withdrawn - {version})

    def back_to(self, version: ModelVersion) -> Line:
        """The line up to `version`: all that came after it are withdrawn, for what was passed over may still be shown
        by a queue that was slow."""
        end = self.served.index(version) + 1
        return Line(self.number + 1, self.served[:end], self.withdrawn | set(self.served[end:]))


class Lines:
    """The lines of all projects under `root`/<project>/promotions/. Thread-safe."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._read: dict[int, Line] = {}
        self._lock = threading.Lock()

    def now(self, project: int) -> Line | None:
        """The line as it is now, None where there was no promotion yet. Looks at the names in one folder; a file is
        read once."""
        numbers = self._numbers(project)
        with self._lock:
            kept = self._read.get(project)
        if kept is not None and numbers and kept.number == numbers[0]:
            return kept
        for number in numbers:
            found = _read(self._path(project, number), number)
            if found is not None:
                line = replace(found, number=numbers[0])  # a damaged number stays taken
                with self._lock:
                    self._read[project] = line
                return line
        return None

    def add(self, project: int, line: Line, at: float, what: str) -> bool:
        """Make `line` the one that counts. False where somebody else took its number. `at`: seconds since the epoch;
        `what` was done, for people who look."""
        body = {
            "what": what,
            "at": at,
            "served": [str(v) for v in line.served],
            "withdrawn": sorted(str(v) for v in line.withdrawn),
        }

        def fill(folder: Path) -> None:
            (folder / _FILE).write_text(json.dumps(body, indent=2))

        return appear(self._path(project, line.number), fill)

    def _numbers(self, project: int) -> Sequence[int]:
        """The highest first."""
        try:
            names = os.listdir(self._root / str(project) / FOLDER)
        except FileNotFoundError:
            return ()
        return sorted((int(name) for name in names if name.isdecimal()), reverse=True)

    def _path(self, project: int, number: int) -> Path:
        return self._root / str(project) / FOLDER / f"{number:06d}"


def _read(folder: Path, number: int) -> Line | None:
    try:
        body = json.loads((folder / _FILE).read_text())
        served, withdrawn = (tuple(map(ModelVersion.parse, body[key])) for key in ("served", "withdrawn"))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # a damaged disk: the promotion before it counts
    return Line(number, served, frozenset(withdrawn))
