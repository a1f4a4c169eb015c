"""Memory that runs out, disks that are full, several processes: a training says so, and does what can be done."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if any(importlib.util.find_spec(name) is None for name in ("ultralytics", "segmentation_models_pytorch")):
    pytest.skip("the yolo or segmentation extra is not installed", allow_module_level=True)

from groundlook.core.errors import TrainingFailed
from groundlook.models.training.parent import Recipe, train_in_child
from groundlook.models.weights.file import digest, read
from tests.models.train_cases import train

MB = 1 << 20


def _prepare(folder: Path) -> dict[str, Any]:
    folder.mkdir()
    for i in range(8):
        np.savez(folder / f"{i:07d}.npz", number=i)
    more = {"labels": ["a"], "message": "8 pictures", "epochs": 2, "aside": [], "factors": [1.0] * 8}
    return {**asdict(Recipe(batch=4, threads=1, device="cpu")), **more}


@pytest.mark.fault("out of memory", "training")
def test_a_full_gpu_halves_what_is_computed_at_a_time_and_says_so(tmp_path: Path) -> None:
    seen: list[tuple[float, str]] = []
    path = train_in_child("tests.models.train_short", "a", None, tmp_path, lambda f, m: seen.append((f, m)), _prepare)
    told = [m for _, m in seen if "out of memory" in m]
    assert told == [
        "out of memory with 4 pictures at a time: goes on with 2, steps stay as large",
        "out of memory with 2 pictures at a time: goes on with 1, steps stay as large",
    ]
    assert "4 a step, 1 at a time" in [m for _, m in seen]
    assert [f for f, _ in seen] == sorted(f for f, _ in seen)
    assert [p.name for p in tmp_path.iterdir()] == ["weights.safetensors"]
    assert read(path).state["weight"].shape == (1, 3)


def test_no_room_for_one_picture_is_a_failure_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="never ran out of memory with one picture at a time: free some"):
        train_in_child("tests.models.train_short", "never", None, tmp_path, lambda f, m: None, _prepare)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "least"), [("unet", 230), ("yolo11p.yaml", 220)])
def test_a_real_limit_of_memory_is_lived_with(kind: str, least: int, tmp_path: Path) -> None:
    seen: list[str] = []
    train(kind, tmp_path, lambda f, m: seen.append(m), count=8, side=320, batch=8, epochs=1, memory=least * MB)
    assert any(m.startswith("out of memory with 8 pictures at a time") for m in seen), seen
    assert [p.name for p in tmp_path.iterdir()] == ["weights.safetensors"]


@pytest.mark.slow
def test_two_processes_learn_together_and_alike(tmp_path: Path) -> None:
    seen: list[str] = []
    one, two = (train("unet", tmp_path / n, lambda f, m: seen.append(m), processes=2, batch=4, epochs=2) for n in "ab")
    assert digest(one) == digest(two)
    assert sum("loss" in m for m in seen) == 4
    assert digest(one) != digest(train("unet", tmp_path / "c", processes=1, batch=4, epochs=2))


@pytest.mark.parametrize("kind", ["unet", pytest.param("yolo11p.yaml", marks=pytest.mark.slow)])
def test_a_frozen_backbone_stays_as_it_came_and_the_head_learns(kind: str, tmp_path: Path) -> None:
    first = train(kind, tmp_path / "a", epochs=1)
    second = train(kind, tmp_path / "b", start=first, epochs=1, mode="frozen")
    before, after = read(first).state, read(second).state
    backbone = ("encoder.",) if kind == "unet" else tuple(f"model.{i}." for i in range(11))
    same = {name for name, value in before.items() if value.equal(after[name])}
    assert {name for name in before if name.startswith(backbone)} <= same
    assert sum(name not in same for name in before) > 10
