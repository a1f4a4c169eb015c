"""Signed tile URLs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundlook.core.errors import InvalidInput
from groundlook_adapters.rasters.signing import sign, tile_path, verify

KEY = b"0123456789abcdef"
side = st.integers(0, 10**6)
windows = st.tuples(side, side, side, side)


@given(windows, st.sampled_from(["jpg", "png"]))
def test_a_signature_is_good_for_exactly_one_picture(window: tuple[int, int, int, int], fmt: str) -> None:
    signature = sign(KEY, "abc", window, fmt)
    assert len(signature) == 43
    assert verify(KEY, "abc", window, fmt, signature)
    assert not verify(KEY[::-1], "abc", window, fmt, signature)
    assert not verify(KEY, "abd", window, fmt, signature)
    assert not verify(KEY, "abc", window, "webp", signature)
    for i in range(4):
        other = [*window]
        other[i] += 1
        assert not verify(KEY, "abc", (other[0], other[1], other[2], other[3]), fmt, signature)


@given(st.text())
def test_what_we_did_not_sign_is_refused(signature: str) -> None:
    assert not verify(KEY, "abc", (0, 0, 1, 1), "jpg", signature)


def test_the_path_and_weak_keys() -> None:
    path = tile_path(KEY, "abc", (1, 2, 3, 4))
    assert path == f"/tiles/abc/1_2_3_4.jpg?sig={sign(KEY, 'abc', (1, 2, 3, 4), 'jpg')}"
    with pytest.raises(InvalidInput, match="5 bytes"):
        sign(b"short", "abc", (0, 0, 1, 1), "jpg")
