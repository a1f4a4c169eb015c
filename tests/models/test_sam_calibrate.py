"""Scores that mean what they say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("segment_anything")

from groundlook.core.errors import InvalidInput
from groundlook.core.mask import Mask
from groundlook.models.sam import calibrate, quality
from tests.weights.house import TINY, held_out, one_thread, picture, tiny


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with one_thread():
        yield


def test_a_boastful_score_is_brought_down_to_what_is_true(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    true = rng.uniform(0.3, 1, 400)
    boast = np.sqrt(true)
    fitted = calibrate.fit(boast, np.clip(true + rng.normal(0, 0.02, 400), 0, 1))
    assert fitted.before > 0.1
    assert fitted.after < 0.03
    assert abs(fitted(np.sqrt(0.6)) - 0.6) < 0.04
    weights = tmp_path / "w.safetensors"
    quality.save(weights, fitted)
    again = quality.load(weights)
    assert again is not None
    assert again(0.7) == pytest.approx(fitted(0.7), abs=1e-4)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=30, max_size=60))
def test_a_calibration_never_turns_the_order_round(pairs: list[tuple[float, float]]) -> None:
    fitted = calibrate.fit([a for a, _ in pairs], [b for _, b in pairs])
    values = [fitted(x) for x in np.linspace(0, 1, 40)]
    assert all(0 <= v <= 1 for v in values)
    assert (np.diff(values) >= -1e-9).all()


def test_too_little_to_go_by_is_refused() -> None:
    with pytest.raises(InvalidInput, match="takes 30 masks or more"):
        calibrate.fit([0.5] * 29, [0.5] * 29)
    with pytest.raises(InvalidInput, match="within 0…1"):
        calibrate.fit([0.5] * 40, [float("nan")] * 40)


def test_no_calibration_is_no_error_and_scores_are_the_product(tmp_path: Path) -> None:
    bare = tmp_path / TINY.name
    bare.write_bytes(TINY.read_bytes())
    assert quality.load(bare) is None
    scene = held_out()[0]
    mask = Mask.of(scene.masks(300)[0])
    (cut,) = tiny(tmp_path, weights=bare).segment(picture(scene), [next(calibrate.pointed(mask))])
    assert cut.score == pytest.approx(quality.raw_score(cut.terms["predicted_iou"], cut.terms["stability"]))


def test_the_small_sam_is_calibrated_on_pictures_it_never_saw(tmp_path: Path) -> None:
    segmenter = tiny(tmp_path)
    assert segmenter.calibration is not None
    people = [(picture(scene), [Mask.of(m) for m in scene.masks(200)]) for scene in held_out()]
    raw, iou = calibrate.pairs(segmenter, people)
    said = np.array([segmenter.calibration(r) for r in raw])
    assert calibrate.error(said, np.array(iou)) < 0.12


def test_stability_and_disagreement() -> None:
    logits = np.full((8, 8), -5.0, np.float32)
    assert quality.stability(logits) == 0
    logits[2:6, 2:6] = 5
    assert quality.stability(logits) == 1
    logits[2:6, 6] = 0.5  # neither surely in nor out
    assert quality.stability(logits) == pytest.approx(16 / 20)
    masks = np.zeros((4, 8, 8), bool)
    masks[:, :4] = True
    assert quality.disagreement(masks, 0) == 0
    masks[3] = ~masks[3]
    assert quality.disagreement(masks, 1) == pytest.approx(0.5)
    assert quality.disagreement(masks, 0) == pytest.approx(1 / 3)
