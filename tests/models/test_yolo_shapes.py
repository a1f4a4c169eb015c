"""What a YOLO's numbers become: turned boxes, masks, suppression, labels."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("torchvision")

from groundlook.core.errors import InvalidConfig
from groundlook.core.geometry import Box, Mask, Point, envelope
from groundlook.models.yolo import shapes
from groundlook.models.yolo.candidates import Candidates, Protos
from groundlook.models.yolo.decode import _sides, anchors
from groundlook.models.yolo.labelling import labelling
from groundlook.models.yolo.masks import mask, placed
from groundlook.models.yolo.suppress import MOST, OVERLAP, overlap, suppressed


@given(
    x=st.floats(0, 100),
    y=st.floats(0, 100),
    w=st.floats(1, 60),
    h=st.floats(1, 60),
    angle=st.floats(-math.pi, math.pi),
)
def test_a_turned_box_is_the_same_rectangle(x: float, y: float, w: float, h: float, angle: float) -> None:
    found = shapes.turned(np.array([x, y, w, h], np.float32), angle, (100, 100))
    cos, sin = math.cos(angle), math.sin(angle)
    wanted = [
        (x + a * w / 2 * cos - b * h / 2 * sin, y + a * w / 2 * sin + b * h / 2 * cos) for a in (-1, 1) for b in (-1, 1)
    ]
    if found is None:
        low, high = np.min(wanted, axis=0), np.max(wanted, axis=0)
        assert (high < 1e-3).any() or (low > 100 - 1e-3).any()
        return
    assert 0 <= found.rotation <= 90
    corners = found.corners()
    for corner in wanted:
        assert np.abs(corners - corner).sum(axis=1).min() < 1e-2


def test_an_upright_box_is_clipped_and_one_outside_is_none() -> None:
    assert shapes.upright(np.array([5, 5, 20, 4], np.float32), (10, 10)) == Box(0, 3, 10, 4)
    assert shapes.upright(np.array([50, 5, 20, 4], np.float32), (10, 10)) is None
    assert shapes.turned(np.array([50, 5, 20, 4], np.float32), 0.3, (10, 10)) is None


@given(
    width=st.integers(1, 20),
    height=st.integers(1, 20),
    seed=st.integers(0, 1000),
    share=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_a_placed_mask_is_the_mask_of_the_whole_tile(width: int, height: int, seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, width), rng.integers(0, height)
    inside = rng.random((rng.integers(1, height - y + 1), rng.integers(1, width - x + 1))) < share
    whole = np.zeros((height, width), bool)
    whole[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    assert placed(inside, int(x), int(y), width, height) == Mask.of(whole)


def test_a_mask_is_where_its_prototypes_add_up_inside_its_box() -> None:
    values = np.full((2, 16, 24), -1, np.float32)
    values[0, 4:12, 6:18] = 1  # 24…72 px by 16…48 px
    protos = Protos(values, 4.0, column=100, row=50)
    every = mask(np.array([148, 82, 96, 64], np.float32), np.array([1, 0], np.float32), protos, (300, 200))
    assert envelope(every) == (124, 66, 172, 98)
    half = mask(np.array([124, 82, 48, 64], np.float32), np.array([1, 0], np.float32), protos, (300, 200))
    assert envelope(half) == (124, 66, 148, 98)
    assert not mask(np.array([400, 82, 9, 9], np.float32), np.array([1, 0], np.float32), protos, (300, 200)).area
    beyond = np.array([50, 82, 500, 400], np.float32)
    assert mask(beyond, np.array([1, 0], np.float32), protos, (300, 200)) == every
    # Nobody has seen what lies beyond the window: it is not the border's.
    full = Protos(np.ones((1, 16, 24), np.float32), 4.0, column=100, row=50)
    assert envelope(mask(beyond, np.ones(1, np.float32), full, (300, 200))) == (100, 50, 196, 114)


def _towns(seed: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, 200, (max(1, count // 5), 2))
    places = centres[rng.integers(0, len(centres), count)] + rng.normal(0, 3, (count, 2))
    boxes = np.concatenate([places, rng.uniform(10, 40, (count, 2))], 1).astype(np.float32)
    angle = rng.uniform(-0.7, 2.3, count).astype(np.float32)
    return boxes, angle, rng.random(count).astype(np.float32), rng.integers(0, 2, count)


@given(seed=st.integers(0, 1000), count=st.integers(0, 60), turned=st.booleans())
def test_what_is_kept_stands_apart_and_what_is_dropped_is_covered(seed: int, count: int, turned: bool) -> None:
    boxes, angle, score, label = _towns(seed, count)
    angle = angle if turned else np.zeros_like(angle)
    kept = suppressed(boxes, score, label, angle if turned else None)
    assert (np.diff(score[kept]) <= 0).all()
    pairs = np.array([(i, j) for i in range(count) for j in range(count) if i != j], int).reshape(-1, 2)
    if turned:
        iou = overlap(boxes, angle, pairs[:, 0], pairs[:, 1])
    else:
        from groundlook.core.geometry import box_iou

        corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
        iou = box_iou(corners, corners)[pairs[:, 0], pairs[:, 1]]
    over = {(int(i), int(j)) for (i, j), v in zip(pairs, iou, strict=True) if v > OVERLAP and label[i] == label[j]}
    assert not [(i, j) for i in kept for j in kept if (i, j) in over]
    for i in set(range(count)) - set(kept.tolist()):
        assert any((int(j), i) in over and score[j] >= score[i] for j in kept)


def test_turned_boxes_overlap_as_ultralytics_says(tmp_path: Path) -> None:

    from groundlook.models.yolo import offline

    offline.ultralytics(tmp_path)
    import torch
    from ultralytics.utils.metrics import batch_probiou

    boxes, angle, _, _ = _towns(3, 40)
    rows = torch.from_numpy(np.concatenate([boxes, angle[:, None]], 1)).double()
    first, second = np.triu_indices(40, 1)
    theirs = batch_probiou(rows, rows).numpy()[first, second]
    np.testing.assert_allclose(overlap(boxes, angle, first, second), theirs, atol=1e-4)


def test_thousands_of_turned_boxes_take_no_seconds() -> None:
    import time

    rng = np.random.default_rng(0)
    boxes = np.concatenate([rng.uniform(0, 640, (8400, 2)), rng.uniform(5, 60, (8400, 2))], 1).astype(np.float32)
    angle, score = rng.uniform(0, 3, 8400).astype(np.float32), rng.random(8400).astype(np.float32)
    begun = time.perf_counter()
    kept = suppressed(boxes, score, np.zeros(8400, np.intp), angle)
    assert time.perf_counter() - begun < 2
    assert len(kept) <= MOST


def test_the_spread_is_that_of_the_distribution() -> None:
    logits = np.full((4, 16), -100, np.float32)
    logits[0, 3] = 0  # certain
    logits[1, [2, 6]] = 0  # 2 or 6: mean 4, deviation 2
    logits[2] = 0  # anything: 7.5, 4.61
    logits[3, 0] = 0
    mean, deviation = _sides(logits.reshape(1, 64), 16)
    assert deviation is not None
    np.testing.assert_allclose(mean[0], [3, 4, 7.5, 0], atol=1e-4)
    np.testing.assert_allclose(deviation[0], [0, 2, 4.6098, 0], atol=2e-3)
    assert _sides(np.ones((5, 4), np.float32), 1)[1] is None


def test_anchors_are_cell_centres_finest_first() -> None:
    centres, strides = anchors((8, 16), (32, 16))
    assert strides.tolist() == [8] * 8 + [16] * 2
    assert (centres[1] * 8).tolist() == [12, 4]
    assert (centres[-1] * 16).tolist() == [24, 8]


def test_the_mapping_is_stated() -> None:
    found = labelling(("building", "tree", "car", "boat"), ("Building", "Pool"), None)
    assert found.told == "class 'building' → label 'Building', 3 classes unused, no class for label 'Pool'"
    many = labelling([str(i) for i in range(30)], [str(i) for i in range(30)], None)
    assert many.plain
    assert many.told.endswith("18 more")
    with pytest.raises(InvalidConfig):
        labelling(("building", "tree"), ("Roof",), None)


def _object(points: list[tuple[float, float, float]]) -> Candidates:
    extra = np.array(points, np.float32).reshape(1, -1)
    return Candidates(np.ones((1, 4), np.float32), np.array([[0.1, 0.8]], np.float32), extra, None, 0.8)


def test_keypoints_take_their_own_labels_or_their_objects() -> None:
    seen = _object([(10, 20, 0.9), (30, 40, 0.2), (99, 5, 0.9), (5, 5, 1.0)])
    by_object = labelling(("cow", "horse"), ("Cow", "Horse"), None, ("head", "tail", "ear", "hoof"))
    regions = list(shapes.regions(seen, "pose", by_object, 0.25, (50, 50)))
    assert [(r.shape, r.label) for r in regions] == [(Point(10, 20), "Horse"), (Point(5, 5), "Horse")]
    assert regions[0].score == pytest.approx(0.72)
    by_name = labelling(("cow", "horse"), ("Head", "Tail"), None, ("head", "tail", "ear", "hoof"))
    assert "keypoint 'head' → label 'Head'" in by_name.told
    assert "2 keypoints unused" in by_name.told
    regions = list(shapes.regions(seen, "pose", by_name, 0.25, (50, 50)))
    assert [(r.shape, r.label) for r in regions] == [(Point(10, 20), "Head")]
    np.testing.assert_allclose(by_name.of_points(seen.proba, seen.extra), [[0.72, 0.16]], atol=1e-6)
    mapped = labelling(("cow", "horse"), ("A", "B"), {"hoof": "B"}, ("head", "tail", "ear", "hoof"))
    assert [r.label for r in shapes.regions(seen, "pose", mapped, 0.25, (50, 50))] == ["B"]
