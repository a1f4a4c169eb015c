"""The training process: `python -m groundlook.models.yolo.train_child spec.json`, started by train.py."""

from __future__ import annotations

import json
import math
import os
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundlook.core.errors import GroundlookError
from groundlook.core.process import die_with_parent, lower_priority, report
from groundlook.models.weights.file import Weights, read, save
from groundlook.models.yolo import network, offline

if TYPE_CHECKING:
    import torch

_ALWAYS = {
    "mode": "train",
    "workers": 0,
    "plots": False,
    "val": False,
    "save": False,
    "cache": "ram",
    "deterministic": True,
    "exist_ok": True,
    "verbose": False,
}


def main(spec_path: Path) -> None:
    """Train as the spec says, and report the weights' path."""
    die_with_parent()
    lower_priority(10)
    spec: dict[str, Any] = json.loads(spec_path.read_text(encoding="utf-8"))
    threads = int(spec["threads"] or max(1, _cores() - 1))
    import torch

    torch.set_num_threads(threads)
    offline.ultralytics(Path(os.environ["YOLO_CONFIG_DIR"]), threads)
    trainer = _trainer(spec)
    trainer.add_callback("on_train_epoch_end", _report)
    trainer.train()
    state = _checked(trainer.ema.ema.state_dict())
    weights = save(Path(spec["weights"]), Weights(state, tuple(spec["labels"]), spec["arch"]))
    report(1.0, "trained", {"weights": str(weights), "epochs": spec["epochs"], "loss": _loss(trainer)})


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _trainer(spec: dict[str, Any]) -> Any:
    """ultralytics' trainer of the network's kind, without its checkpoints and validations, on our network and
    weights."""
    kind = network.kind_of(spec["arch"])
    base = _base(kind)

    class Trainer(base):  # type: ignore[misc,valid-type]
        def get_model(self, cfg: object = None, weights: object = None, verbose: bool = True) -> torch.nn.Module:
            model = network.build(spec["arch"], len(spec["labels"]))
            if spec["start"]:
                fitted, total = network.transfer(model, read(Path(spec["start"])).state)
                report(0.0, f"{fitted} of {total} tensors start from {Path(spec['start']).name}")
            return model

        def get_dataloader(self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train") -> Any:
            # Nothing is validated here (the gate does that), so no second loader is filled.
            return (
                super().get_dataloader(dataset_path, batch_size, rank, mode) if mode == "train" else self.train_loader
            )

        def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
            return _turned(super().preprocess_batch(batch), kind)

        def validate(self) -> tuple[dict[str, float], float]:
            return {}, 0.0

        def save_model(self) -> bool:
            return False

        def final_eval(self) -> None:
            return None

    return Trainer(overrides={**_ALWAYS, **spec["arguments"], "model": spec["arch"]})


def _base(kind: network.Kind) -> Any:
    from ultralytics.models.yolo.classify import ClassificationTrainer
    from ultralytics.models.yolo.detect import DetectionTrainer
    from ultralytics.models.yolo.obb import OBBTrainer
    from ultralytics.models.yolo.segment import SegmentationTrainer

    trainers = {
        "detect": DetectionTrainer,
        "segment": SegmentationTrainer,
        "obb": OBBTrainer,
        "classify": ClassificationTrainer,
    }
    return trainers[kind]


def _turned(batch: dict[str, Any], kind: network.Kind) -> dict[str, Any]:
    """Every other batch with x and y exchanged: with the two flips, all eight ways to look at the ground."""
    if random.random() < 0.5:  # noqa: S311 (ultralytics seeds it)
        batch["img"] = batch["img"].transpose(2, 3).contiguous()
        for name in ("masks", "sem_masks"):
            if name in batch:
                batch[name] = batch[name].transpose(-2, -1).contiguous()
        if kind == "obb":  # centre, width, height, radians: the width's axis is mirrored at the diagonal
            boxes = batch["bboxes"]
            batch["bboxes"] = boxes[:, [1, 0, 2, 3, 4]]
            batch["bboxes"][:, 4] = math.pi / 2 - boxes[:, 4]
        elif kind != "classify":
            batch["bboxes"] = batch["bboxes"][:, [1, 0, 3, 2]]
    return batch


def _report(trainer: Any) -> None:
    done = trainer.epoch + 1
    report(done / trainer.epochs * 0.98, f"epoch {done} of {trainer.epochs}, loss {_loss(trainer):.3f}")


def _loss(trainer: Any) -> float:
    return float(sum(float(value) for value in trainer.tloss.values()))


def _checked(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    import torch

    if not all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point()):
        raise SystemExit("the training diverged (weights that are not finite): lower lr0")
    return state


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except GroundlookError as error:  # a sentence, not a traceback, for the person who reads it
        sys.exit(str(error))
