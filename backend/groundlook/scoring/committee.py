"""How far several opinions of the same thing lie apart: models of a committee, or looks of one model.

`proba` is (K, M, C) here: of K members, of M things, over C classes that exclude each other; rows sum to 1. A member
whose row is not finite has no vote on that thing; without two votes a thing is NaN: unknown.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def vote_entropy(proba: NDArray[np.floating]) -> NDArray[np.float64]:
    """The entropy of the members' likeliest classes (Dagan & Engelson, ICML 1995): (K, M, C) → (M,), 0 = all vote
    alike, 1 = as divided as K votes on C classes can be."""
    p, votes = _opinions(proba)
    best = np.where(votes[..., None], np.eye(p.shape[2])[p.argmax(axis=2)], 0)
    share = _divide(best.sum(axis=0), votes.sum(axis=0)[:, None])
    return _scaled(_bits(share), np.minimum(votes.sum(axis=0), p.shape[2]), votes)


def mean_divergence(proba: NDArray[np.floating]) -> NDArray[np.float64]:
    """The mean Kullback-Leibler divergence of each member from the mean of all (McCallum & Nigam, ICML 1998), which is
    their Jensen-Shannon divergence: (K, M, C) → (M,), 0 = of one mind, 1 = each sure of another class."""
    p, votes = _opinions(proba)
    count = votes.sum(axis=0)
    mean = _divide(p.sum(axis=0), count[:, None])
    own = _divide(np.where(votes, _bits(p), 0).sum(axis=0), count)
    return _scaled(_bits(mean) - own, np.minimum(count, p.shape[2]), votes)


def _opinions(proba: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Rows made to sum to 1, 0 where there is no vote; and who has one, (K, M)."""
    raw = np.asarray(proba, np.float64)
    p = np.clip(np.where(np.isfinite(raw), raw, 0), 0, None)
    total = p.sum(axis=2)
    votes = np.isfinite(raw).all(axis=2) & (total > 0)
    return np.where(votes[..., None], p / np.where(total > 0, total, 1)[..., None], 0), votes


def _bits(p: NDArray[np.float64]) -> NDArray[np.float64]:
    bits: NDArray[np.float64] = -(p * np.log2(np.maximum(p, 1e-12))).sum(axis=-1)
    return bits


def _divide(a: NDArray[np.float64], b: NDArray[np.integer]) -> NDArray[np.float64]:
    quotient: NDArray[np.float64] = a / np.maximum(b, 1)
    return quotient


def _scaled(bits: NDArray[np.float64], most: NDArray[np.integer], votes: NDArray[np.bool_]) -> NDArray[np.float64]:
    """As a share of log2 `most`, the highest there can be; 0 of a single class."""
    share = np.where(most > 1, bits / np.log2(np.maximum(most, 2)), 0.0)
    return np.where(votes.sum(axis=0) > 1, np.clip(share, 0, 1), np.nan)
