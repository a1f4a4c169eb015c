"""Arrays by name ↔ bytes. No pickle: a header that says names and shapes, then the numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput

_LENGTH = 4
_ALIGN = 64
_DTYPE = np.dtype("<f2")


def pack(arrays: Mapping[str, NDArray[np.float16]]) -> bytes:
    """Header length (uint32), JSON {name: shape} padded with blanks so that the numbers start at a multiple of 64, then
    each array as little-endian float16 in C order. Raises InvalidInput for any other dtype."""
    for name, array in arrays.items():
        if array.dtype != np.float16:
            raise InvalidInput(f"encoding {name!r} is {array.dtype}; only float16 is kept: convert it")
    header = json.dumps({name: list(array.shape) for name, array in arrays.items()}).encode()
    header += b" " * (-(len(header) + _LENGTH) % _ALIGN)
    bodies = (np.asarray(array, dtype=_DTYPE).tobytes() for array in arrays.values())
    return b"".join((len(header).to_bytes(_LENGTH, "little"), header, *bodies))


def unpack(data: bytes) -> dict[str, NDArray[np.float16]]:
    """Inverse of `pack`: views of `data`, which nobody can write to. Raises ValueError for anything else."""
    at = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
    shapes = json.loads(data[_LENGTH:at])
    if not isinstance(shapes, dict):
        raise ValueError("a header without names")
    found: dict[str, NDArray[np.float16]] = {}
    for name, shape in shapes.items():
        size = _DTYPE.itemsize * math.prod(shape)
        body = data if size else bytes(1)
        found[name] = np.ndarray(tuple(shape), _DTYPE, body, at if size else 0)
        at += size
    if at != len(data):
        raise ValueError(f"{len(data)} bytes, but the header says {at}")
    return found
