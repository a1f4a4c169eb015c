"""Label Studio's brush masks: run lengths of RGBA in thi.ng's rle-pack, as label-studio-sdk's `converter.brush` and
the editor write them. A mask stays runs on the way in and out; the four channels are never laid out.

The alpha channel alone counts: the editor writes soft edges, and a pixel is inside where its alpha is 128 or more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.mask import Mask

INSIDE = 128
"""Alpha from which a pixel is inside."""
MAX_PIXELS = 2**28
"""The largest mask that is read or written, in pixels."""
_HEADER_BYTES = 7


def encode_mask(mask: Mask) -> list[int]:
    """A mask as `value.rle` of a brush region: 0 outside, 255 inside, in all four channels. The same bytes as the
    SDK's `mask2rle` of the same mask. Raises InvalidInput where its runs are not those of its pixels."""
    pixels = _checked_size(mask.width, mask.height)
    edges = np.concatenate([[0], np.asarray(mask.runs, dtype=np.int64).reshape(-1), [pixels]])
    every = np.diff(edges)
    first, last = int(every[0] == 0), len(every) - int(every[-1] == 0)
    lengths = every[first:last]
    values = np.where(np.arange(first, last) % 2, 255, 0).astype(np.uint8)
    if lengths.min() <= 0:
        raise InvalidInput(f"a mask of {mask.width} × {mask.height} px has runs out of order or beyond its edge")
    return list(_packed(lengths * 4, values, pixels * 4))


def decode_mask(rle: Sequence[int] | NDArray[Any], width: int, height: int) -> Mask:
    """Inverse of `encode_mask`, for what the SDK and the editor write too. `width`, `height`: px of the image that was
    painted. Raises InvalidInput that says what is wrong with it."""
    from groundlook_adapters.labelstudio.rle_kernels import unpack_alpha  # numba is slow to import

    pixels = _checked_size(width, height)
    data = _bytes(rle)
    header = _header(data)
    if header.count != pixels * 4:
        raise InvalidInput(f"brush rle of {header.count} values: {width} × {height} px have {pixels * 4} (RGBA)")
    if header.word != 8:
        raise InvalidInput(f"brush rle of {header.word} bits a value; Label Studio writes 8")
    # A run and the gap after it take 24 bits at least.
    runs = np.empty((min(data.size * 8 // 24, pixels // 2) + 2, 2), dtype=np.int64)
    status, at, found = unpack_alpha(data, header.sizes, header.count, INSIDE, runs)
    _check(status, at, header.count)
    return Mask(width, height, runs[:found].copy())


def mask_of(pixels: NDArray[Any]) -> Mask:
    """What `Mask.of` gives of an array (H, W), several times as fast on large ones."""
    height, width = pixels.shape
    _checked_size(width, height)
    flat = pixels if pixels.dtype in (np.bool_, np.uint8) else pixels != 0
    lengths, values = _runs(flat.reshape(-1).view(np.uint8))
    ends = np.cumsum(lengths)
    inside = np.concatenate([[False], values != 0, [False]])
    edges = np.concatenate([[0], ends])[inside[1:] != inside[:-1]]
    return Mask(width, height, edges.reshape(-1, 2))


def encode_rle(flat: NDArray[np.uint8]) -> bytes:
    """Uint8 (N,) → rle, the same bytes as the SDK's `encode_rle`. Raises InvalidInput on an empty array."""
    array = np.asarray(flat, dtype=np.uint8).reshape(-1)
    if not 0 < array.size <= MAX_PIXELS * 4:
        raise InvalidInput(f"{array.size} values can't be packed; 1 to {MAX_PIXELS * 4} can")
    return _packed(*_runs(array), array.size)


def decode_rle(data: Sequence[int] | NDArray[Any]) -> NDArray[np.uint8]:
    """Rle → uint8 (N,), what the SDK's `decode_rle` gives. Raises InvalidInput that says what is wrong with it."""
    from groundlook_adapters.labelstudio.rle_kernels import unpack  # numba is slow to import

    source = _bytes(data)
    header = _header(source)
    # A token takes 12 bits at least and stands for 65536 values at most.
    if header.count > min(MAX_PIXELS * 4, source.size * 8 // 12 * 65536):
        raise InvalidInput(f"brush rle announces {header.count} values in {source.size} bytes; it is broken")
    if header.word > 8:
        raise InvalidInput(f"brush rle of {header.word} bits a value; Label Studio writes 8")
    out = np.empty(header.count, dtype=np.uint8)
    status, at = unpack(source, header.word, header.sizes, out)
    _check(status, at, header.count)
    return out


@dataclass(frozen=True, slots=True)
class _Header:
    """`count` values of `word` bits each; `sizes`: int64 (4,), bits of a length."""

    count: int
    word: int
    sizes: NDArray[np.int64]


def _header(data: NDArray[np.uint8]) -> _Header:
    if data.size < _HEADER_BYTES:
        raise InvalidInput(f"brush rle of {data.size} bytes; its header alone has {_HEADER_BYTES}")
    bits = int.from_bytes(data[:_HEADER_BYTES].tobytes(), "big") >> 3
    sizes = np.array([(bits >> shift & 15) + 1 for shift in (12, 8, 4, 0)], dtype=np.int64)
    return _Header(bits >> 21, (bits >> 16 & 31) + 1, sizes)


def _bytes(rle: Any) -> NDArray[np.uint8]:
    if isinstance(rle, list | tuple | bytes | bytearray | np.ndarray):  # bytes(n) of a number would be n zeros
        try:
            return np.frombuffer(bytes(rle.tolist() if isinstance(rle, np.ndarray) else rle), dtype=np.uint8)
        except (TypeError, ValueError):
            pass
    raise InvalidInput("brush rle is not a list of numbers 0…255")


def _runs(flat: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Lengths and values of the runs of equal bytes in (N,), N > 0."""
    from groundlook_adapters.labelstudio.rle_kernels import find_edges  # numba is slow to import

    array = np.require(flat, requirements=["C", "A"])
    words = array[: array.size // 8 * 8].view(np.uint64)
    starts: list[NDArray[np.int64]] = [np.zeros(1, dtype=np.int64)]
    room = 4096
    while True:
        edges = np.empty(room, dtype=np.int64)
        found = find_edges(array, words, int(starts[-1][-1]) + 1, edges)
        if found:
            starts.append(edges[:found])
        if found < room:
            break
        room *= 4
    firsts = np.concatenate(starts)
    return np.diff(firsts, append=array.size), array[firsts]


def _packed(lengths: NDArray[np.int64], values: NDArray[np.uint8], total: int) -> bytes:
    from groundlook_adapters.labelstudio.rle_kernels import pack, packed_bits

    out = np.empty(packed_bits(lengths) // 8 + 1, dtype=np.uint8)
    pack(lengths, values, total, out)
    return out.tobytes()


def _check(status: int, at: int, count: int) -> None:
    if status != 0:
        how = "ends early" if status == 1 else "runs over its end"
        raise InvalidInput(f"brush rle {how}: after {at} of {count} values")


def _checked_size(width: int, height: int) -> int:
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise InvalidInput(f"a brush mask of {width} × {height} px can't be; 1 to {MAX_PIXELS} pixels can")
    return width * height
