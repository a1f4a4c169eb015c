"""Examples → weights, through ultralytics, in a child process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import Tile
from groundlook.core.ports import Progress
from groundlook.core.types import Region
from groundlook.models.training import modes
from groundlook.models.training.parent import KEEP, Recipe, shown, train_in_child
from groundlook.models.yolo import class_folders, dataset, offline, recipe
from groundlook.models.yolo.network import kind_of

_CHILD = "groundlook.models.yolo.train_child"


class YoloTrainer:
    """A Trainer: what it learns, the name of its network says.

    `arch`: the network's yaml name: "yolo11n.yaml" learns upright boxes, -seg outlines, -obb turned boxes, -cls the
    class of a tile. `epochs`: by default enough for the size of the set (recipe.py). `seed`: same
    seed, same examples, same weights on one machine. `threads`: of the child, by default all cores but one, which
    is for the people who work meanwhile. `device`: "cpu", "0", or "" for CUDA where there is one. `largest`: side
    in pixels beyond which a tile is cut. `arguments`: ultralytics training arguments that override the recipe's.
    `mode`, `patience`, `keep`, `memory`: see `training.parent.Recipe`.
    """

    def __init__(
        self,
        arch: str = "yolov5n.yaml",
        *,
        epochs: int | None = None,
        seed: int = 0,
        threads: int | None = None,
        device: str = "",
        largest: int = dataset.LARGEST,
        arguments: Mapping[str, Any] | None = None,
        mode: modes.Mode = "auto",
        patience: int | None = None,
        keep: float = KEEP,
        memory: int | None = None,
    ) -> None:
        self._arch, self._arguments = arch, {**recipe.arguments(), **(arguments or {})}
        batch = int(self._arguments.pop("batch"))
        self._recipe = Recipe(
            epochs, seed, threads, device, largest, batch, mode=mode, patience=patience, keep=keep, memory=memory
        )

    @property
    def arch(self) -> str:
        """The network's yaml name."""
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

        `tile.pixels`: uint8 RGB (H, W, 3). Regions of any shape count as what the network learns of them: the upright
        or the smallest turned box around them, their outline; of -cls, WholeTile regions only. `start`:
        weights of which every tensor that fits is taken, also where the classes differ. An error raised by
        `progress` ends the child at once. Raises TrainingFailed with the child's last lines;
        InvalidWeights where `start` is missing; InvalidInput for pixels that are not uint8.
        """

        def prepare(folder: Path) -> dict[str, Any]:
            return self._spec(self._write(examples, labels, folder), folder, labels, start)

        return train_in_child(
            _CHILD, self._arch, start, out, progress, prepare, lambda work: offline.environment(work / "config")
        )

    def _write(
        self, examples: Iterable[tuple[Tile, Sequence[Region]]], labels: Sequence[str], folder: Path
    ) -> dataset.Written:
        kind = kind_of(self._arch)
        if kind == "pose":
            raise InvalidInput(
                f"{self._arch} can't be trained here: keypoints are not grouped by object; serve it only"
            )
        if kind == "classify":
            return class_folders.write(examples, labels, folder)
        return dataset.write(examples, labels, folder, self._recipe.largest, kind)

    def _spec(
        self, written: dataset.Written, folder: Path, labels: Sequence[str], start: Path | None
    ) -> dict[str, Any]:
        part = shown(self._recipe, written.places, written.classes)
        dataset.set_aside(folder, {written.names[i] for i in part["aside"]})
        epochs = self._recipe.epochs or recipe.epochs(written.pictures, written.side, start is not None)
        mode = modes.chosen(self._recipe.mode, written.pictures, start)
        head = " of the head" if mode == "frozen" else ""
        return {
            **asdict(self._recipe),
            **part,
            "mode": mode,
            "labels": list(labels),
            "epochs": epochs,
            "yaml": "" if written.yaml == folder else written.yaml.name,
            "arguments": {**self._arguments, "imgsz": written.side},
            "message": f"{written.pictures} pictures, {written.boxes} regions, {epochs} epochs{head}",
        }
