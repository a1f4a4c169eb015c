"""What a network in an ONNX file says on the way: its inner maps as outputs, in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput, InvalidWeights
from groundlook.models.runtime.inside_onnxruntime import check_alone

_ERRORS_ONLY = 3
_LEAST_STRIDE = 4


@dataclass(frozen=True, slots=True)
class Tapped:
    """A session whose outputs are maps; thread-safe. `size`: (height, width) of the input, None where any will do."""

    session: Any
    name: str
    maps: tuple[str, ...]
    size: tuple[int, int] | None

    def __call__(self, picture: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
        """`picture`: float32 (3, H, W) → float32 (1, C, h, w) of each map."""
        found: Sequence[NDArray[np.float32]] = self.session.run(list(self.maps), {self.name: picture[None]})
        return found


def tapped(model: Path, known: Sequence[str], example: tuple[int, int], threads: int | None = None) -> Tapped:
    """The network at `model` with the maps `known` as outputs where it has all of them; else the one map that is the
    coarsest, of these the one with the most channels, of these the last. A map is what has a whole fraction of the
    input's height and width. `example`: (height, width) that shapes are worked out for where the file leaves them open.

    Raises InvalidWeights for a file that is missing, no ONNX, not alone or without a map; InvalidInput where the
    packages are missing.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError:
        raise InvalidInput("ONNX needs onnx and onnxruntime: pip install groundlook[fast]") from None
    if not model.is_file():
        raise InvalidWeights(f"weights {model} don't exist: give the path of an ONNX file")
    try:
        check_alone(model)
        content = onnx.load(str(model), load_external_data=False)
        name, size = _input(content, model)
        shapes = _shapes(content, name, size or example)
    except InvalidWeights:
        raise
    except Exception as error:  # whatever the parser raises for bytes that are something else
        raise InvalidWeights(f"weights {model} are no ONNX network that can be read ({error})") from None
    maps = tuple(known) if known and set(known) <= shapes.keys() else (_coarsest(shapes, size or example, model),)
    # What no map needs is not computed.
    del content.graph.output[:]
    content.graph.output.extend(onnx.helper.make_tensor_value_info(m, onnx.TensorProto.FLOAT, None) for m in maps)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    if threads:
        options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(content.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise InvalidWeights(f"weights {model} don't run in ONNX Runtime ({str(error)[:200]})") from None
    return Tapped(session, name, maps, size)


def _input(content: Any, model: Path) -> tuple[str, tuple[int, int] | None]:
    weights = {one.name for one in content.graph.initializer}
    inputs = [one for one in content.graph.input if one.name not in weights]
    sides = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim] if inputs else []
    if len(inputs) != 1 or len(sides) != 4 or sides[1] != 3:
        raise InvalidWeights(f"weights {model}: a backbone takes one input of shape (N, 3, height, width)")
    return inputs[0].name, (sides[2], sides[3]) if sides[2] and sides[3] else None


def _shapes(content: Any, name: str, size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """Of every float tensor in the network, in the order in which they are computed."""
    import onnx

    whole = onnx.ModelProto()
    whole.CopyFrom(content)
    for one in whole.graph.input:
        if one.name == name:
            for dimension, value in zip(one.type.tensor_type.shape.dim, (1, 3, *size), strict=True):
                dimension.dim_value = value
    found = onnx.shape_inference.infer_shapes(whole).graph
    known: dict[str, tuple[int, ...]] = {}
    for one in (*found.value_info, *found.output):
        kind = one.type.tensor_type
        if kind.elem_type == onnx.TensorProto.FLOAT:
            known[one.name] = tuple(int(d.dim_value) for d in kind.shape.dim)
    order = [output for node in content.graph.node for output in node.output]
    return {output: known[output] for output in order if output in known}


def _coarsest(shapes: Mapping[str, tuple[int, ...]], size: tuple[int, int], model: Path) -> str:
    best: tuple[int, int] | None = None
    name = ""
    for output, shape in shapes.items():
        if len(shape) != 4 or 0 in shape or min(shape[2:]) < 2 or size[0] % shape[2] or size[1] % shape[3]:
            continue
        stride = size[0] // shape[2]
        if stride != size[1] // shape[3] or stride < _LEAST_STRIDE:
            continue
        if best is None or (stride, shape[1]) >= best:
            best, name = (stride, shape[1]), output
    if not name:
        raise InvalidWeights(f"weights {model} have no inner map of (channels, height, width): it is no backbone")
    return name
