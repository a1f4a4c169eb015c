"""Everything in a picture that looks like one object; and pieces of different views put together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

pytest.importorskip("torch")
pytest.importorskip("segment_anything")

from groundlook.core.geo import Tile
from groundlook.core.mask import Mask
from groundlook.core.prompts import Cut
from groundlook.models.sam.calibrate import overlap
from groundlook.models.sam.pictures import picture_of
from groundlook.models.sam.pieces import Piece, distinct, joined
from groundlook.models.sam.propose import views_of
from tests.weights.house import Memory, held_out, one_thread, picture, tiny
from tests.weights.scenery import blocks


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with one_thread():
        yield


def quiet(_: float, __: str) -> None:
    pass


def test_objects_are_proposed_once_best_first(tmp_path: Path) -> None:
    segmenter = tiny(tmp_path, points=12, predicted_iou=0.6, stability=0.7)
    scene = held_out()[-1]
    said: list[float] = []
    cuts = segmenter.propose(picture(scene), lambda done, _: said.append(done))
    assert said == sorted(said)
    assert said[-1] == 1
    assert [c.score for c in cuts] == sorted((c.score for c in cuts), reverse=True)
    for i, cut in enumerate(cuts):
        assert all(overlap(cut.mask, other.mask) < 0.7 for other in cuts[:i])
    wanted = [Mask.of(m) for m in scene.masks(400)]
    found = [max((overlap(c.mask, m) for c in cuts), default=0) > 0.6 for m in wanted]
    assert np.mean(found) > 0.6, found


def test_a_large_picture_is_looked_at_in_windows(tmp_path: Path) -> None:
    memory = Memory()
    segmenter = tiny(tmp_path, memory, points=4, predicted_iou=0.5, stability=0.5)
    view = picture_of(Tile(blocks(448, np.random.default_rng(3)).pixels))
    windows = views_of(view, segmenter.sees)
    assert [(v.x, v.y, v.picture.size) for v in windows] == [
        (0, 0, (256, 256)),
        (192, 0, (256, 256)),
        (0, 192, (256, 256)),
        (192, 192, (256, 256)),
        (0, 0, (448, 448)),
    ]
    cuts = segmenter.propose(view, quiet)
    assert all((c.mask.width, c.mask.height) == (448, 448) for c in cuts)
    assert (memory.made, memory.bulk) == (5, 5)


def test_progress_can_stop_it(tmp_path: Path) -> None:
    def stop(done: float, _: str) -> None:
        if done > 0.2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny(tmp_path).propose(picture(held_out()[0]), stop)


Pixels = NDArray[np.bool_]
SCENE = (13, 9)  # width, height


def _piece(pixels: Pixels, x: int, y: int, score: float = 0.5) -> Piece:
    height, width = pixels.shape
    return Piece.of(Cut(Mask.of(pixels), score), x, y, (width, height), SCENE)


@given(hnp.arrays(bool, (9, 13)))
def test_a_piece_of_the_whole_is_the_mask(pixels: Pixels) -> None:
    if pixels.any():
        assert _piece(pixels, 0, 0).mask(*SCENE) == Mask.of(pixels)


@given(hnp.arrays(bool, (5, 6)), st.integers(0, 7), st.integers(0, 4))
def test_a_piece_lies_where_its_view_does(pixels: Pixels, x: int, y: int) -> None:
    if pixels.any():
        whole = np.zeros(SCENE[::-1], bool)
        whole[y : y + 5, x : x + 6] = pixels
        assert _piece(pixels, x, y).mask(*SCENE) == Mask.of(whole)


def test_what_an_edge_cuts_is_joined_where_both_views_agree() -> None:
    whole = np.zeros(SCENE[::-1], bool)
    whole[2:6, 1:12] = True
    left, right = _piece(whole[:, :8], 0, 0, 0.9), _piece(whole[:, 5:], 5, 0, 0.7)
    assert left.cut
    assert right.cut
    (one,) = joined([left, right])
    assert one.mask(*SCENE) == Mask.of(whole)
    assert one.score == 0.7
    assert joined([left]) == []
    other = np.zeros_like(whole)
    other[5:8, 5:12] = True
    assert joined([left, _piece(other[:, 5:], 5, 0)]) == []


def test_what_the_edge_of_the_scene_cuts_is_whole() -> None:
    whole = np.zeros(SCENE[::-1], bool)
    whole[:3, :4] = True
    piece = _piece(whole[:, :8], 0, 0)
    assert not piece.cut
    assert joined([piece]) == [piece]


def test_of_two_that_are_alike_the_better_stays() -> None:
    pixels = np.zeros(SCENE[::-1], bool)
    pixels[2:6, 2:8] = True
    less = pixels.copy()
    less[2, 2] = False
    apart = np.zeros_like(pixels)
    apart[7:, 10:] = True
    pieces = [_piece(less, 0, 0, 0.4), _piece(pixels, 0, 0, 0.8), _piece(apart, 0, 0, 0.5)]
    assert [p.score for p in distinct(pieces, 0.7)] == [0.8, 0.5]
