"""Networks in ONNX Runtime, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from groundlook.core.errors import InvalidWeights
from groundlook.models.runtime.network import Runner

_ERRORS_ONLY = 3


@dataclass(frozen=True, slots=True)
class OnnxRunner:
    """A session; its `run` is thread-safe."""

    session: Any
    names: tuple[str, ...]

    def __call__(self, inputs: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
        found: Sequence[NDArray[Any]] = self.session.run(None, dict(zip(self.names, inputs, strict=True)))
        return found


def load(model: Path, threads: int | None) -> Runner:
    """The ONNX file `model` as a session."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    if threads:
        options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return OnnxRunner(session, tuple(one.name for one in session.get_inputs()))


def check_alone(model: Path) -> None:
    """Raises InvalidWeights where tensors of `model` lie in other files, which its hash says nothing of; what the
    parser raises where it is no ONNX file."""
    from onnx import ModelProto, TensorProto

    content = ModelProto()
    content.ParseFromString(model.read_bytes())
    waiting: list[Any] = [content]
    while waiting:
        message = waiting.pop()
        if isinstance(message, TensorProto):
            if message.data_location == TensorProto.EXTERNAL:
                raise InvalidWeights(f"its tensor {message.name[:60]!r} lies in another file: save it as one file")
            continue
        for about, value in message.ListFields():
            if about.message_type is not None:
                waiting.extend(value if isinstance(value, Sequence) else [value])
