"""The compiled loops of `rle`: bits in, bits out. Imported on first use only, because numba is slow to import.

The stream (thi.ng rle-pack): 32 bits count of values, 5 bits word size − 1, four times 4 bits size − 1; then tokens:
1 bit "repeated", 2 bits that pick one of the four sizes, that many bits length − 1, and one value of word size
(repeated) or `length` of them (not repeated). Most significant bit first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

OK, ENDS_EARLY, RUNS_OVER = 0, 1, 2


def _compiled(function: Callable[..., Any]) -> Any:
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # nowhere to keep the compiled code, such as in a read-only container
        return numba.njit(nogil=True)(function)


def _find_edges(flat: NDArray[np.uint8], words: NDArray[np.uint64], i: int, edges: NDArray[np.int64]) -> int:
    """Fill `edges` with the places from `i` > 0 on where a byte differs from the one before; return how many there
    are, `edges.size` where there may be more. `words`: the same bytes by eight, to skip long runs fast."""
    found, value = 0, flat[i - 1]
    while i < flat.size:
        if i & 7 == 0:
            same = np.uint64(value) * np.uint64(0x0101010101010101)
            word = i >> 3
            while word < words.size and words[word] == same:
                word += 1
            i = word << 3
        stop = min((i | 7) + 1, flat.size)
        while i < stop:
            if flat[i] != value:
                if found == edges.size:
                    return found
                edges[found], value = i, flat[i]
                found += 1
            i += 1
    return found


def _packed_bits(lengths: NDArray[np.int64]) -> int:
    bits = 53
    for n in lengths:
        if n <= 8:
            bits += 14
        elif n <= 16:
            bits += 15
        elif n <= 256:
            bits += 19
        else:
            bits += 27 * ((n + 65535) // 65536)
    return bits


def _pack(lengths: NDArray[np.int64], values: NDArray[np.uint8], total: int, out: NDArray[np.uint8]) -> None:
    for k in range(4):
        out[k] = (total >> (24 - 8 * k)) & 255
    at = 4
    held, count = (7 << 16) | (2 << 12) | (3 << 8) | (7 << 4) | 15, 21  # word size 8; lengths of 3, 4, 8, 16 bits
    for i in range(lengths.size):
        left, value = lengths[i], np.int64(values[i])
        long = left > 256
        while left > 0:
            if long:
                n = min(left, 65536)
                token, bits = (7 << 24) | ((n - 1) << 8) | value, 27
            elif left == 1:
                n, token, bits = left, value, 14
            elif left <= 8:
                n, token, bits = left, (4 << 11) | ((left - 1) << 8) | value, 14
            elif left <= 16:
                n, token, bits = left, (5 << 12) | ((left - 1) << 8) | value, 15
            else:
                n, token, bits = left, (6 << 16) | ((left - 1) << 8) | value, 19
            left -= n
            held = (held << bits) | token
            count += bits
            while count >= 8:
                count -= 8
                out[at] = (held >> count) & 255
                at += 1
            held &= (1 << count) - 1
    out[at] = (held << (8 - count)) & 255  # like the SDK: a whole zero byte where nothing is left over


def _bits(data: NDArray[np.uint8], at: int, count: int) -> int:
    """`count` (1…32) bits from bit `at`; the caller knows that they are there."""
    first, last = at >> 3, (at + count - 1) >> 3
    value = np.int64(0)
    for k in range(first, last + 1):
        value = (value << 8) | data[k]
    return int((value >> (((last + 1) << 3) - at - count)) & ((1 << count) - 1))


bits = _compiled(_bits)


def _unpack(data: NDArray[np.uint8], word: int, sizes: NDArray[np.int64], out: NDArray[np.uint8]) -> tuple[int, int]:
    end, at, i, total = data.size * 8, 53, 0, out.size
    while i < total:
        if at + 3 > end:
            return ENDS_EARLY, i
        repeated, size = bits(data, at, 1), sizes[bits(data, at + 1, 2)]
        at += 3
        if at + size + word > end:
            return ENDS_EARLY, i
        n = 1 + bits(data, at, size)
        at += size
        if i + n > total:
            return RUNS_OVER, i
        if repeated:
            out[i : i + n] = bits(data, at, word)
            at += word
        else:
            if at + n * word > end:
                return ENDS_EARLY, i
            for k in range(n):
                out[i + k] = bits(data, at, word)
                at += word
        i += n
    return OK, i


def _unpack_alpha(
    data: NDArray[np.uint8], sizes: NDArray[np.int64], total: int, threshold: int, runs: NDArray[np.int64]
) -> tuple[int, int, int]:
    """The alpha channel of RGBA as runs of pixels; `runs` is long enough. Value `i` is alpha where i % 4 is 3, so
    values [i, j) hold the alphas of the pixels [i // 4, j // 4)."""
    end, at, i, found = data.size * 8, 53, 0, 0
    while i < total:
        if at + 3 > end:
            return ENDS_EARLY, i, found
        repeated, size = bits(data, at, 1), sizes[bits(data, at + 1, 2)]
        at += 3
        if at + size + 8 > end:
            return ENDS_EARLY, i, found
        n = 1 + bits(data, at, size)
        at += size
        if i + n > total:
            return RUNS_OVER, i, found
        pieces, step = (1, n) if repeated else (n, 1)
        if at + pieces * 8 > end:
            return ENDS_EARLY, i, found
        for _ in range(pieces):
            first, last = i >> 2, (i + step) >> 2
            if last > first and bits(data, at, 8) >= threshold:
                if found and runs[found - 1, 1] == first:
                    runs[found - 1, 1] = last
                else:
                    runs[found, 0], runs[found, 1] = first, last
                    found += 1
            at += 8
            i += step
    return OK, i, found


find_edges = _compiled(_find_edges)
packed_bits = _compiled(_packed_bits)
pack = _compiled(_pack)
unpack = _compiled(_unpack)
unpack_alpha = _compiled(_unpack_alpha)
