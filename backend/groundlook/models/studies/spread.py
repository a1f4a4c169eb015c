"""The learner of a classification study that also learns from what nobody labelled: labels spread to their neighbours.

Zhou et al., "Learning with Local and Global Consistency", NIPS 2003: on a graph of nearest neighbours each label passes
a share of itself on. A logistic regression then learns from all images, each with the label that reached it, trusted as
far as that label is alone there. It pays most where labels are few.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from groundlook.models.studies.head import Probabilities, Seen, regression, unit

NEIGHBOURS, SHARPNESS = 10, 3.0
"""Of each image in the graph; and the power of their cosine that says how near they are."""
PASSED = 0.9
"""The share of its label that an image passes on, α of the paper."""
STEPS = 60
TRUST = 0.3
"""What a label that was passed on weighs beside a person's, where it is the only one that came."""


def graph(features: NDArray[Any]) -> sparse.csr_matrix:
    """The nearest neighbours of rows (N, P) of unit length: sparse (N, N), symmetric, each weighed by its cosine and
    normalised on both sides, S of the paper."""
    from sklearn.neighbors import NearestNeighbors

    count = min(NEIGHBOURS, len(features) - 1)
    near = NearestNeighbors(n_neighbors=count).fit(features).kneighbors_graph(mode="distance")
    near.data = np.maximum(1 - near.data**2 / 2, 0) ** SHARPNESS  # the cosine of unit rows
    both = near.maximum(near.T).tocsr()
    scale = sparse.diags(1 / np.sqrt(np.maximum(np.asarray(both.sum(axis=1)).ravel(), 1e-12)))
    return (scale @ both @ scale).tocsr()


def passed_on(
    near: sparse.csr_matrix, rows: NDArray[np.int64], classes: NDArray[np.int64], count: int
) -> NDArray[np.float64]:
    """Float64 (N, count): how much of each class reaches each image, rows sum to 1 (or to 0 where none does), when
    `rows` (K,) have `classes` (K,). A class with more labels reaches no further than another."""
    start = np.zeros((near.shape[0], count))
    start[rows, classes] = 1
    start /= np.maximum(start.sum(axis=0), 1)
    reached = start
    for _ in range(STEPS):
        reached = PASSED * (near @ reached) + (1 - PASSED) * start
    return np.asarray(reached / np.maximum(reached.sum(axis=1, keepdims=True), 1e-12))


@dataclass(frozen=True, slots=True)
class SpreadHead:
    """Multinomial logistic regression on `parts` half-whitened principal components, of labels that were passed on."""

    parts: int = 128
    inverse_penalty: float = 10.0

    def prepare(self, train: NDArray[np.float32], test: NDArray[np.float32]) -> Seen:
        """See `Head`: signed square roots, standardised, principal components scaled half-way to equal spread, rows of
        unit length; and the graph of `train`."""
        from sklearn.decomposition import PCA
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(_root(train))
        turned = PCA(min(self.parts, *train.shape), random_state=0).fit(scaler.transform(_root(train)))
        scale = np.maximum(turned.explained_variance_, 1e-12) ** -0.25
        mine, asked = (unit(turned.transform(scaler.transform(_root(x))) * scale) for x in (train, test))
        return Seen(mine, asked, graph(mine))

    def fit(
        self, seen: Seen, rows: NDArray[np.int64], classes: NDArray[np.int64], count: int, seed: int
    ) -> Probabilities:
        """See `Head`."""
        reached = passed_on(seen.near, rows, classes, count)
        told, weight = reached.argmax(axis=1), TRUST * reached.max(axis=1) ** 2
        told[rows], weight[rows] = classes, 1.0
        heard = np.flatnonzero(weight > 0)
        return regression(seen, heard, told[heard], weight[heard], count, self.inverse_penalty)


def _root(features: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = features.astype(np.float64)
    return np.asarray(np.sign(wide) * np.sqrt(np.abs(wide)))
