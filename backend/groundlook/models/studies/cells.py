"""The learner of the dense studies: a small network on the cells of frozen maps, learned from scratch every round."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Recipe:
    """`drawn`: cells per step; `wanted`: the share of them that holds something, if there are such at all."""

    width: int = 64
    steps: int = 150
    drawn: int = 1024
    wanted: float = 0.3
    rate: float = 4e-3
    decay: float = 0.05
    dropout: float = 0.3


Loss = Callable[["torch.Tensor", "torch.Tensor", "torch.Tensor", float], "torch.Tensor"]
"""(outputs (B, O), which cells (B,), the weight of each (B,), the share of cells that hold something) → a number."""


@contextmanager
def one_thread(seed: int) -> Iterator[Any]:
    """torch on one thread, so that sums are the same on every run, and with its random state put back afterwards."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield torch
    finally:
        torch.set_num_threads(threads)


def network(inputs: int, outputs: int, bias: NDArray[np.float32], recipe: Recipe) -> torch.nn.Module:
    """Two hidden layers; at the start it says `bias` (outputs,) of every cell."""
    import torch
    from torch import nn

    width, last = recipe.width, nn.Linear(recipe.width, outputs)
    nn.init.normal_(last.weight, 0, 0.01)
    with torch.no_grad():
        last.bias.copy_(torch.from_numpy(bias))
    first = (nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(recipe.dropout))
    return nn.Sequential(*first, nn.Linear(width, width), nn.ReLU(), last)


def learn(
    cells: NDArray[np.float16],
    held: NDArray[np.bool_],
    loss: Loss,
    bias: NDArray[np.float32],
    seed: int,
    recipe: Recipe,
) -> torch.nn.Module:
    """A network that was fitted to `cells` (M, P). `held` (M,): which hold something: they are drawn more often than
    they are, and weigh so much less."""
    with one_thread(seed) as torch:
        given = torch.from_numpy(cells)
        net = network(given.shape[1], len(bias), bias, recipe)
        optimiser = torch.optim.AdamW(net.parameters(), recipe.rate, weight_decay=recipe.decay)
        pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=recipe.steps, pct_start=0.1)
        groups = [torch.from_numpy(np.flatnonzero(part)) for part in (held, ~held)]
        share = float(held.mean())
        wanted = recipe.wanted if 0 < share < 1 else float(share > 0)
        counts = (round(recipe.drawn * wanted), recipe.drawn - round(recipe.drawn * wanted))
        weights = [
            whole / max(drawn / recipe.drawn, 1e-9) for whole, drawn in zip((share, 1 - share), counts, strict=True)
        ]
        weight = torch.cat([torch.full((n,), float(w)) for n, w in zip(counts, weights, strict=True)])
        for _ in range(recipe.steps):
            places = torch.cat([g[torch.randint(len(g), (n,))] for g, n in zip(groups, counts, strict=True) if n])
            value = loss(net(given[places].float()), places, weight, share)
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            optimiser.step()
            pace.step()
    return net.eval()


def say(net: torch.nn.Module, maps: NDArray[np.float16], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """What it says of tiles `rows` of `maps` (N, h, w, P): float32 (len(rows), h, w, O)."""
    height, width, parts = maps.shape[1:]
    found = []
    with one_thread(0) as torch, torch.inference_mode():
        for start in range(0, len(rows), _AT_ONCE):
            some = maps[rows[start : start + _AT_ONCE]].reshape(-1, parts).astype(np.float32)
            found.append(net(torch.from_numpy(some)).numpy())
    if not found:
        return np.zeros((0, height, width, 0), np.float32)
    return np.asarray(np.concatenate(found), np.float32).reshape(len(rows), height, width, -1)
