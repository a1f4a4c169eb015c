"""Examples → weights, through ultralytics, in a child process."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from groundlook.core.errors import InvalidInput, InvalidWeights, TrainingFailed
from groundlook.core.geo import Tile
from groundlook.core.ports import Progress
from groundlook.core.process import run_child
from groundlook.core.types import Region
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
    ) -> None:
        self._arch, self._epochs, self._seed, self._threads = arch, epochs, seed, threads
        self._device, self._largest, self._arguments = device, largest, dict(arguments or {})

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
        if start is not None and not start.is_file():
            raise InvalidWeights(f"start weights {start} don't exist: give another path, or none")
        out.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=out, prefix=".train-"))
        try:
            written = self._write(examples, labels, work / "data")
            spec = self._spec(written, labels, start, work, out / "weights.safetensors")
            (work / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
            progress(0.0, f"{written.pictures} pictures, {written.boxes} regions, {spec['epochs']} epochs")
            result = run_child(_CHILD, [str(work / "spec.json")], progress, self._environment(work))
        finally:
            shutil.rmtree(work, ignore_errors=True)
        path = Path(str(result.get("weights", "")))
        if not path.is_file():
            raise TrainingFailed(f"the training of {self._arch} ended without weights at {path}: try again")
        return path

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
        return dataset.write(examples, labels, folder, self._largest, kind)

    def _spec(
        self, written: dataset.Written, labels: Sequence[str], start: Path | None, work: Path, weights: Path
    ) -> dict[str, Any]:
        pretrained = start is not None
        epochs = self._epochs or recipe.epochs(written.pictures, written.side, pretrained)
        return {
            "arch": self._arch,
            "labels": list(labels),
            "start": str(start.resolve()) if start else None,
            "weights": str(weights.resolve()),
            "epochs": epochs,
            "threads": self._threads,
            "arguments": {
                **recipe.arguments(),
                **self._arguments,
                "data": str(written.yaml),
                "imgsz": written.side,
                "epochs": epochs,
                "seed": self._seed,
                "device": self._device,
                "project": str(work),
                "name": "run",
            },
        }

    def _environment(self, work: Path) -> dict[str, str]:
        # Waiting threads that spin are ruinous beside other work: on two busy cores, 5.1 s an epoch instead of 0.3.
        return {**offline.environment(work / "config"), "OMP_WAIT_POLICY": "PASSIVE"}
