"""Regions: the entropy of their pixels, the doubt of their masks, the difficulty of their class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from groundlook.core.errors import InvalidInput
from groundlook.core.geometry import Box
from groundlook.core.mask import Mask
from groundlook.core.prompts import Cut
from groundlook.core.types import ModelVersion, Prediction, Region
from groundlook.scoring.classification import entropy
from groundlook.scoring.difficulty import REACH, class_difficulty, class_weights, object_difficulty, weighted
from groundlook.scoring.masks import cuts_uncertainty, mask_uncertainty
from groundlook.scoring.pixels import cell_grid, region_entropy, region_means
from groundlook.scoring.score import score_prediction

V = ModelVersion("m", "aa")
unit = st.floats(0, 1)


@given(arrays(bool, (7, 5)), arrays(np.float64, (7, 5, 3), elements=st.floats(0.01, 1)))
def test_the_entropy_of_a_region_is_the_mean_of_its_pixels(inside: np.ndarray, raw: np.ndarray) -> None:
    proba = raw / raw.sum(axis=2, keepdims=True)
    whole = Mask.of(np.ones((7, 5), bool))
    got = region_entropy(proba, [Mask.of(inside), whole, Box(0, 0, 3, 3)])
    each = entropy(proba.reshape(-1, 3)).reshape(7, 5)
    assert got[0] == pytest.approx(each[inside].mean() if inside.any() else np.nan, nan_ok=True)
    assert got[1] == pytest.approx(each.mean())
    assert np.isnan(got[2])


def test_a_mask_of_another_size_is_named() -> None:
    with pytest.raises(InvalidInput, match="4 × 4 px on a map of 5 × 7"):
        region_entropy(np.full((7, 5, 2), 0.5), [Mask.of(np.ones((4, 4), bool))])


def test_cells_make_a_grid() -> None:
    assert cell_grid(np.arange(4.0), (4, 4)).tolist() == [[0, 1], [2, 3]]
    assert cell_grid(np.arange(6.0), (2, 3)).shape == (3, 2)
    assert cell_grid(np.arange(32.0 * 10), (10, 100)).shape == (32, 10)
    with pytest.raises(InvalidInput, match="5 cells"):
        cell_grid(np.arange(5.0), (4, 4))


@given(
    arrays(bool, (7, 9)),
    arrays(np.float64, (3, 4), elements=st.one_of(st.floats(0, 1), st.just(np.nan))),
)
def test_a_grid_under_a_mask_is_its_pixels(inside: np.ndarray, grid: np.ndarray) -> None:
    pixels = grid[np.arange(7)[:, None] * 3 // 7, np.arange(9)[None] * 4 // 9]
    under = pixels[inside]
    under = under[np.isfinite(under)]
    got = region_means(grid, [Mask.of(inside)], (9, 7))[0]
    assert got == pytest.approx(under.mean() if len(under) else np.nan, nan_ok=True)


def test_an_unsure_thing_in_a_sure_tile_is_told() -> None:
    cells = np.tile(np.array([[0.98, 0.02]], np.float32), (16, 1))
    cells[5] = [0.45, 0.55]
    inside = np.zeros((8, 8), bool)
    inside[2:4, 2:4] = True
    regions = (Region(Mask.of(inside), "roof", 0.55),)
    score = score_prediction(Prediction(V, regions, cells, 0.6, size=(8, 8), kind="segmentation"))
    assert score.terms["regions"] == pytest.approx(float(entropy(cells[5:6])[0]))
    for other in (
        Prediction(V, regions, cells, 0.6, kind="segmentation"),
        Prediction(V, regions, cells, 0.6, size=(9, 9), kind="segmentation"),
        Prediction(V, regions, cells[:15], 0.6, size=(8, 8), kind="segmentation"),
    ):
        assert "regions" not in score_prediction(other).terms, "what does not fit the tile is not told"


@given(unit, unit, unit)
def test_a_mask_is_as_doubtful_as_its_terms_say(iou: float, stability: float, disagreement: float) -> None:
    doubt = float(mask_uncertainty(*(np.array([v]) for v in (iou, stability, disagreement)))[0])
    assert 0 <= doubt <= 1
    assert doubt >= 1 - iou * stability - 1e-12
    cut = Cut(
        Mask.of(np.ones((2, 2))), 0.5, {"predicted_iou": iou, "stability": stability, "disagreement": disagreement}
    )
    assert cuts_uncertainty([cut, Cut(cut.mask, 0.5)]) == pytest.approx([doubt, np.nan], nan_ok=True)
    assert cuts_uncertainty([]).shape == (0,)
    assert cuts_uncertainty([Cut(cut.mask, 0.5, {"stability": stability})]) == pytest.approx([1 - stability])


@given(arrays(np.float64, 6, elements=st.one_of(unit, st.just(np.nan))))
def test_hard_classes_count_more_and_unknown_ones_most(difficulty: np.ndarray) -> None:
    weights = class_weights(difficulty)
    assert ((weights >= 1) & (weights <= 1 + REACH + 1e-12)).all()
    order = np.argsort(np.nan_to_num(difficulty, nan=1.0))
    assert (np.diff(weights[order]) >= -1e-12).all()
    assert class_weights(np.array([0.0, 1.0, np.nan])) == pytest.approx([1, 1 + REACH, 1 + REACH])


def test_difficulty_is_what_the_model_missed() -> None:
    hard = object_difficulty(np.array([1.0, 0.0, 0.8]), np.array([1.0, 0.9, 0.8]))
    assert hard == pytest.approx([0, 1, 0.2])
    by_class = class_difficulty(np.array([0.0, 1.0, 0.2, np.nan]), np.array([0, 0, 2, 1]), 4)
    assert by_class == pytest.approx([0.5, np.nan, 0.2, np.nan], nan_ok=True)


def test_of_two_doubtful_tiles_the_one_of_the_hard_class_comes_first() -> None:
    weights = class_weights(np.array([0.05, 0.9]))

    def score(*proba: float) -> float:
        value = score_prediction(Prediction(V, (), np.array([proba], np.float32), 0.6), weights).value
        assert value is not None
        return value

    assert score(0.0, 0.6) > score(0.6, 0.0)
    assert score(0.0, 0.6) == pytest.approx(score_prediction(Prediction(V, (), np.array([[0.0, 0.6]]), 0.6)).value)
    with pytest.raises(InvalidInput, match="2 classes"):
        weighted(np.ones(1), np.ones((1, 2)), np.ones(3))


def test_masks_that_a_segmenter_doubts_make_a_tile_worth_more() -> None:
    shown = (Region(Box(0, 0, 9, 9), "a", 0.9),)
    proba = np.array([[0.9]], np.float32)
    sure, vague = (np.array([[v, v, 1 - v]]) for v in (0.98, 0.5))
    plain = score_prediction(Prediction(V, shown, proba, 0.9))
    found = [score_prediction(Prediction(V, shown, proba, 0.9, masks=masks)) for masks in (sure, vague)]
    assert found[0].value is not None
    assert found[1].value is not None
    assert found[0].value < found[1].value
    assert "mask" in found[0].terms
    assert "mask" not in plain.terms
    unknown = Prediction(V, shown, proba, 0.9, masks=np.full((1, 3), np.nan))
    assert score_prediction(unknown) == plain
