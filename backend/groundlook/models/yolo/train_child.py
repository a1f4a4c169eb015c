"""The training process: `python -m groundlook.models.yolo.train_child spec.json`, started by train.py."""

from __future__ import annotations

import math
import os
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundlook.core.process import report
from groundlook.models.training import child, ranks
from groundlook.models.weights.file import Weights, read, save
from groundlook.models.yolo import network, offline
from groundlook.models.yolo.course import Course, each_epoch, in_order

if TYPE_CHECKING:
    import torch

_ALWAYS = {
    "mode": "train",
    "workers": 0,
    "plots": False,
    "save": True,
    "cache": "ram",
    "deterministic": True,
    "exist_ok": True,
    "verbose": False,
}


def main(spec: dict[str, Any]) -> None:
    """Train as the spec says, and report the weights' path."""
    import torch

    offline.ultralytics(Path(os.environ["YOLO_CONFIG_DIR"]), torch.get_num_threads())
    trainer = _trainer(spec)
    trainer.add_callback("on_train_epoch_start", each_epoch)
    trainer.add_callback("on_train_epoch_end", _report)
    trainer.train()
    if ranks.rank():
        return
    state = _checked(trainer.course.weights())
    weights = save(Path(spec["weights"]), Weights(state, tuple(spec["labels"]), spec["arch"], spec["founded"]))
    report(1.0, "trained", {"weights": str(weights), "epochs": trainer.epoch + 1, "loss": _loss(trainer)})


def _trainer(spec: dict[str, Any]) -> Any:
    """ultralytics' trainer of the network's kind, on our network and weights, and with our checkpoints."""
    kind = network.kind_of(spec["arch"])
    base = _base(kind)

    class Trainer(base):  # type: ignore[misc,valid-type]
        course: Course

        def get_model(self, cfg: object = None, weights: object = None, verbose: bool = True) -> torch.nn.Module:
            model: Any = network.build(spec["arch"], len(spec["labels"]))
            if spec["start"]:
                fitted, total = network.transfer(model, read(Path(spec["start"])).state)
                report(0.0, f"{fitted} of {total} tensors start from {Path(spec['start']).name}")
            if spec["mode"] == "frozen":
                self.args.freeze = len(model.yaml["backbone"])
            return model

        def get_dataloader(self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train") -> Any:
            if mode == "train":
                return in_order(super().get_dataloader(dataset_path, batch_size, rank, mode), spec)
            if not spec["aside"]:  # nothing is measured here (the gate does that), so no second loader is filled
                return self.train_loader
            return super().get_dataloader(str(Path(dataset_path).with_name("val")), batch_size, rank, mode)

        def _build_train_pipeline(self) -> None:
            if self.optimizer is not None:  # ultralytics halves the batch in the first epoch; the parent does in all
                raise MemoryError("out of memory on the GPU")
            super()._build_train_pipeline()

        def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
            return _turned(super().preprocess_batch(batch), kind)

        def resume_training(self, ckpt: object) -> None:
            self.course = Course(self, spec)

        def validate(self) -> tuple[dict[str, float], float]:
            return super().validate() if spec["aside"] else ({}, 0.0)

        def save_model(self) -> bool:
            self.course.epoch_done()
            return False

        def final_eval(self) -> None:
            return None

    return Trainer(overrides={**_ALWAYS, **_arguments(spec)})


def _arguments(spec: dict[str, Any]) -> dict[str, Any]:
    import torch

    data = Path(spec["data"])
    gpus = ",".join(str(i) for i in range(spec["world"])) if spec["world"] > 1 else ""
    fast = spec["device"] != "cpu" and torch.cuda.is_bf16_supported(including_emulation=False)
    return {
        "amp": "bf16" if fast else False,
        "val": bool(spec["aside"]),
        "patience": spec["patience"] if spec["aside"] else 0,
        **spec["arguments"],
        "batch": spec["micro"],
        "epochs": spec["epochs"],
        "seed": spec["seed"],
        "device": gpus if spec["device"] == "cuda" else spec["device"],
        "model": spec["arch"],
        "data": str(data / spec["yaml"]),
        "project": str(data.parent),
        "name": "run",
    }


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
    child.run(main)
