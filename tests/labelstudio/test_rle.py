"""Brush masks: the SDK's bytes, and nothing that a stranger sends breaks the reader."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from label_studio_sdk.converter import brush

from groundlook.core.errors import InvalidInput
from groundlook.core.mask import Mask
from groundlook_adapters.labelstudio.rle import decode_mask, decode_rle, encode_mask, encode_rle, mask_of

sides = st.integers(1, 40)
pictures = hnp.arrays(np.bool_, st.tuples(sides, sides))


def by_sdk(pixels: np.ndarray[Any, Any]) -> list[int]:
    rle: list[int] = brush.mask2rle(pixels.astype(np.uint8) * 255)
    return rle


def rgba(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.repeat(pixels.reshape(-1).astype(np.uint8) * 255, 4)


@given(pictures)
def test_a_mask_is_written_as_the_sdk_does_and_comes_back(pixels: np.ndarray[Any, Any]) -> None:
    height, width = pixels.shape
    mask = Mask.of(pixels)
    rle = encode_mask(mask)
    assert rle == by_sdk(pixels)
    assert decode_mask(rle, width, height) == mask
    assert mask_of(pixels) == mask
    assert np.array_equal(decode_rle(rle), brush.decode_rle(rle))


def shapes() -> dict[str, np.ndarray[Any, Any]]:
    empty = np.zeros((300, 200), dtype=bool)
    full, dot, wrapped, stripes, first, last = ~empty, *(empty.copy() for _ in range(5))
    dot[150, 7] = True
    wrapped.reshape(-1)[150:1_000] = True
    stripes[:, ::2] = True
    first[0, 0] = last[-1, -1] = True
    rows, columns = np.mgrid[:300, :200]
    disc = (rows - 150) ** 2 + (columns - 100) ** 2 < 80**2
    ring = disc & ((rows - 150) ** 2 + (columns - 100) ** 2 > 40**2)
    long = np.zeros((300, 1_000), dtype=bool)
    long[50:250] = True  # runs of more than 65,536 values
    return {
        "empty": empty,
        "full": full,
        "dot": dot,
        "wrapped": wrapped,
        "stripes": stripes,
        "first": first,
        "last": last,
        "disc": disc,
        "ring": ring,
        "long": long,
        "noise": np.random.default_rng(0).random((300, 200)) < 0.3,
    }


@pytest.mark.parametrize("name", sorted(shapes()))
def test_masks_that_people_paint(name: str) -> None:
    pixels = shapes()[name]
    height, width = pixels.shape
    rle = encode_mask(Mask.of(pixels))
    assert rle == by_sdk(pixels)
    assert bytes(rle) == encode_rle(rgba(pixels))
    assert np.array_equal(decode_mask(rle, width, height).pixels(), pixels)
    assert mask_of(pixels) == mask_of(pixels.astype(np.uint8) * 255) == mask_of(pixels.astype(float)) == Mask.of(pixels)


@pytest.mark.parametrize("length", [1, 2, 8, 9, 16, 17, 256, 257, 65_535, 65_536, 65_537, 131_072, 131_073, 200_000])
@pytest.mark.parametrize("tail", [0, 1, 3])
def test_every_length_of_a_run_is_packed_like_the_sdk_does(length: int, tail: int) -> None:
    flat = np.concatenate([np.zeros(length, np.uint8), np.full(tail, 255, np.uint8)])
    rle = encode_rle(flat)
    assert list(rle) == brush.encode_rle(flat)
    assert np.array_equal(decode_rle(list(rle)), flat)


@given(hnp.arrays(np.uint8, st.integers(1, 300), elements=st.sampled_from([0, 1, 127, 128, 255])))
def test_any_bytes_are_packed_like_the_sdk_does(flat: np.ndarray[Any, Any]) -> None:
    rle = list(encode_rle(flat))
    assert rle == brush.encode_rle(flat)
    assert np.array_equal(decode_rle(rle), flat)


@given(hnp.arrays(np.uint8, st.tuples(sides, sides, st.just(4))))
def test_alpha_alone_says_what_is_inside(picture: np.ndarray[Any, Any]) -> None:
    height, width, _ = picture.shape
    mask = decode_mask(list(encode_rle(picture)), width, height)
    assert mask == Mask.of(picture[:, :, 3] >= 128)


@given(hnp.arrays(np.uint8, st.tuples(sides, sides, st.just(4)), elements=st.sampled_from([0, 90, 255])))
def test_what_the_editor_writes_is_read(picture: np.ndarray[Any, Any]) -> None:
    """The editor keeps values that differ together in one token; the SDK never writes such tokens."""
    rle = written_by_the_editor(picture.reshape(-1))
    height, width, _ = picture.shape
    assert np.array_equal(decode_rle(rle), picture.reshape(-1))
    assert decode_mask(rle, width, height) == Mask.of(picture[:, :, 3] >= 128)


def written_by_the_editor(flat: np.ndarray[Any, Any]) -> list[int]:
    """Runs of equal values as such, what lies between them as chunks; lengths of 2, 5, 9 and 14 bits."""
    sizes = (2, 5, 9, 14)
    bits = f"{flat.size:032b}{7:05b}" + "".join(f"{s - 1:04b}" for s in sizes)
    edges = [0, *(np.flatnonzero(flat[1:] != flat[:-1]) + 1), flat.size]
    chunk: list[int] = []

    def token(repeated: int, length: int) -> str:
        pick = next(k for k, s in enumerate(sizes) if length <= 2**s)
        return f"{repeated}{pick:02b}{length - 1:0{sizes[pick]}b}"

    for start, end in pairwise(edges):
        if end - start == 1:
            chunk.append(int(flat[start]))
            continue
        if chunk:
            bits += token(0, len(chunk)) + "".join(f"{v:08b}" for v in chunk)
            chunk = []
        bits += token(1, end - start) + f"{flat[start]:08b}"
    if chunk:
        bits += token(0, len(chunk)) + "".join(f"{v:08b}" for v in chunk)
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


@given(st.binary(max_size=400), st.integers(1_000, 2_000), st.integers(1_000, 2_000))
def test_garbage_is_refused(data: bytes, width: int, height: int) -> None:
    with pytest.raises(InvalidInput, match="brush rle"):
        decode_mask(list(data), width, height)


@given(
    st.binary(max_size=200),
    st.integers(1, 60),
    st.integers(1, 60),
    st.lists(st.integers(0, 15), min_size=4, max_size=4),
)
def test_garbage_under_a_good_header_is_read_or_refused(data: bytes, width: int, height: int, sizes: list[int]) -> None:
    bits = f"{width * height * 4:032b}{7:05b}" + "".join(f"{s:04b}" for s in sizes) + "000"
    rle = [*int(bits, 2).to_bytes(7, "big"), *data]
    mask = read(rle, width, height)
    if mask is not None:
        flat = decode_rle(rle)
        assert mask == Mask.of(flat.reshape(height, width, 4)[:, :, 3] >= 128)


@given(pictures, st.data())
def test_a_flipped_or_cut_stream_never_crashes(pixels: np.ndarray[Any, Any], data: st.DataObject) -> None:
    rle = encode_mask(Mask.of(pixels))
    at = data.draw(st.integers(0, len(rle) - 1))
    rle[at] ^= data.draw(st.integers(1, 255))
    height, width = pixels.shape
    for broken in (rle, rle[:at]):
        mask = read(broken, width, height)
        assert mask is None or mask.pixels().shape == (height, width)


def read(rle: list[int], width: int, height: int) -> Mask | None:
    """The mask, or None where it is refused in so many words."""
    try:
        return decode_mask(rle, width, height)
    except InvalidInput as error:
        if "brush rle" not in str(error):
            raise
        return None


GOOD = encode_mask(Mask.of(np.eye(8, dtype=bool)))


@pytest.mark.parametrize(
    ("rle", "width", "height", "says"),
    [
        (GOOD, 8, 9, "256 values: 8 × 9 px have 288"),
        (GOOD[:-6], 8, 8, "ends early: after"),
        (GOOD[:5], 8, 8, "of 5 bytes"),
        ([], 8, 8, "of 0 bytes"),
        (10**12, 8, 8, "not a list of numbers"),
        ("abc", 8, 8, "not a list of numbers"),
        ({"counts": "x"}, 8, 8, "not a list of numbers"),
        (None, 8, 8, "not a list of numbers"),
        ([*GOOD[:20], 256], 8, 8, "not a list of numbers"),
        ([*GOOD[:20], -1], 8, 8, "not a list of numbers"),
        ([*GOOD[:20], "7"], 8, 8, "not a list of numbers"),
        (GOOD, 0, 8, "a brush mask of 0 × 8"),
        (GOOD, 2**15, 2**15, "268435456 pixels can"),
        ([0, 0, 1, 0, 15 << 3, *GOOD[5:]], 8, 8, "of 16 bits a value"),
    ],
)
def test_what_is_wrong_is_said(rle: Any, width: int, height: int, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        decode_mask(rle, width, height)


def test_a_small_stream_cannot_ask_for_much_memory() -> None:
    header = int(f"{2**30:032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}000", 2).to_bytes(7, "big")
    with pytest.raises(InvalidInput, match="announces 1073741824 values in 9 bytes"):
        decode_rle([*header, 0, 0])


@pytest.mark.parametrize("runs", [[[5, 3]], [[0, 4], [3, 6]], [[60, 70]], [[-2, 3]], [[3, 3]]])
def test_runs_that_no_mask_has_are_not_written(runs: list[list[int]]) -> None:
    with pytest.raises(InvalidInput, match="runs out of order or beyond"):
        encode_mask(Mask(8, 8, np.array(runs, dtype=np.int64)))


def test_nothing_cannot_be_packed() -> None:
    with pytest.raises(InvalidInput, match="0 values"):
        encode_rle(np.zeros(0, dtype=np.uint8))
