"""The pools of `bench rank` and the peers it compares with."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from modAL.models import ActiveLearner
from modAL.uncertainty import entropy_sampling, margin_sampling
from numpy.typing import NDArray
from skactiveml.base import SkactivemlClassifier
from skactiveml.classifier import SklearnClassifier
from skactiveml.pool import Badge, CoreSet, MaxHerding, TypiClust, UncertaintySampling
from sklearn.linear_model import LogisticRegression

from groundlook.core.pool import Pool
from groundlook.models.studies.linear import learn
from groundlook.strategies.catalog import strategy_of

sys.path.insert(0, str(Path(__file__).parent))
from rank_memory import BATCH, KINDS, LABELLED, WIDE


@dataclass(frozen=True, slots=True)
class Set:
    """`vectors`: float32 (N + 100, 512), the last 100 labelled, in 50 loose clusters; `classes`: of these 100."""

    vectors: NDArray[np.float32]
    classes: NDArray[np.int64]

    @classmethod
    def of(cls, size: int, seed: int = 0) -> Set:
        """`size` open tasks."""
        rng = np.random.default_rng(seed)
        middles = 0.7 * rng.standard_normal((50, WIDE), dtype=np.float32)
        kinds = np.concatenate([rng.integers(0, 50, size), np.arange(LABELLED) % 50])
        vectors = middles[kinds]
        vectors += rng.standard_normal(vectors.shape, dtype=np.float32)
        return cls(vectors, kinds[size:] % KINDS)

    def __len__(self) -> int:
        return len(self.vectors) - LABELLED

    @property
    def open(self) -> NDArray[np.float32]:
        """(N, 512)."""
        return self.vectors[: len(self)]

    def pool(self, labelled: int = LABELLED) -> Pool:
        """As the loop would give it: the model is fitted, and asked for all open tasks."""
        proba = learn(self.vectors[len(self) :], self.classes).proba(self.open)
        ids, score = np.arange(len(self)), np.full(len(self), np.nan)
        done = self.vectors[len(self) :][:labelled]
        return Pool(ids, score, self.open, done, "classification", proba, self.classes[:labelled])

    def kept(self, labelled: int = LABELLED) -> Pool:
        """The same with answers that lie task by task, as a store keeps them and a peer's classifier gives them."""
        found = self.pool(labelled)
        return replace(found, proba=np.ascontiguousarray(found.proba))


def ours(name: str, data: Set, end_to_end: bool = True) -> Callable[[int], object]:
    """From vectors and classes to a whole ranking by strategy `name`: fit, predict, rank. Or from probabilities on."""
    strategy, ready = strategy_of(name), data.kept()
    return lambda i: strategy.rank(data.pool() if end_to_end else ready, BATCH, np.random.default_rng(i))


class Known(SkactivemlClassifier):  # type: ignore[misc]
    """A classifier whose answers are there already."""

    def __init__(self, answers: NDArray[np.floating] | None = None, missing_label: float = np.nan) -> None:
        self.answers = answers
        super().__init__(classes=list(range(KINDS)), missing_label=missing_label)

    def fit(self, *_: object) -> Known:
        """Nothing to do."""
        return self

    def predict_proba(self, points: object) -> Any:
        """What is known of all open tasks."""
        return self.answers


def full_pass(data: Set) -> NDArray[np.int64]:
    """k-center as it is best written plainly: distances by matrix product, one pass over all rows for each pick."""
    points, done = data.open, data.vectors[len(data) :]
    squares = np.einsum("ij,ij->i", points, points)
    far = (squares[:, None] - 2 * points @ done.T + np.einsum("ij,ij->i", done, done)).min(axis=1)
    picks = np.zeros(BATCH, np.int64)
    for turn in range(BATCH):
        pick = picks[turn] = int(far.argmax())
        np.minimum(far, squares - 2 * (points @ points[pick]) + squares[pick], out=far)
        far[pick] = -np.inf
    return picks


def scikit_activeml(name: str, data: Set, end_to_end: bool = True) -> Callable[[int], Any]:
    """From vectors and classes to the batch by scikit-activeml, as its documentation calls it: it fits the same model
    where the strategy asks one. Or from probabilities on."""
    targets = np.concatenate([np.full(len(data), np.nan), data.classes])
    model = SklearnClassifier(LogisticRegression(max_iter=200), classes=list(range(KINDS)))
    if not end_to_end:
        model = Known(data.kept().proba)
    made = {
        "k-center": lambda i: CoreSet(random_state=i),
        "badge": lambda i: Badge(random_state=i),
        "typiclust": lambda i: TypiClust(random_state=i),
        "maxherding": lambda i: MaxHerding(random_state=i),
        "margin": lambda i: UncertaintySampling("margin_sampling", random_state=i),
        "entropy": lambda i: UncertaintySampling("entropy", random_state=i),
    }[name]
    asks = {"clf": model, "fit_clf": end_to_end} if name in ("badge", "margin", "entropy") else {}

    def query(i: int) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return made(i).query(data.vectors, targets, batch_size=BATCH, **asks)

    return query


def modal(name: str, data: Set, end_to_end: bool = True) -> Callable[[int], Any]:
    """The same by modAL."""
    by = {"margin": margin_sampling, "entropy": entropy_sampling}[name]
    done = data.vectors[len(data) :]
    known = Known(data.kept().proba)

    def query(_: int) -> Any:
        if not end_to_end:
            return by(known, data.open, n_instances=BATCH)
        learner = ActiveLearner(LogisticRegression(max_iter=200), by, X_training=done, y_training=data.classes)
        return learner.query(data.open, n_instances=BATCH)

    return query


def read_speed(data: Set) -> float:
    """Bytes a second that memory gives to this process, best of 5 reads of all embeddings."""
    ones, best = np.ones(WIDE, np.float32), np.inf
    for _ in range(5):
        start = time.perf_counter()
        _ = data.open @ ones
        best = min(best, time.perf_counter() - start)
    return data.open.nbytes / best
