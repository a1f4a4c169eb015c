"""The selectors that can be installed from PyPI, as Strategies: scikit-activeml's and modAL's, for the same replay.

Each gets what it needs of the pool and the parameters that its own documentation recommends, which are its defaults
unless said below. Those that need a model's answers start, as their papers do, with a first batch at random.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import EmptyPool, InvalidInput
from groundlook.core.pool import Pool, Ranking, ranking
from groundlook.core.ports import Strategy

Choose = Callable[[Pool, int, int], NDArray[np.int64]]
"""(pool, count, seed) → int64 (count,), rows of the pool."""


@dataclass(frozen=True, slots=True)
class Peer:
    """`choose` as a Strategy. `cold`: it can choose before anything is labelled; `answers`: it needs `Pool.proba`."""

    name: str
    choose: Choose
    cold: bool = False
    answers: bool = True

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        """See `core.ports.Strategy`."""
        if len(pool) == 0:
            raise EmptyPool("no task is left to rank")
        count = min(count, len(pool))
        if len(pool.labelled) == 0 and not self.cold:
            return ranking(pool, rng.permutation(len(pool))[:count].astype(np.int64), self.name, why="random start")
        if self.answers and pool.proba is None:
            raise InvalidInput(f"{self.name} needs class probabilities, which {pool.kind} tasks don't have")
        with warnings.catch_warnings():  # theirs, of deprecations and of small samples, are not ours to heed
            warnings.simplefilter("ignore")
            picks = self.choose(pool, count, int(rng.integers(2**31)))
        return ranking(pool, np.asarray(picks, np.int64), self.name)


def peers(kind: str) -> dict[str, Strategy]:
    """Those whose package is installed and that can rank tasks of `kind`: all for "classification", those that look at
    embeddings alone for other kinds. Of scikit-activeml's others most learn anew for every candidate."""
    found: dict[str, Peer] = {}
    if find_spec("skactiveml"):
        found |= {p.name: p for p in _SKACTIVEML}
    if find_spec("modAL"):
        found |= {p.name: p for p in _MODAL}
    return {name: p for name, p in found.items() if kind == "classification" or not p.answers}


def _coreset(pool: Pool, count: int, seed: int) -> NDArray[np.int64]:
    from skactiveml.pool import CoreSet

    return _query(CoreSet(random_state=seed), pool, count)


def _typiclust(pool: Pool, count: int, seed: int) -> NDArray[np.int64]:
    from skactiveml.pool import TypiClust

    return _query(TypiClust(random_state=seed), pool, count)


def _probcover(pool: Pool, count: int, seed: int) -> NDArray[np.int64]:
    """n_classes: how many the project has, as its authors set it, labelled or not."""
    from skactiveml.pool import ProbCover

    classes = None if pool.have is None else max(len(pool.have), 2)
    return _query(ProbCover(n_classes=classes, random_state=seed), pool, count)


def _maxherding(pool: Pool, count: int, seed: int) -> NDArray[np.int64]:
    from skactiveml.pool import MaxHerding

    return _query(MaxHerding(random_state=seed), pool, count)


def _badge(pool: Pool, count: int, seed: int) -> NDArray[np.int64]:
    """Gradients of the study's own head, on the embeddings."""
    from skactiveml.pool import Badge

    return _query(Badge(random_state=seed), pool, count, clf=_answering(pool), fit_clf=False)


def _dropquery(pool: Pool, count: int, seed: int) -> NDArray[np.int64]:
    """It asks the model about embeddings with parts left out: a logistic regression on the embeddings, as in its
    tutorial; its clustering gets the seed that it does not pass on by itself."""
    from skactiveml.classifier import SklearnClassifier
    from skactiveml.pool import DropQuery
    from sklearn.linear_model import LogisticRegression

    classes = np.unique(_classes(pool)).astype(float)
    if len(classes) < 2:
        return np.random.default_rng(seed).permutation(len(pool))[:count]
    head = SklearnClassifier(LogisticRegression(max_iter=1000), classes=classes, random_state=seed)
    query = DropQuery(cluster_algo_dict={"random_state": seed}, random_state=seed)
    return _query(query, pool, count, clf=head, fit_clf=True)


def _falcun(pool: Pool, count: int, seed: int) -> NDArray[np.int64]:
    from skactiveml.pool import Falcun

    return _query(Falcun(random_state=seed), pool, count, clf=_answering(pool), fit_clf=False)


def _clue(pool: Pool, count: int, seed: int) -> NDArray[np.int64]:
    from skactiveml.pool import Clue

    query = Clue(cluster_algo_dict={"random_state": seed}, random_state=seed)
    return _query(query, pool, count, estimator=_answering(pool), fit_estimator=False)


@dataclass(frozen=True, slots=True)
class _Uncertainty:
    """scikit-activeml's UncertaintySampling by `method`."""

    method: str

    def __call__(self, pool: Pool, count: int, seed: int) -> NDArray[np.int64]:
        from skactiveml.pool import UncertaintySampling

        query = UncertaintySampling(method=self.method, random_state=seed)
        return _query(query, pool, count, clf=_answering(pool), fit_clf=False)


@dataclass(frozen=True, slots=True)
class _Modal:
    """A function of modAL: margin_sampling, entropy_sampling, uncertainty_batch_sampling (ranked batches)."""

    function: str

    def __call__(self, pool: Pool, count: int, seed: int) -> NDArray[np.int64]:
        import modAL.batch
        import modAL.uncertainty

        function = getattr(modAL.uncertainty, self.function, None) or getattr(modAL.batch, self.function)
        found = function(_Learner(pool), np.asarray(pool.embedding, np.float64), n_instances=count)
        return np.asarray(found[0] if isinstance(found, tuple) else found, np.int64)


class _Learner:
    """What modAL's functions ask of a learner: the study's head, and what it learned from."""

    on_transformed = False

    def __init__(self, pool: Pool) -> None:
        self._proba, self.X_training = pool.proba, np.asarray(pool.labelled, np.float64)

    def predict_proba(self, _: Any) -> NDArray[np.float32] | None:
        """Of the whole pool, which is all that it is asked about."""
        return self._proba

    def transform_without_estimating(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Nothing to transform."""
        return rows


def _query(query: Any, pool: Pool, count: int, **more: Any) -> NDArray[np.int64]:
    """The unlabelled rows come first in what the query sees, so that its answers are rows of the pool."""
    x = np.concatenate([pool.embedding, pool.labelled]).astype(np.float64)
    y = np.concatenate([np.full(len(pool), np.nan), _classes(pool)])
    return np.asarray(query.query(X=x, y=y, batch_size=count, **more), np.int64)


def _classes(pool: Pool) -> NDArray[np.float64]:
    """Selectors that look at embeddings only still want to see a label: any will do."""
    return np.zeros(len(pool.labelled)) if pool.classes is None else pool.classes.astype(np.float64)


def _answering(pool: Pool) -> Any:
    """The study's head as a classifier of scikit-activeml: it answers for the pool, all of it and nothing else."""
    from skactiveml.base import SkactivemlClassifier

    proba = np.asarray(pool.proba, np.float64)

    class Answering(SkactivemlClassifier):  # type: ignore[misc]
        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            return self

        def predict_proba(self, X: Any) -> NDArray[np.float64]:
            if len(X) != len(proba):
                raise InvalidInput(f"asked about {len(X)} rows, knows {len(proba)}")
            return proba

    answering = Answering(classes=np.arange(proba.shape[1], dtype=float))
    answering.classes_ = np.arange(proba.shape[1], dtype=float)
    return answering


_SKACTIVEML = (
    Peer("skactiveml-coreset", _coreset, cold=True, answers=False),
    Peer("skactiveml-typiclust", _typiclust, cold=True, answers=False),
    Peer("skactiveml-probcover", _probcover, cold=True, answers=False),
    Peer("skactiveml-maxherding", _maxherding, cold=True, answers=False),
    Peer("skactiveml-badge", _badge),
    Peer("skactiveml-dropquery", _dropquery),
    Peer("skactiveml-falcun", _falcun),
    Peer("skactiveml-clue", _clue),
    Peer("skactiveml-least-confidence", _Uncertainty("least_confident")),
    Peer("skactiveml-margin", _Uncertainty("margin_sampling")),
    Peer("skactiveml-entropy", _Uncertainty("entropy")),
)
_MODAL = (
    Peer("modal-margin", _Modal("margin_sampling")),
    Peer("modal-entropy", _Modal("entropy_sampling")),
    Peer("modal-batch", _Modal("uncertainty_batch_sampling")),
)
