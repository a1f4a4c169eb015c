"""Studies of detection and segmentation: small made-up sets; real ones where they are on this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundlook.core.errors import InvalidInput
from groundlook.core.pool import Fitted
from groundlook.core.ports import Study
from groundlook.evaluation.metrics import average_precision50
from groundlook.models.studies import boxes, segmentation, sets
from groundlook.models.studies.cells import Recipe
from groundlook.models.studies.dense import unit
from groundlook.models.studies.detection import DetectionStudy
from groundlook.models.studies.maps import look, turned
from groundlook.models.studies.segmentation import SegmentationStudy
from groundlook.scoring.score import score_prediction

SIDE, PARTS, TRAIN, TEST = 16, 12, 24, 12
RECIPE = Recipe(width=32, steps=120, drawn=512, dropout=0.0)


def made(seed: int = 0) -> tuple[np.ndarray, list[np.ndarray], sets.Ground]:
    """Maps that say what a box is, under noise; every fourth tile is empty."""
    rng = np.random.default_rng(seed)
    maps, truth = [], []
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    for tile in range(TRAIN + TEST):
        one, found = rng.normal(0, 0.8, (SIDE, SIDE, PARTS)), []
        for _ in range(0 if tile % 4 == 0 else 2):
            low, size = rng.uniform(0, SIDE - 7, 2), rng.uniform(4, 7, 2)
            box = np.concatenate([low, low + size])
            inside = (x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3])
            sides = np.stack([x - box[0], y - box[1], box[2] - x, box[3] - y], axis=2)
            one[inside, :5] = np.concatenate([np.full((SIDE, SIDE, 1), 3.0), np.log(np.abs(sides) + 0.1)], axis=2)[
                inside
            ]
            found.append(box)
        maps.append(one)
        truth.append(np.array(found).reshape(-1, 4))
    count = np.arange(TRAIN)
    none = np.full(TRAIN, -1)
    place = sets.Ground(
        np.zeros((TRAIN, 2)), np.ones(TRAIN), np.full(TRAIN, np.nan), count // 4, count // 2, none, none
    )
    return np.array(maps).astype(np.float16), truth, place


def detection() -> DetectionStudy:
    maps, truth, place = made()
    vectors = unit(maps[:TRAIN].mean(axis=(1, 2)).astype(np.float32))
    return DetectionStudy("made", maps, tuple(truth), vectors, place, score_prediction, average_precision50, RECIPE)


def painted(found: Sequence[np.ndarray]) -> np.ndarray:
    rings = tuple(np.array([[a, b], [c, b], [c, d], [a, d]]) for a, b, c, d in found)
    tile = sets.Labelled("", np.zeros((SIDE, SIDE, 3), np.uint8), rings, (0, 0), 1, "", "", False)
    return segmentation.painted(tile, SIDE * segmentation.FINE)


def pixels() -> SegmentationStudy:
    maps, truth, place = made()
    vectors = unit(maps[:TRAIN].mean(axis=(1, 2)).astype(np.float32))
    masks = np.stack([painted(one) for one in truth])
    objects = np.array([len(one) for one in truth[:TRAIN]], np.float64)
    return SegmentationStudy("made", maps, masks, objects, 2 + 16 * objects, vectors, place, score_prediction, RECIPE)


STUDIES = {"detection": detection, "segmentation": pixels}


@pytest.fixture(scope="module", params=sorted(STUDIES))
def study(request: pytest.FixtureRequest) -> Study:
    made: Study = STUDIES[request.param]()
    return made


def test_nothing_labelled_is_a_pool_of_which_nothing_is_known(study: Study) -> None:
    fitted = study.fit(np.zeros(0, np.int64), 0)
    assert np.isnan(fitted.quality)
    assert len(fitted.pool) == TRAIN
    assert np.isnan(fitted.pool.score).all()
    assert len(fitted.pool.labelled) == 0


def test_a_pool_holds_the_rest_with_all_that_is_known(study: Study) -> None:
    labelled = np.array([7, 1, 2, 5, 0])
    pool = study.fit(labelled, 0).pool
    assert sorted([*pool.ids, *labelled]) == list(range(TRAIN))
    assert pool.kind == study.kind
    assert ((pool.score >= 0) & (pool.score <= 1)).all()
    assert pool.counts is not None
    assert pool.counts.shape == (len(pool), 1)
    assert (pool.counts >= 0).all()
    assert pool.empty is not None
    assert ((pool.empty >= 0) & (pool.empty <= 1)).all()
    assert pool.have is not None
    assert pool.have.tolist() == [study.labels[labelled].sum()]
    assert pool.seconds is not None
    assert np.allclose(pool.seconds - 2, pool.counts[:, 0] * (study.seconds[1] - 2) / 2)
    assert {"entropy", "margin"} <= set(pool.terms)
    assert all(np.isfinite(term).all() for term in pool.terms.values())
    assert pool.ground is not None
    assert np.array_equal(pool.ground.scene, pool.ids // 4)
    assert pool.done is not None
    assert np.array_equal(pool.done.scene, labelled // 4)
    assert np.allclose(np.linalg.norm(pool.embedding, axis=1), 1, atol=1e-5)


def test_the_same_rows_and_seed_give_the_same_in_any_order(study: Study) -> None:
    one, other = study.fit(np.array([1, 2, 3, 6]), 4), study.fit(np.array([6, 3, 2, 1]), 4)
    assert one.quality == other.quality
    assert np.array_equal(one.pool.score, other.pool.score)
    assert study.fit(np.array([1, 2, 3, 6]), 5).pool.score.tolist() != one.pool.score.tolist()


def test_quality_rises_with_labels(study: Study) -> None:
    few, all_of_them = study.fit(np.array([1]), 0), study.fit(np.arange(TRAIN), 0)
    assert all_of_them.quality > 0.5
    assert all_of_them.quality > few.quality + 0.05
    assert len(all_of_them.pool) == 0


def test_it_tells_empty_tiles_from_others(study: Study) -> None:
    fitted = study.fit(np.arange(10), 0)
    held = study.foreground[fitted.pool.ids]
    assert fitted.pool.empty is not None
    assert fitted.pool.counts is not None
    assert np.median(fitted.pool.empty[~held]) > np.median(fitted.pool.empty[held])
    assert fitted.pool.counts[~held].max() < np.median(fitted.pool.counts[held])


def test_only_empty_tiles_make_no_model(study: Study) -> None:
    fitted: Fitted = study.fit(np.array([0, 4]), 0)
    assert fitted.quality == 0
    assert np.isnan(fitted.pool.score).all()


def test_labels_count_objects_and_seconds_rise_with_them(study: Study) -> None:
    assert study.labels[:4].tolist() == [0, 2, 2, 2]
    assert study.foreground.tolist() == (study.labels > 0).tolist()
    assert study.seconds[0] < study.seconds[1]


@settings(max_examples=25)
@given(st.floats(1, 9), st.floats(1, 9), st.floats(3, 7), st.floats(3, 7))
def test_what_a_grid_should_say_is_read_back_as_the_box(x: float, y: float, width: float, height: float) -> None:
    box = np.array([[x, y, x + width, y + height]])
    wanted = boxes.targets(box, SIDE)
    held = wanted[..., 0] > 0
    assert held.any()
    said = np.concatenate([np.where(held, 4.0, -9.0)[..., None], np.log(np.maximum(wanted[..., 1:], 0.14))], axis=2)
    found, score, peak = boxes.detections(said.astype(np.float32))
    assert len(found) == 1
    assert np.allclose(found, np.minimum(box, SIDE), atol=1e-3)
    assert score[0] == pytest.approx(peak)
    assert peak > 0.9


def test_turned_maps_are_the_same_on_every_run_and_keep_their_shape() -> None:
    raw = [np.random.default_rng(i).normal(0, 9, (20, 8, 8)).astype(np.float16) for i in range(5)]
    found = turned(raw, parts=6)
    assert found.shape == (5, 8, 8, 6)
    assert found.dtype == np.float16
    assert np.array_equal(found, turned(raw, parts=6))
    assert found.astype(np.float64).std() == pytest.approx(1, abs=0.1)


def test_an_embedder_without_maps_is_refused_with_one_that_has_them() -> None:
    with pytest.raises(InvalidInput, match=r"thumbnail-1.*take onnx:PATH"):
        look("thumbnail-1")


def slippy_set(root: Path, sites: int = 5) -> Path:
    """One site a row of two tiles; a square of a quarter of a tile in the first of each."""
    zoom, size = 18, 2.0**18
    for site in range(sites):
        folder = root / str(site)
        folder.mkdir(parents=True)
        x, y = 1000 + 10 * site, 2000
        for place in ((x, y), (x + 1, y)):
            cv2.imwrite(str(folder / f"OAM-{place[0]}-{place[1]}-{zoom}.png"), np.full((64, 64, 3), site, np.uint8))
        corners = [(x + dx, y + dy) for dx, dy in ((0.25, 0.25), (0.5, 0.25), (0.5, 0.5), (0.25, 0.5))]
        ring = [(a / size * 360 - 180, _latitude(b / size)) for a, b in corners]
        feature = {"geometry": {"type": "Polygon", "coordinates": [ring]}}
        (folder / "labels.geojson").write_text(json.dumps({"features": [feature]}))
    return root


def _latitude(share: float) -> float:
    return float(np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * share)))))


def test_sites_of_slippy_tiles_are_held_out_whole(tmp_path: Path) -> None:
    tiles = sets.read(slippy_set(tmp_path))
    assert [tile.test for tile in tiles] == [False] * 2 + [True] * 4 + [False] * 4
    assert [len(tile.rings) for tile in tiles] == [1, 0] * 5
    assert np.allclose(tiles[0].boxes(), [[16, 16, 32, 32]], atol=1e-4)
    assert tiles[1].xy[0] - tiles[0].xy[0] == pytest.approx(2 * tiles[0].reach)


def test_sets_that_are_none_say_what_they_should_be(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"labels\.geojson"):
        sets.read(tmp_path)
    with pytest.raises(InvalidInput, match="too little ground"):
        sets.read(slippy_set(tmp_path / "one", sites=1))


def test_the_real_sets_are_split_by_ground(data_dir: Path) -> None:
    oam, neon = (sets.read(data_dir / name) for name in ("oam_buildings", "neon_trees"))
    assert {tile.scene for tile in oam if tile.test} == {"2", "3"}
    assert {tile.scene for tile in oam if not tile.test} == {"1", "4", "5"}
    assert len(oam) == 356
    assert len(neon) == 4 * 69
    for tiles in (oam, neon):
        assert not {t.block for t in tiles if t.test} & {t.block for t in tiles if not t.test}
        assert not {t.scene for t in tiles if t.test} & {t.scene for t in tiles if not t.test}
        assert sum(len(t.rings) for t in tiles if t.test) > 300
        for tile in tiles:
            found = tile.boxes()
            assert (found >= 0).all()
            assert (found[:, 2:] <= tile.pixels.shape[1::-1]).all()
