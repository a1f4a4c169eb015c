"""Multinomial logistic regression (Cox 1958, with an L2 penalty), by scikit-learn, without what is not needed: the
search where there are fewer examples than numbers, and passes over memory where many are asked."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_CHUNK = 8192  # rows whose answers stay in the cache


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """Logits are points @ weight.T + bias. `classes`: int64 (C,), those met; `weight`: (C, D); `bias`: (C,)."""

    classes: NDArray[np.int64]
    weight: NDArray[np.floating]
    bias: NDArray[np.floating]

    def proba(self, points: NDArray[np.floating]) -> NDArray[np.float32]:
        """(N, D) → float32 (N, C), rows sum to 1; computed in the floats of `points`, halves as float32. It lies in
        memory class by class, which is how margins and entropies read it fastest."""
        kind: type[np.floating] = np.float64 if points.dtype == np.float64 else np.float32
        weight, bias = self.weight.astype(kind), self.bias.astype(kind)[:, None]
        found = np.empty((len(weight), len(points)), np.float32)
        for start in range(0, len(points), _CHUNK):
            odds: NDArray[np.floating] = weight @ np.asarray(points[start : start + _CHUNK], kind).T
            odds += bias
            odds -= odds.max(axis=0)
            np.exp(odds, out=odds)
            np.divide(odds, odds.sum(axis=0), out=found[:, start : start + _CHUNK], casting="same_kind")
        return found.T


def learn(
    points: NDArray[np.floating],
    classes: NDArray[np.int64],
    inverse_penalty: float = 1.0,
    weight: NDArray[np.float64] | None = None,
    tolerance: float = 1e-4,
    rounds: int = 1000,
) -> Linear:
    """Fit to `points` (K, D) of `classes` (K,), which weigh `weight` (K,), 1 each by default; `inverse_penalty`:
    scikit-learn's C; the search ends where no slope of the loss is above `tolerance`, or after `rounds`.

    The best weights are sums of the points (representer theorem; Kimeldorf & Wahba 1971). So where K < D the search
    is for K numbers a class, in the span of the points: the same optimum. A single class is certain."""
    from sklearn.linear_model import LogisticRegression

    met = np.unique(classes)
    if len(met) == 1:
        return Linear(met, np.zeros((1, points.shape[1])), np.zeros(1))
    basis, few = None, points
    if len(points) < points.shape[1]:
        basis, turned = np.linalg.qr(points.T)
        few = np.ascontiguousarray(turned.T)
    model = LogisticRegression(C=inverse_penalty, max_iter=rounds, tol=tolerance)
    with warnings.catch_warnings():  # with few labels most classes have one: that is what is being measured
        warnings.filterwarnings("ignore", "The number of unique classes")
        model.fit(few, classes, sample_weight=weight)
    found, bias = model.coef_ if basis is None else model.coef_ @ basis.T, model.intercept_
    if len(met) == 2:  # scikit-learn keeps the second's lead over the first
        found, bias = np.concatenate([0 * found, found]), np.concatenate([0 * bias, bias])
    return Linear(met, found, bias)
