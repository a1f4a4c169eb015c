"""Look: what a model says of some tasks, and where they lie for the ranking. One piece of bulk work.

A piece is a pure function of (project, version, tasks): whoever does it, and however often, the same comes out. So it
can be done here, or by a worker on another machine (`pieces.py`), and be written down by the one who asked.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from groundlook.core.codec import decode_region, encode_region
from groundlook.core.errors import InvalidInput
from groundlook.core.types import ModelVersion, Prediction, Project, Score, Task
from groundlook.loop.parts import UNSEEN, Loop, predict_tiles, read_tiles
from groundlook.loop.said import keep_embeddings, keep_said

NOTHING = np.zeros((0, 0), np.float32)


@dataclass(frozen=True, slots=True)
class Look:
    """`said`: by task id; `unreadable`: ids of those whose picture can't be read. `vectors`: float32 (K, D), of tasks
    `embedded` (K,)."""

    said: Mapping[int, Prediction] = field(default_factory=dict)
    unreadable: tuple[int, ...] = ()
    embedded: tuple[int, ...] = ()
    vectors: NDArray[np.float32] = field(default_factory=lambda: NOTHING)


def look(loop: Loop, project: Project, version: ModelVersion, tasks: Sequence[Task], fresh: Collection[int]) -> Look:
    """Predict `tasks`, and embed those in `fresh`."""
    by_id = {t.id: t for t in tasks}
    tiles, broken = read_tiles(loop, project, by_id)
    new = [t for t in tiles if t in fresh]
    vectors = loop.embedder.embed([tiles[t] for t in new]) if new else NOTHING
    return Look(predict_tiles(loop, project, version, tiles, by_id), tuple(broken), tuple(new), vectors)


def together(looks: Sequence[Look]) -> Look:
    """Several looks, at least one, as one; of a task that is in two of them the later counts."""
    vectors = [one.vectors for one in looks if one.embedded]
    return Look(
        {task: said for one in looks for task, said in one.said.items()},
        tuple(task for one in looks for task in one.unreadable),
        tuple(task for one in looks for task in one.embedded),
        np.concatenate(vectors) if vectors else NOTHING,
    )


def keep(loop: Loop, project: Project, version: ModelVersion, found: Look, temperature: float) -> None:
    """Write it down. The same look twice leaves what one leaves."""
    if found.embedded:
        keep_embeddings(loop.features, project.id, loop.embedder, found.embedded, found.vectors)
    rows = {task: (said, loop.score(said, temperature)) for task, said in found.said.items()}
    keep_said(loop.features, project, version, found.said)
    for task in found.unreadable:
        rows[task] = (Prediction(version, (), knows=False, size=UNSEEN), Score(None, {"unreadable": 1.0}))
    loop.store.put_predictions(project.id, version, rows)


_ARRAYS = ("proba", "spread", "masks")


def encode_look(found: Look) -> bytes:
    """As an .npz archive: what is no array stands in its "head", JSON in UTF-8."""
    arrays: dict[str, Any] = {"vectors": found.vectors}
    said: dict[str, Any] = {}
    for task, prediction in found.said.items():
        for name in _ARRAYS:
            if getattr(prediction, name) is not None:
                arrays[f"{name} {task}"] = getattr(prediction, name)
        said[str(task)] = {
            "version": str(prediction.version),
            "regions": [encode_region(region) for region in prediction.regions],
            "peak": float(prediction.peak),
            "knows": prediction.knows,
            "size": list(prediction.size),
            "kind": prediction.kind,
        }
    head = {"said": said, "unreadable": list(found.unreadable), "embedded": list(found.embedded)}
    arrays["head"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
    with io.BytesIO() as file:
        np.savez(file, **arrays)
        return file.getvalue()


def decode_look(body: bytes) -> Look:
    """The inverse of `encode_look`. Raises InvalidInput for what is none."""
    try:
        with np.load(io.BytesIO(body), allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in kept.files}
        head = json.loads(arrays["head"].tobytes())
    except (ValueError, KeyError, OSError, EOFError, AttributeError, BadZipFile) as error:
        raise InvalidInput(f"a piece of bulk work came back damaged ({error}); it has to be done again") from None
    said = {int(task): _prediction(int(task), body, arrays) for task, body in head["said"].items()}
    return Look(said, tuple(head["unreadable"]), tuple(head["embedded"]), arrays["vectors"])


def _prediction(task: int, body: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Prediction:
    plain = Prediction(
        ModelVersion.parse(body["version"]),
        tuple(decode_region(region) for region in body["regions"]),
        peak=body["peak"],
        knows=body["knows"],
        size=(body["size"][0], body["size"][1]),
        kind=body["kind"],
    )
    given: dict[str, Any] = {name: arrays[f"{name} {task}"] for name in _ARRAYS if f"{name} {task}" in arrays}
    return replace(plain, **given)
