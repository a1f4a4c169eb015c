"""Files that are there whole or not at all, whatever ends the writer: a full disk, a kill, a power cut."""

from __future__ import annotations

import os
from pathlib import Path

from groundlook.core.errors import TrainingFailed


def write_whole(path: Path, content: bytes) -> Path:
    """Put `content` at `path`, in the place of what was there, once all of it is on the disk. Raises TrainingFailed,
    naming the file and the remedy, where it can't be written: then the old file stands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        why = error.strerror or str(error)
        raise TrainingFailed(
            f"{path} ({len(content):,} bytes) can't be written: {why}; make room on that disk, or give another folder"
        ) from error
    return path
