"""The learners of a classification study: from features to class probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from groundlook.models.studies.linear import learn


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Features ready to learn from: `train` float64 (N, P) and `test` (T, P). `near`: what else a head knows of how the
    rows of `train` lie."""

    train: NDArray[np.float64]
    test: NDArray[np.float64]
    near: Any = None


Probabilities = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Of all train rows (N, C) and of the test rows (T, C): rows sum to 1, 0 for classes never seen."""


class Head(Protocol):
    """Learns classes from features. Of images without a label it may know the features, of the test part nothing."""

    def prepare(self, train: NDArray[np.float32], test: NDArray[np.float32]) -> Seen:
        """Features (N, D) and (T, D) as `fit` wants them, by what `train` alone shows. Once per study."""

    def fit(
        self, seen: Seen, rows: NDArray[np.int64], classes: NDArray[np.int64], count: int, seed: int
    ) -> Probabilities:
        """Learn from `rows` (K,) of the train part, of `classes` (K,), 0…count − 1. One class seen is certain."""


@dataclass(frozen=True, slots=True)
class LogisticHead:
    """Multinomial logistic regression on the first `parts` principal components of the standardised features: the plain
    learner that other people's figures are made with (facts: performance)."""

    parts: int = 128
    inverse_penalty: float = 1.0

    def prepare(self, train: NDArray[np.float32], test: NDArray[np.float32]) -> Seen:
        """See `Head`."""
        from sklearn.decomposition import PCA
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        turned = make_pipeline(StandardScaler(), PCA(min(self.parts, *train.shape), random_state=0))
        first = turned.fit_transform(train.astype(np.float64))
        return Seen(first, turned.transform(test.astype(np.float64)))

    def fit(
        self, seen: Seen, rows: NDArray[np.int64], classes: NDArray[np.int64], count: int, seed: int
    ) -> Probabilities:
        """See `Head`."""
        weight = np.ones(len(rows))
        return regression(seen, rows, classes, weight, count, self.inverse_penalty)


def regression(
    seen: Seen,
    rows: NDArray[np.int64],
    classes: NDArray[np.int64],
    weight: NDArray[np.float64],
    count: int,
    inverse_penalty: float,
) -> Probabilities:
    """Logistic regression on `rows` (K,) of `classes` (K,), which weigh `weight` (K,)."""
    model = learn(seen.train[rows], classes, inverse_penalty, weight, tolerance=1e-3)
    found = [np.zeros((len(part), count), np.float32) for part in (seen.train, seen.test)]
    for proba, part in zip(found, (seen.train, seen.test), strict=True):
        proba[:, model.classes] = model.proba(part)
    return found[0], found[1]


def left_out(train: NDArray[Any], classes: NDArray[np.int64], penalty: float = 1.0) -> float:
    """Accuracy 0…1 over the rows of `train` (K, P), each told by a ridge classifier that learned from all others:
    exact, out of one inverse (Allen's PRESS, Technometrics 1974). NaN for fewer than two classes. Rows chosen because
    they are hard make it low: good for the course of it, not for its height."""
    seen, codes = np.unique(classes, return_inverse=True)
    if len(seen) < 2:
        return float("nan")
    told = np.eye(len(seen))[codes] * 2 - 1
    design = np.hstack([train / max(float(np.sqrt((train**2).sum(1).mean())), 1e-12), np.ones((len(train), 1))])
    gram = design @ design.T
    hat = gram @ np.linalg.inv(gram + penalty * np.eye(len(gram)))
    own = np.diag(hat)[:, None]
    without = (hat @ told - own * told) / (1 - own)
    return float((without.argmax(1) == codes).mean())


def unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows (N, P) at length 1; those of 0 stay."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
