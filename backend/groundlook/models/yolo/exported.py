"""A network that ultralytics exported to ONNX: what it sees, does and is called stands in the file."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput, InvalidWeights
from groundlook.models.yolo.built import padded
from groundlook.models.yolo.candidates import LOWEST, Candidates, Floats, Protos
from groundlook.models.yolo.labelling import Labelling
from groundlook.models.yolo.network import Kind
from groundlook.models.yolo.raw import Head

_LONGEST = 1 << 20
_LARGEST = 4096
_REMEDY = "export it again with ultralytics' `format='onnx'`"


@dataclass(frozen=True, slots=True)
class Exported:
    """`run`: float32 (1, 3, H, W), 0…1 → outputs. `fixed`: the (width, height) it takes, None for any multiple of the
    stride. `best`: it answers with its best boxes already, one class each. `points`: names of keypoints, if any."""

    head: Head
    run: Any
    names: tuple[str, ...]
    points: tuple[str, ...]
    fixed: tuple[int, int] | None
    best: bool
    runtime: str = "onnxruntime f32"
    apart: bool = True

    def candidates(self, pictures: Sequence[NDArray[np.uint8]], labelling: Labelling) -> list[Candidates]:
        """See `Built.candidates`; the spread of an exported network's boxes is not known."""
        return [self._seen(picture, labelling) for picture in pictures]

    def classes(self, picture: NDArray[np.uint8]) -> Floats:
        """See `Built.classes`."""
        found: Floats = self._said(picture[None])[0].reshape(-1)
        if len(found) != len(self.names):
            raise InvalidWeights(f"the exported network gives {len(found)} classes, and names {len(self.names)}")
        return found

    def _seen(self, picture: NDArray[np.uint8], labelling: Labelling) -> Candidates:
        batch = _canvas(picture, self.fixed) if self.fixed else padded([picture], self.head.strides[-1])
        said = self._said(batch)
        rows = _numbers(said[0], 3)
        boxes, scores, extra = _of_best(rows, self.head) if self.best else _of_all(rows, self.head)
        scores = np.maximum(labelling.by_label(scores.T).T, 0)
        best = scores.max(axis=0, initial=0)
        places = np.flatnonzero(best > LOWEST)
        protos: tuple[Protos, ...] = ()
        if self.head.kind == "segment":
            protos = (_protos(said[1], extra.shape[1], batch.shape[1:3]),)
        kept = extra[places]
        if self.head.kind == "pose":
            kept = _keypoints(kept, self.head.keypoints)
        proba = np.ascontiguousarray(scores[:, places].T)
        window = np.zeros(len(places), np.intp)
        return Candidates(boxes[places], proba, kept, None, float(best.max(initial=0)), protos, window)

    def _said(self, batch: NDArray[np.uint8]) -> Sequence[NDArray[Any]]:
        given = np.ascontiguousarray(batch.transpose(0, 3, 1, 2), np.float32) / np.float32(255)
        try:
            said: Sequence[NDArray[Any]] = self.run([given])
        except Exception as error:  # a file made by anybody may fail in any way
            raise InvalidWeights(f"the exported network can't be run ({_first(error)}): {_REMEDY}") from error
        if not all(isinstance(part, np.ndarray) and part.dtype.kind in "fiu" for part in said):
            raise InvalidWeights(f"the exported network answers with what are no arrays of numbers: {_REMEDY}")
        if not all(np.isfinite(part).all() for part in said):
            raise InvalidWeights("the exported network answers with NaN: its weights are broken, export it again")
        return said


def opened(path: Path) -> Exported:
    """The .onnx file at `path`, on the CPU. Raises InvalidWeights where it is no whole export of ultralytics',
    InvalidInput where ONNX Runtime is not installed."""
    if not path.is_file():
        raise InvalidWeights(f"weights {path} don't exist: give the path of an .onnx, .safetensors or .pt file")
    try:
        from groundlook.models.runtime.inside_onnxruntime import check_alone, load

        check_alone(path)

        runner: Any = load(path, None)
    except ImportError as error:
        raise InvalidInput("an exported network needs ONNX Runtime: pip install 'groundlook[fast]'") from error
    except Exception as error:
        raise InvalidWeights(f"weights {path} are no whole ONNX file ({_first(error)}): {_REMEDY}") from error
    session = runner.session
    about = session.get_modelmeta().custom_metadata_map
    names, kind = _names(about.get("names", ""), path), _kind(about.get("task", ""), path)
    given, said = session.get_inputs(), session.get_outputs()
    if len(given) != 1 or given[0].type != "tensor(float)" or len(given[0].shape) != 4:
        raise InvalidWeights(f"weights {path} take no float32 picture (1, 3, H, W): {_REMEDY}, without half=True")
    if not said or not all(one.type.startswith("tensor(") and one.shape for one in said):
        raise InvalidWeights(f"weights {path} give {[one.type for one in said]}, not arrays: {_REMEDY}")
    shape, count = given[0].shape, len(said)
    if shape[1] != 3 or count != (2 if kind == "segment" else 1):
        raise InvalidWeights(f"weights {path} take {shape[1]} bands and give {count} outputs: {_REMEDY}, of 3 bands")
    if isinstance(shape[0], int) and shape[0] != 1:
        raise InvalidWeights(f"weights {path} take {shape[0]} pictures at once: {_REMEDY} and batch=1")
    stride = _number(about.get("stride"), path, "stride") if kind != "classify" else 1
    points = _shape(about.get("kpt_shape", ""), path) if kind == "pose" else (0, 0)
    head = Head(kind, len(names), (stride,), 0, points)
    best = said[0].shape[-1] == 6 + _extra(head) and (
        _literal(about.get("end2end", "False")) is True or "'nms': True" in about.get("args", "")
    )
    return Exported(head, runner, names, _point_names(about.get("kpt_names", ""), points[0]), _fixed(shape, path), best)


def _numbers(part: NDArray[Any], axes: int) -> Floats:
    """(1, …) of `axes` axes → float32 (…)."""
    if part.ndim != axes or part.shape[0] != 1:
        raise InvalidWeights(f"the exported network gives {part.shape}, not {axes} axes from 1 on: {_REMEDY}")
    found: Floats = part[0].astype(np.float32, copy=False)
    return found


def _protos(part: NDArray[Any], count: int, seen: tuple[int, ...]) -> Protos:
    """`seen`: (height, width) px of what the network saw."""
    values = _numbers(part, 4)
    number, high, wide = values.shape
    if number != count or not high or not wide or seen[0] * wide != seen[1] * high:
        raise InvalidWeights(f"the exported network gives {values.shape} for {count} mask coefficients: {_REMEDY}")
    return Protos(values, seen[1] / wide)


def _of_all(rows: Floats, head: Head) -> tuple[Floats, Floats, Floats]:
    """(4 + C + E, A) → boxes (A, 4) centre x, y, width, height; scores (C, A); extra (A, E)."""
    least = 4 + head.classes
    wanted = max(rows.shape[0], least) if head.kind == "segment" else least + _extra(head)
    if rows.shape[0] != wanted:
        raise InvalidWeights(f"the exported network gives {rows.shape}, not {wanted} numbers an anchor: {_REMEDY}")
    return rows[:4].T, rows[4 : 4 + head.classes], rows[4 + head.classes :].T


def _of_best(rows: Floats, head: Head) -> tuple[Floats, Floats, Floats]:
    """(B, 6 + E): x0, y0, x1, y1 (centre x, y, width, height of turned boxes), confidence, class, extra."""
    if rows.shape[1] != 6 + _extra(head):
        raise InvalidWeights(
            f"the exported network gives {rows.shape}, not {6 + _extra(head)} numbers a box: {_REMEDY}"
        )
    boxes = rows[:, :4]
    if head.kind != "obb":
        boxes = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1)
    scores = np.zeros((head.classes, len(rows)), np.float32)
    label = np.clip(rows[:, 5], 0, head.classes - 1).astype(np.intp)
    scores[label, np.arange(len(rows))] = rows[:, 4]
    return boxes, scores, rows[:, 6:]


def _extra(head: Head) -> int:
    return {"obb": 1, "pose": head.keypoints[0] * head.keypoints[1], "segment": 32}.get(head.kind, 0)


def _keypoints(values: Floats, shape: tuple[int, int]) -> Floats:
    """(M, K · D) → (M, 3 K), visible where the network does not say."""
    found = np.ones((len(values), shape[0], 3), np.float32)
    found[:, :, : shape[1]] = values.reshape(-1, *shape)
    return found.reshape(-1, 3 * shape[0])


def _canvas(picture: NDArray[np.uint8], fixed: tuple[int, int]) -> NDArray[np.uint8]:
    width, height = fixed
    canvas = padded([picture], 1)
    missing = ((0, 0), (0, height - canvas.shape[1]), (0, width - canvas.shape[2]), (0, 0))
    return np.pad(canvas, missing, constant_values=114)


def _fixed(shape: Sequence[Any], path: Path) -> tuple[int, int] | None:
    height, width = shape[2:]
    if not (isinstance(height, int) and isinstance(width, int)):
        return None
    if width != height or not 32 <= width <= _LARGEST:
        raise InvalidWeights(f"weights {path} take {width} × {height} px: {_REMEDY} and a square imgsz ≤ {_LARGEST}")
    return width, height


def _literal(text: str) -> object:
    """A Python literal, read as data; None for what is none."""
    if len(text) > _LONGEST:
        return None
    try:
        found: object = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return found


def _names(text: str, path: Path) -> tuple[str, ...]:
    found = _literal(text)
    if not isinstance(found, Mapping) or not found or set(found) != set(range(len(found))):
        raise InvalidWeights(f"weights {path} don't name their classes: {_REMEDY}")
    return tuple(str(found[i]) for i in range(len(found)))


def _kind(text: str, path: Path) -> Kind:
    kinds: dict[str, Kind] = {kind: kind for kind in get_args(Kind)}
    if text not in kinds:
        raise InvalidWeights(f"weights {path} are for {text!r}, not one of {', '.join(kinds)}: {_REMEDY}")
    return kinds[text]


def _number(text: str | None, path: Path, name: str) -> int:
    found = _literal(text or "")
    if not isinstance(found, int) or not 1 <= found <= 1024:
        raise InvalidWeights(f"weights {path} have {name} {text!r}: {_REMEDY}")
    return found


def _shape(text: str, path: Path) -> tuple[int, int]:
    found = _literal(text)
    if isinstance(found, list | tuple) and len(found) == 2 and all(isinstance(n, int) for n in found):
        count, each = found
        if count >= 1 and each in (2, 3):
            return count, each
    raise InvalidWeights(f"weights {path} have keypoints of {text!r}: {_REMEDY}")


def _point_names(text: str, count: int) -> tuple[str, ...]:
    """Of every class the same: those of the first."""
    found = _literal(text)
    first = next(iter(found.values()), ()) if isinstance(found, Mapping) else ()
    return tuple(str(n) for n in first) if isinstance(first, list | tuple) and len(first) == count else ()


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
