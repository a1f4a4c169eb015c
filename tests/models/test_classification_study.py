"""A classification study: what it learns, what it shows of its pool, and how it is read from class folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from groundlook.core.errors import InvalidImage, InvalidInput
from groundlook.core.geo import Tile
from groundlook.models.studies.classification import FeatureStudy
from groundlook.models.studies.folders import open_study, parts
from groundlook.models.studies.head import left_out
from groundlook.models.thumbnail import Thumbnail


def study(seed: int = 0, spread: float = 1.5) -> FeatureStudy:
    rng = np.random.default_rng(seed)
    means = rng.normal(0, 1, (4, 20)) * 2
    classes, truth = rng.integers(4, size=200), rng.integers(4, size=80)
    train = (means[classes] + rng.normal(0, spread, (200, 20))).astype(np.float32)
    test = (means[truth] + rng.normal(0, spread, (80, 20))).astype(np.float32)
    return FeatureStudy("made", train, classes, test, truth, ("a", "b", "c", "d"))


def test_more_labels_teach_more() -> None:
    found = [study(spread=2.5).fit(np.arange(n), 0).quality for n in (4, 12, 200)]
    assert found[0] < found[2]
    assert found[2] > 0.85


def test_the_pool_is_what_is_not_labelled_with_what_the_head_says_of_it() -> None:
    made, rows = study(), np.arange(0, 200, 10)
    found = made.fit(rows, 0)
    pool = found.pool
    assert pool.ids.tolist() == [i for i in range(200) if i % 10]
    assert pool.proba is not None
    assert pool.classes is not None
    assert pool.have is not None
    assert pool.proba.sum(axis=1) == pytest.approx(np.ones(180), abs=1e-5)
    assert pool.classes.tolist() == made.classes[rows].tolist()
    assert pool.have.sum() == 20
    assert np.linalg.norm(pool.embedding, axis=1) == pytest.approx(np.ones(180), abs=1e-4)
    lead = np.diff(np.sort(pool.proba, axis=1)[:, -2:], axis=1)[:, 0]
    assert pool.score == pytest.approx(1 - lead, abs=1e-6)
    assert (pool.proba.argmax(1) == made.classes[pool.ids]).mean() > 0.7, "rows of the pool stand in its order"


def test_nothing_labelled_is_nothing_learned() -> None:
    found = study().fit(np.zeros(0, np.int64), 0)
    assert np.isnan(found.quality)
    assert found.pool.proba is None
    assert np.isnan(found.pool.score).all()
    assert found.pool.labelled.shape == (0, 20)
    assert found.held_out is None


def test_classes_not_seen_have_no_probability_and_one_class_is_certain() -> None:
    made = study()
    two = np.concatenate([np.flatnonzero(made.classes == c)[:4] for c in (1, 3)])
    proba = made.fit(two, 0).pool.proba
    assert proba is not None
    assert (proba[:, [0, 2]] == 0).all()
    one = made.fit(np.flatnonzero(made.classes == 2)[:3], 0).pool.proba
    assert one is not None
    assert (one[:, 2] == 1).all()


def test_the_same_rows_and_seed_give_the_same_and_all_rows_are_fine() -> None:
    one, two = study().fit(np.arange(30), 3), study().fit(np.arange(30), 3)
    assert one.quality == two.quality
    assert np.array_equal(one.pool.proba, two.pool.proba)  # type: ignore[arg-type]
    assert len(study().fit(np.arange(200), 0).pool) == 0


def test_the_test_part_is_never_seen() -> None:
    made = study()
    other = FeatureStudy("made", made.train, made.classes, made.test[::-1].copy() * 3, made.truth, made.names)
    one, two = made.fit(np.arange(20), 0), other.fit(np.arange(20), 0)
    assert np.array_equal(one.pool.embedding, two.pool.embedding)
    assert one.pool.proba == pytest.approx(two.pool.proba)
    assert one.held_out == two.held_out


def test_leaving_out_is_what_it_says() -> None:
    """Against really learning without each row."""
    rng = np.random.default_rng(1)
    classes = rng.integers(3, size=40)
    train = rng.normal(0, 1, (40, 5)) + 1.2 * np.eye(3, 5)[classes]
    scale = np.sqrt((train**2).sum(1).mean())
    design, told = np.hstack([train / scale, np.ones((40, 1))]), np.eye(3)[classes] * 2 - 1
    hits = 0
    for i in range(40):
        rest = np.arange(40) != i
        gram = design[rest].T @ design[rest] + np.eye(6)
        weights = np.linalg.solve(gram, design[rest].T @ told[rest])
        hits += bool((design[i] @ weights).argmax() == classes[i])
    assert left_out(train, classes) == pytest.approx(hits / 40)
    assert np.isnan(left_out(train[:3], np.zeros(3, np.int64)))


class Counting(Thumbnail):
    def __init__(self) -> None:
        self.seen = 0

    def embed(self, tiles: Sequence[Tile]) -> np.ndarray:
        self.seen += len(tiles)
        return super().embed(tiles)


def images(root: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for name, colour in {"sea": (150, 60, 10), "sand": (120, 190, 220)}.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            pixels = np.clip(rng.normal(colour, 25, (32, 32, 3)), 0, 255).astype(np.uint8)
            assert cv2.imwrite(str(root / name / f"{i:02d}.png"), pixels)


def test_class_folders_with_a_test_part(tmp_path: Path) -> None:
    images(tmp_path / "set" / "train", 6)
    images(tmp_path / "set" / "test", 3)
    embedder = Counting()
    made = open_study(tmp_path / "set", embedder, tmp_path / "cache", lambda share, text: None)
    assert (made.name, made.names) == ("set", ("sand", "sea"))
    assert made.train.shape == (12, 95)
    assert made.truth.tolist() == [0, 0, 0, 1, 1, 1]
    assert made.fit(np.array([0, 6]), 0).quality == 1.0
    again = open_study(tmp_path / "set", embedder, tmp_path / "cache", lambda share, text: None)
    assert embedder.seen == 18, "what was embedded is kept"
    assert np.array_equal(made.train, again.train)
    (tmp_path / "set" / "train" / "sea" / "05.png").unlink()
    assert len(open_study(tmp_path / "set", embedder, tmp_path / "cache", lambda share, text: None).train) == 11
    assert embedder.seen == 18 + 17, "other files, other features"


def test_class_folders_without_one_are_split_the_same_way_every_time(tmp_path: Path) -> None:
    images(tmp_path / "set", 10)
    train, test = parts(tmp_path / "set")
    assert (len(train), len(test)) == (16, 4)
    assert [f.parent.name for f in test].count("sea") == 2
    assert not set(train) & set(test)
    assert parts(tmp_path / "set") == (train, test)


def test_what_can_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds no class folders"):
        parts(tmp_path)
    images(tmp_path / "set", 5)
    (tmp_path / "set" / "sea" / "bad.png").write_bytes(b"no image")
    with pytest.raises(InvalidImage, match=r"bad\.png can't be decoded"):
        open_study(tmp_path / "set", Thumbnail(), tmp_path / "cache", lambda share, text: None)
