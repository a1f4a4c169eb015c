"""An image encoder that somebody brings as an ONNX file, to go with SAM's decoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidWeights
from groundlook.models.runtime.network import Arrays, Runner, T
from groundlook.models.sam.architectures import Architecture
from groundlook.models.weights.file import check


@dataclass(frozen=True, slots=True)
class GivenEncoder:
    """A `Compiled` of the file itself. `error` is not a number: there is nothing to compare it with."""

    runner: Runner
    runtime: str = "onnxruntime, as it was given"
    error: float = float("nan")

    def __call__(self, *inputs: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
        return tuple(np.asarray(value, np.float32) for value in self.runner(inputs))

    def each(self, items: Sequence[Sequence[NDArray[Any]]], use: Callable[[Arrays], T]) -> list[T]:
        """See `Compiled.each`: one after the other."""
        return [use(self(*inputs)) for inputs in items]


def path_of(options: Mapping[str, Any]) -> Path:
    """The file that a plan's model names. Raises InvalidWeights where there is none, or another than its sha256."""
    named = str(options.get("encoder", ""))
    path = Path(named).expanduser()
    if not named or not path.is_file():
        raise InvalidWeights(f"the image encoder {named or '(none)'} is missing: name an ONNX file as option `encoder`")
    if expected := str(options.get("encoder_sha256", "")):
        check(path, expected)
    return path


def load(path: Path, arch: Architecture) -> GivenEncoder:
    """The encoder at `path`: float32 (1, 3, S, S), normalised and padded as SAM's, → (1, C, h, w) of `arch`.

    ONNX holds no code. It runs in ONNX Runtime on the CPU, float32, as it is. Raises InvalidWeights for a file that
    does not load, keeps tensors in other files, or does not answer in that shape.
    """
    from groundlook.models.runtime.inside_onnxruntime import check_alone
    from groundlook.models.runtime.inside_onnxruntime import load as load_onnxruntime

    wanted = (1, arch.channels, arch.cells, arch.cells)
    try:
        check_alone(path)
        encoder = GivenEncoder(load_onnxruntime(path, None))
        found = encoder(np.zeros((1, 3, arch.size, arch.size), np.float32))
    except ImportError as error:
        raise InvalidWeights(f"image encoder {path} needs onnxruntime and onnx: install the extra `fast`") from error
    except Exception as error:  # ONNX Runtime has a class of its own for everything
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise InvalidWeights(f"image encoder {path} can't be used: {said}") from error
    shapes = [value.shape for value in found]
    if shapes != [wanted] or not np.isfinite(found[0]).all():
        raise InvalidWeights(f"image encoder {path} answers with {shapes}; SAM's decoder takes one of {wanted}, finite")
    return encoder
