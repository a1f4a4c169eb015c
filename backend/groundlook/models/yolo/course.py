"""A training of ultralytics that ends the same wherever it was cut off: its order, its randomness, its checkpoints.

ultralytics' own checkpoints are pickled networks in half precision, from which no training ends as it would have.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from groundlook.core.process import report
from groundlook.models.training import balance, checkpoint, memory, ranks

if TYPE_CHECKING:
    import torch


class Course:
    """Keeps the state of an ultralytics `trainer` whose networks and optimizer are set up: takes up a checkpoint of
    the same training, and writes the next ones."""

    def __init__(self, trainer: Any, spec: dict[str, Any]) -> None:
        self._trainer, self._spec, self._last = trainer, spec, time.monotonic()
        self._key = checkpoint.key_of(spec)
        self._best: dict[str, torch.Tensor] | None = None
        found = checkpoint.kept(Path(spec["checkpoint"]), self._key)
        if found is not None:
            self._take_up(found)
        memory.limit(spec["memory"])

    def epoch_done(self) -> None:
        """After an epoch was learned and measured: note its weights where it is the best, and keep a checkpoint."""
        trainer = self._trainer
        if self._spec["aside"] and trainer.best_fitness == trainer.fitness:
            self._best = {k: v.detach().cpu().clone() for k, v in trainer.ema.ema.state_dict().items()}
        if time.monotonic() - self._last >= self._spec["keep"] and trainer.epoch + 1 < trainer.epochs:
            checkpoint.keep(Path(self._spec["checkpoint"]), self._key, self._standing())
            self._last = time.monotonic()

    def weights(self) -> dict[str, torch.Tensor]:
        """The best epoch's where pictures are set aside to tell, else the last's: each the mean of the steps before it,
        weighted to the newest."""
        return self._trainer.ema.ema.state_dict() if self._best is None else self._best

    def _standing(self) -> dict[str, Any]:
        t = self._trainer
        return {
            "epoch": t.epoch + 1,
            "model": _network(t).state_dict(),
            "ema": t.ema.ema.state_dict(),
            "updates": t.ema.updates,
            "optimizer": t.optimizer.state_dict(),
            "scaler": t.scaler.state_dict(),
            "fitness": None if t.best_fitness is None else float(t.best_fitness),
            "stopper": [float(t.stopper.best_fitness), int(t.stopper.best_epoch), bool(t.stopper.possible_stop)],
            "best": self._best,
        }

    def _take_up(self, found: dict[str, Any]) -> None:
        t = self._trainer
        _network(t).load_state_dict(found["model"])
        t.ema.ema.load_state_dict(found["ema"])
        t.ema.updates = found["updates"]
        t.optimizer.load_state_dict(found["optimizer"])
        t.scaler.load_state_dict(found["scaler"])
        t.best_fitness, self._best, t.start_epoch = found["fitness"], found["best"], found["epoch"]
        t.stopper.best_fitness, t.stopper.best_epoch, t.stopper.possible_stop = found["stopper"]
        report(t.start_epoch / t.epochs * 0.98, f"goes on after epoch {t.start_epoch} of {t.epochs}")


def each_epoch(trainer: Any) -> None:
    """Before an epoch: give it a randomness of its own, so that whoever starts here draws what others would have."""
    import torch

    seed = trainer.args.seed * 1_000_003 + trainer.epoch * 1009 + ranks.rank()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    trainer.train_loader.sampler.set_epoch(trainer.epoch)


def in_order(loader: Any, spec: dict[str, Any]) -> Any:
    """The same loader with its pictures in our order: rare classes more often, each epoch by its number."""
    dataset = loader.dataset
    if hasattr(dataset, "labels"):
        classes = [{int(c) for c in label["cls"].reshape(-1)} for label in dataset.labels]
    else:
        classes = [{int(sample[1])} for sample in dataset.samples]
    sampler = _Order(classes, spec["seed"], spec["world"])
    kept = ("dataset", "batch_size", "num_workers", "collate_fn", "pin_memory", "worker_init_fn", "generator")
    return type(loader)(**{name: getattr(loader, name) for name in kept}, sampler=sampler)


class _Order:
    """A sampler as PyTorch wants it: this process's share of an epoch."""

    def __init__(self, classes: list[set[int]], seed: int, world: int) -> None:
        self._factor, self._seed, self._world, self._epoch = balance.factors(classes), seed, world, 0

    def set_epoch(self, epoch: int) -> None:
        """Which epoch the next pass is."""
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-len(self._factor) // self._world)

    def __iter__(self) -> Iterator[int]:
        order = balance.order(self._factor, np.random.default_rng([self._seed, self._epoch]))
        whole = np.resize(order, len(self) * self._world)  # as many for each process
        yield from whole[ranks.rank() :: self._world].tolist()


def _network(trainer: Any) -> Any:
    return getattr(trainer.model, "module", trainer.model)
