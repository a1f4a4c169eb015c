"""Examples → a linear head on an embedder: classes of whole tiles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput, InvalidWeights, TrainingFailed
from groundlook.core.geo import Tile
from groundlook.core.geometry import WholeTile
from groundlook.core.ports import Embedder, Progress
from groundlook.core.types import Region
from groundlook.models.classifier.embedders import parse
from groundlook.models.training import balance
from groundlook.models.weights.file import Weights, save

if TYPE_CHECKING:
    import torch

_ROUNDS = 200
_LEAST_SPREAD = 0.5
"""Of the mean deviation of the embedding's numbers: the least that one of them is scaled by."""


class ClassifierTrainer:
    """A Trainer of classes of whole tiles: logistic regression on what an Embedder says of them.

    `arch`: "classifier-thumbnail-1", of whose classes one holds, or "classifier-multiple-thumbnail-1", of which several
    may, each on its own; for another embedder give it, and its name. `strength`: of the L2 penalty, scikit-learn's
    1 / C. `epochs` is not needed: the search ends where the loss does, in seconds, so that it runs in this process.
    Tiles of rare classes count for more, by as much as other trainers show them more often (training/balance.py). The
    same examples give the same weights. Raises InvalidInput for an `arch` that is none.
    """

    def __init__(
        self,
        arch: str = "classifier-thumbnail-1",
        *,
        epochs: int | None = None,
        embedder: Embedder | None = None,
        strength: float = 1.0,
    ) -> None:
        self._arch, self._strength = arch, strength
        self._embedder, self._several = parse(arch, embedder)

    @property
    def arch(self) -> str:
        """Names the embedder and whether several classes may hold: "classifier-thumbnail-1"."""
        return self._arch

    def train(
        self,
        examples: Iterable[tuple[Tile, Sequence[Region]]],
        labels: Sequence[str],
        start: Path | None,
        out: Path,
        progress: Progress,
    ) -> Path:
        """Fit to `examples`, and return `out`/weights.safetensors, whose metadata name the embedder and the labels.

        What counts is a tile's WholeTile regions. Without any, a tile is left out, or, where several classes may hold,
        is one of which none does. Of two classes of a tile that may have one, the first counts. `start` must exist but
        is not needed: the best head does not depend on where the search for it starts. Raises TrainingFailed,
        InvalidWeights where `start` is missing, InvalidInput for pixels that are not uint8.
        """
        if start is not None and not start.is_file():
            raise InvalidWeights(f"start weights {start} don't exist: give another path, or none")
        rows, truth = self._gather(examples, labels, progress)
        if not truth.any():
            wanted = " or ".join(labels) or "(no labels)"
            raise TrainingFailed(f"none of the {len(rows)} tiles has the class {wanted}: choose it for some")
        progress(0.5, f"{len(rows)} tiles, {int(truth.sum())} classes of them, on {self._embedder.name}")
        state = fit(rows, truth, self._several, self._strength)
        path = save(out / "weights.safetensors", Weights(state, tuple(labels), self.arch))
        progress(1.0, "trained")
        return path

    def _gather(
        self, examples: Iterable[tuple[Tile, Sequence[Region]]], labels: Sequence[str], progress: Progress
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        place = {label: i for i, label in enumerate(labels)}
        rows: list[NDArray[np.float32]] = []
        truth: list[NDArray[np.bool_]] = []
        for count, (tile, regions) in enumerate(examples, 1):
            held = [place[r.label] for r in regions if isinstance(r.shape, WholeTile) and r.label in place]
            if not held and not self._several:
                continue
            said = np.zeros(len(labels), dtype=bool)
            said[held if self._several else held[:1]] = True
            rows.append(self._embedder.embed([tile])[0])
            truth.append(said)
            progress(0.5 * count / (count + 100), f"tile {count} seen")
        if not rows:
            return np.zeros((0, 1), np.float32), np.zeros((0, len(labels)), dtype=bool)
        return np.stack(rows), np.stack(truth)


def fit(rows: NDArray[np.float32], truth: NDArray[np.bool_], several: bool, strength: float) -> dict[str, torch.Tensor]:
    """Logistic regression, softmax or (`several`) a sigmoid each, on `rows` (N, D) made of mean 0 and deviation 1;
    `truth`: (N, C). A tile counts by its factor of `balance`; all together count as many as they are. Its tensors:
    "mean", "scale" (D,), "weight" (C, D), "bias" (C,), float32."""
    import torch
    from torch.nn import functional

    if not np.isfinite(rows).all():
        raise InvalidInput("the embedder gave vectors that are not finite")
    mean, spread = rows.mean(axis=0), rows.std(axis=0)
    # What hardly varied among few tiles would be blown up on the first that differs.
    scale = np.maximum(spread, max(_LEAST_SPREAD * float(np.sqrt((spread**2).mean())), 1e-6)).astype(np.float32)
    x = torch.from_numpy((rows - mean) / scale).double()
    y = torch.from_numpy(truth).double()
    often = torch.from_numpy(balance.factors([np.flatnonzero(row).tolist() for row in truth]))
    often *= len(often) / often.sum()
    weight = torch.zeros((truth.shape[1], rows.shape[1]), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(truth.shape[1], dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([weight, bias], max_iter=_ROUNDS, line_search_fn="strong_wolfe")

    def loss() -> Any:
        search.zero_grad()
        logits = x @ weight.T + bias
        if several:
            errors = functional.binary_cross_entropy_with_logits(logits, y, reduction="none").sum(dim=1)
        else:
            errors = functional.cross_entropy(logits, y, reduction="none")
        # A class that nobody chose yet would run away: its bias is held, a little, too.
        total = (often @ errors + strength / 2 * weight.square().sum() + 1e-2 * bias.square().sum()) / len(x)
        total.backward()
        return total

    search.step(loss)
    found = {"mean": torch.from_numpy(mean), "scale": torch.from_numpy(scale), "weight": weight, "bias": bias}
    return {key: value.detach().float() for key, value in found.items()}
