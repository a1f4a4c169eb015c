"""Where a training stands after an epoch, so that one that was killed goes on and ends as if it had not been.

Every epoch draws its randomness from (seed, epoch), so what is kept are tensors and counts, no generators.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from groundlook.models.weights.whole import write_whole

_PLACES = ("data", "start", "weights", "checkpoint", "message", "micro", "memory", "short")
"""Parts of a spec that don't change what comes out of it; how many pictures are computed at a time does, a little, but
what was learned until memory ran out is not thrown away for that."""


def key_of(spec: Mapping[str, Any]) -> str:
    """Sha256 of what the result of a training depends on: the spec, the pictures and their truth, the start weights,
    and torch."""
    import torch

    plain = {k: v for k, v in spec.items() if k not in _PLACES}
    seen = hashlib.sha256(json.dumps([torch.__version__, plain], sort_keys=True).encode())
    folder = Path(spec["data"])
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix in (".npz", ".png", ".txt")):
        seen.update(str(path.relative_to(folder)).encode())
        seen.update(hashlib.sha256(path.read_bytes()).digest())
    if spec["start"]:
        seen.update(hashlib.sha256(Path(spec["start"]).read_bytes()).digest())
    return seen.hexdigest()


def keep(path: Path, key: str, state: Mapping[str, Any]) -> None:
    """Write `state` (tensors, numbers, texts, and lists and dicts of them), whole or not at all. Raises TrainingFailed
    where the disk is full."""
    import torch

    buffer = io.BytesIO()
    torch.save({"key": key, **state}, buffer)
    content = buffer.getvalue()
    write_whole(path, hashlib.sha256(content).digest() + content)


def kept(path: Path, key: str) -> dict[str, Any] | None:
    """What `keep` wrote for the same training. None where nothing is there, where it is another training's, or where
    a byte of it changed: then the training starts from the front."""
    import torch

    if not path.is_file():
        return None
    content = path.read_bytes()
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(content[32:]), map_location="cpu", weights_only=True)
    return state if state.get("key") == key else None
