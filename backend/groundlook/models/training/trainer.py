"""What the trainers of our own networks have in common: examples on disk, a spec, a child that learns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

from groundlook.core.errors import TrainingFailed
from groundlook.core.geo import Tile, WindowPx
from groundlook.core.ports import Progress
from groundlook.core.types import Region
from groundlook.models.training import modes, spool
from groundlook.models.training.parent import Recipe, epochs, shown, train_in_child

_SEEN_START, _SEEN_SCRATCH = 600, 1200


class Lesson(Protocol):
    """What one training for `labels` is to learn of its regions; it counts what it sees."""

    def __init__(self, labels: Sequence[str]) -> None: ...

    def describe(self, regions: Sequence[Region], width: int, height: int) -> spool.Truth:
        """The truth of a tile of `width` × `height` px."""

    def cut(self, truth: spool.Truth, window: WindowPx) -> spool.Truth:
        """The truth of a window of that tile."""

    def classes(self, truth: spool.Truth) -> Iterable[int]:
        """The classes that occur in the truth of a window."""

    def told(self) -> str:
        """How much there was to learn from, in words; "" for nothing."""

    def own(self, written: spool.Written) -> dict[str, Any]:
        """The spec's part that only this kind of network knows."""


class NetworkTrainer:
    """A Trainer. `arch`: see the kind's `network.build`. `epochs`, `mode`: instead of the recipe's."""

    CHILD: ClassVar[str]
    """The module that trains, with a `main` for `child.run`."""
    ARCH: ClassVar[str]
    RECIPE: ClassVar[Recipe]
    LESSON: ClassVar[type[Lesson]]

    def __init__(
        self,
        arch: str = "",
        *,
        epochs: int | None = None,
        mode: modes.Mode | None = None,
        recipe: Recipe | None = None,
    ) -> None:
        self._arch, given = arch or self.ARCH, recipe or self.RECIPE
        self._recipe = replace(given, epochs=epochs or given.epochs, mode=mode or given.mode)

    @property
    def arch(self) -> str:
        """The network's name."""
        return self._arch

    def train(
        self,
        examples: Iterable[tuple[Tile, Sequence[Region]]],
        labels: Sequence[str],
        start: Path | None,
        out: Path,
        progress: Progress,
    ) -> Path:
        """Fit to `examples`, and return `out`/weights.safetensors, whose metadata name the network and the labels.

        `tile.pixels`: uint8 RGB (H, W, 3). `start`: weights of which every tensor that fits is taken, also of a bare
        encoder. An error raised by `progress` ends the child at once. Raises TrainingFailed, InvalidWeights where
        `start` is missing, InvalidInput for pixels that are not uint8.
        """

        def prepare(folder: Path) -> dict[str, Any]:
            lesson = self.LESSON(labels)
            written = spool.write(examples, folder, self._recipe.largest, lesson.describe, lesson.cut, lesson.classes)
            pictures, told = len(written.classes), lesson.told()
            if not told:
                wanted = " or ".join(labels) or "(no labels)"
                raise TrainingFailed(f"none of the {pictures} tiles has a region labelled {wanted}: label some")
            budget = _SEEN_SCRATCH if start is None else _SEEN_START
            chosen = self._recipe.epochs or epochs(pictures, written.side, budget)
            mode = modes.chosen(self._recipe.mode, pictures, start)
            head = " of the head" if mode == "frozen" else ""
            return {
                **asdict(self._recipe),
                **shown(self._recipe, written.places, written.classes),
                "mode": mode,
                "labels": list(labels),
                "epochs": chosen,
                "message": f"{pictures} pictures, {told}, {chosen} epochs{head}",
                **lesson.own(written),
            }

        return train_in_child(self.CHILD, self._arch, start, out, progress, prepare)
