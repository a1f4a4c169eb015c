"""A training that was killed goes on, and ends as one that was not."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

if any(importlib.util.find_spec(name) is None for name in ("ultralytics", "segmentation_models_pytorch")):
    pytest.skip("the yolo or segmentation extra is not installed", allow_module_level=True)

from groundlook.core.errors import Cancelled, TrainingFailed
from groundlook.models.weights.file import digest, read
from tests.models.train_cases import child, killer, train

KINDS = ["unet"]
SLOW = ["maskrcnn", "yolo11p.yaml", "yolo11p-seg.yaml", "yolo11p-obb.yaml", "yolo11p-cls.yaml"]


def _kinds() -> list[object]:
    return [*KINDS, *(pytest.param(kind, marks=pytest.mark.slow) for kind in SLOW)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The hash of what an undisturbed training of "unet" ends with."""
    return digest(train("unet", tmp_path_factory.mktemp("whole")))


@pytest.mark.fault("training killed", "training")
@pytest.mark.parametrize("kind", _kinds())
def test_killed_after_an_epoch_it_goes_on_to_the_same_weights(kind: str, whole: str, tmp_path: Path) -> None:
    wanted = whole if kind == "unet" else digest(train(kind, tmp_path / "whole"))
    out, seen = tmp_path / "killed", []
    with pytest.raises(TrainingFailed, match="exit code -9"):
        train(kind, out, killer("epoch 3 of", child))
    assert [p.name for p in out.iterdir()] == ["checkpoint.pt"]
    again = train(kind, out, lambda f, m: seen.append(m))
    assert any(m.startswith("goes on after epoch") for m in seen), seen
    assert sum("loss" in m for m in seen) <= 2
    assert digest(again) == wanted
    assert [p.name for p in out.iterdir()] == ["weights.safetensors"]


@pytest.mark.fault("worker killed", "training in its child")
def test_a_killed_parent_takes_its_child_along_and_the_next_goes_on(whole: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.models.train_cases", "unet", str(tmp_path / "a")]
    parent = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    children: set[psutil.Process] = set()
    while parent.poll() is None:
        children |= set(psutil.Process(parent.pid).children(recursive=True))
        time.sleep(0.1)
    assert parent.returncode == -9
    assert children
    psutil.wait_procs(children, timeout=10)
    assert not any(p.is_running() for p in children)
    seen: list[str] = []
    again = train("unet", tmp_path / "a", lambda f, m: seen.append(m))
    assert any(m.startswith("goes on after epoch") for m in seen), seen
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["weights.safetensors"]
    assert digest(again) == whole


@pytest.mark.fault("corrupt checkpoint", "training")
def test_a_checkpoint_that_is_none_is_not_taken_up(whole: str, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"half of a checkpoint")
    seen: list[str] = []
    assert digest(train("unet", tmp_path, lambda f, m: seen.append(m))) == whole
    assert not any("goes on" in m for m in seen)


def test_a_cancelled_training_leaves_nothing(tmp_path: Path) -> None:
    def progress(fraction: float, message: str) -> None:
        if "epoch 2 of" in message:
            raise Cancelled("somebody cancelled it")

    with pytest.raises(Cancelled):
        train("unet", tmp_path, progress, epochs=50)
    assert not list(tmp_path.iterdir())


def test_it_ends_early_and_keeps_the_best_epoch(tmp_path: Path) -> None:
    seen: list[str] = []
    train("unet", tmp_path, lambda f, m: seen.append(m), count=48, epochs=30, patience=1, rate=0.05)
    epochs = [m for m in seen if m.startswith("epoch") and "loss" in m]
    assert len(epochs) < 30, seen
    told = [float(m.split(", ")[2].split()[0]) for m in epochs]
    assert f"epoch {told.index(min(told)) + 1} was the best" in seen[-2]


@pytest.mark.slow
def test_a_detector_ends_early_too(data_dir: Path, tmp_path: Path) -> None:
    seen: list[str] = []
    start = data_dir / "weights" / "yolov5n_state_dict.pt"  # from scratch it finds nothing for long, which is no reason
    more = {"start": start, "count": 48, "epochs": 20, "patience": 1, "mode": "frozen"}
    path = train("yolov5n.yaml", tmp_path, lambda f, m: seen.append(m), **more)
    assert len([m for m in seen if m.startswith("epoch")]) < 20, seen
    assert read(path).names == ("roof", "pond")
