"""What was made and tried on this machine, and what was chosen, as JSON files beside the export."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from groundlook.models.runtime.network import Taken

PREPARED = "prepared.json"


@dataclass(frozen=True, slots=True)
class Trial:
    """One runtime on the example inputs. `error`: relative L2, None where it did not run. `seconds`: the fastest of
    some runs. `peak_mb`: most memory of the process that tried it. `note`: why it is out, "" where it is not."""

    runtime: str
    error: float | None = None
    seconds: float | None = None
    peak_mb: float | None = None
    note: str = ""

    def __str__(self) -> str:
        if self.note or self.error is None or self.seconds is None:
            return f"{self.runtime} out ({self.note or 'not measured'})"
        memory = f", {self.peak_mb:.0f} MB" if self.peak_mb else ""
        return f"{self.runtime} {_duration(self.seconds)}, error {self.error:.2g}{memory}"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A network made ready for every runtime. `eager`: PyTorch's own trial. `cuda`: whether there is one. `files`: of
    the export, name → sha256. `note`: why there is no export, "" where there is."""

    inputs: tuple[Taken, ...]
    eager: Trial
    cuda: bool
    files: Mapping[str, str]
    note: str = ""

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Prepared:
        """From `asdict`'s values, which may have been through JSON."""
        inputs = tuple(Taken(one["name"], one["dtype"], tuple(one["shape"])) for one in body["inputs"])
        return cls(inputs, Trial(**body["eager"]), body["cuda"], body["files"], body["note"])


@dataclass(frozen=True, slots=True)
class Choice:
    """`runtime`: the fastest of `tried` that computes the same. `made_with`: versions and machine."""

    network: str
    runtime: str
    tried: tuple[Trial, ...]
    made_with: Mapping[str, str]

    @property
    def trial(self) -> Trial:
        """That of the chosen runtime."""
        return next(one for one in self.tried if one.runtime == self.runtime)

    def __str__(self) -> str:
        others = "; ".join(str(one) for one in self.tried if one.runtime != self.runtime)
        return f"{self.network}: {self.trial}" + (f" (others: {others})" if others else "")

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Choice:
        """From `asdict`'s values, which may have been through JSON."""
        tried = tuple(Trial(**one) for one in body["tried"])
        choice = cls(body["network"], body["runtime"], tried, body["made_with"])
        _ = choice.trial
        return choice


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def digest(value: Any) -> str:
    """A short name for JSON values."""
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def digests(folder: Path) -> dict[str, str]:
    """Name → sha256 of every file of the export under `folder`; empty where there is none."""
    found: dict[str, str] = {}
    for path in sorted((folder / "onnx").glob("*")):
        with path.open("rb") as file:
            seen = sha256()
            while block := file.read(1 << 20):
                seen.update(block)
        found[path.name] = seen.hexdigest()
    return found


def write(path: Path, value: Choice | Prepared) -> None:
    """Keep `value`; a reader never sees half of it."""
    keep(path, asdict(value))


def keep(path: Path, body: Any) -> None:
    """JSON values as a file; a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}-{path.name}")
    partial.write_text(json.dumps(body, indent=1), encoding="utf-8")
    partial.replace(path)


def read_choice(path: Path) -> Choice | None:
    """What `write` kept; None where nothing is, or it can't be read."""
    try:
        return Choice.of(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, StopIteration):
        return None


def read_prepared(folder: Path) -> Prepared | None:
    """What `write` kept as `PREPARED`; None where nothing is, it can't be read, or the export is not as it was."""
    try:
        found = Prepared.of(json.loads((folder / PREPARED).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return found if digests(folder) == found.files else None


def describe(folder: Path) -> list[str]:
    """One line for every choice recorded under `folder`: network, runtime, time, error, memory, and what lost or is
    out. For people: `doctor` and logs."""
    found = (read_choice(path) for path in sorted(folder.glob("*/choice-*.json")))
    return [str(choice) for choice in found if choice is not None]
