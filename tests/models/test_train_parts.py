"""What all trainings share: class balance, what is set aside, modes, checkpoints, whole files, memory."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

if importlib.util.find_spec("torch") is None:
    pytest.skip("torch is not installed", allow_module_level=True)

import safetensors.torch
import torch

from groundlook.core.errors import TrainingFailed
from groundlook.core.geo import GeoRef, Tile, TileRef
from groundlook.models.training import balance, checkpoint, modes
from groundlook.models.training.aside import FEWEST, place_of, set_aside
from groundlook.models.training.memory import ran_out
from groundlook.models.weights.file import Weights, read, save
from groundlook.models.weights.whole import write_whole

classes = st.lists(st.frozensets(st.integers(0, 4), max_size=3), min_size=1, max_size=60)


@given(classes, st.integers(0, 5))
def test_an_epoch_is_as_long_as_ever_and_rare_classes_come_more_often(inside: list[frozenset[int]], seed: int) -> None:
    factor = balance.factors(inside)
    order = balance.order(factor, np.random.default_rng(seed))
    assert len(order) == len(inside)
    assert factor.min() >= 1.0
    count = Counter(order.tolist())
    wanted = factor * len(factor) / factor.sum()
    assert all(abs(count[i] - wanted[i]) < 1 + 1e-9 for i in range(len(inside)))
    if (factor == factor[0]).all():
        assert sorted(order.tolist()) == list(range(len(inside)))


def test_a_class_in_one_of_a_thousand_pictures_is_shown_ten_times() -> None:
    inside = [frozenset({0})] * 999 + [frozenset({0, 1})]
    factor = balance.factors(inside)
    assert factor[0] == 1.0
    assert factor[-1] == pytest.approx(10.0)  # sqrt(.1 / .001)
    shown = np.concatenate([balance.order(factor, np.random.default_rng(i)) for i in range(40)])
    assert (shown == 999).sum() == pytest.approx(400, rel=0.05)


@given(st.integers(FEWEST, 200), st.integers(1, 12), st.integers(0, 5))
def test_what_is_set_aside_is_whole_places_and_takes_no_class_away(count: int, per: int, seed: int) -> None:
    places = [i // per for i in range(count)]
    inside = [frozenset({0}) if i else frozenset({0, 1}) for i in range(count)]
    aside = set_aside(places, inside, seed)
    assert aside == set_aside(places, inside, seed)
    assert aside
    assert len(aside) <= count / 4
    left = set(range(count)) - set(aside)
    assert not {places[i] for i in aside} & {places[i] for i in left}
    assert {c for i in left for c in inside[i]} == {0, 1}


def test_few_pictures_are_all_learned_from_and_one_place_is_not_split() -> None:
    assert set_aside(list(range(FEWEST - 1)), [frozenset()] * (FEWEST - 1), 0) == []
    assert set_aside([0] * 100, [frozenset()] * 100, 0) == []


def test_neighbours_on_the_map_are_one_place() -> None:
    def tile(x: float, y: float) -> Tile:
        ref = TileRef("a.tif", "e", (0, 0, 10, 10), GeoRef("EPSG:32631", (1.0, 0, x, 0, -1.0, y)))
        return Tile(np.zeros((10, 10, 3), np.uint8), ref)

    assert place_of(tile(0, 40), 0) == place_of(tile(30, 10), 99)
    assert place_of(tile(0, 40), 0) != place_of(tile(40, 40), 0)
    blank = Tile(np.zeros((10, 10, 3), np.uint8))
    assert place_of(blank, 4) == place_of(blank, 7) != place_of(blank, 8)


def test_a_backbone_that_learned_elsewhere_stays_with_few_pictures(tmp_path: Path) -> None:
    state = {"a": torch.zeros(1)}
    coco, ours = tmp_path / "coco.pt", save(tmp_path / "a.safetensors", Weights(state, ("a",), "b"))
    torch.save(state, coco)
    later = save(tmp_path / "b.safetensors", Weights(state, ("a",), "b", founded=True))
    foreign = tmp_path / "c.safetensors"
    safetensors.torch.save_file(state, foreign)
    for start in (coco, later, foreign):
        assert modes.chosen("auto", modes.FEW - 1, start) == "frozen"
        assert modes.chosen("auto", modes.FEW, start) == "full"
        assert modes.chosen("full", 1, start) == "full"
    assert modes.chosen("auto", 1, ours) == "full"  # it learned from a project's few tiles, from random numbers
    assert modes.chosen("frozen", 10**6, ours) == "frozen"
    assert modes.chosen("frozen", 1, None) == modes.chosen("auto", 1, None) == "full"


def test_a_frozen_part_keeps_its_statistics() -> None:
    module = torch.nn.Sequential(torch.nn.BatchNorm2d(2), torch.nn.BatchNorm2d(2))
    modes.freeze(module, "0.")
    modes.learning(module, "0.")
    module(torch.rand(3, 2, 4, 4) + 5)
    assert module[0].running_mean.tolist() == [0.0, 0.0]
    assert min(module[1].running_mean.tolist()) != 0.0
    assert [p.requires_grad for p in module.parameters()] == [False, False, True, True]
    modes.learning(module, "", still=True)
    before = module[1].running_mean.clone()
    module(torch.rand(3, 2, 4, 4) + 5)
    assert torch.equal(module[1].running_mean, before)


def test_a_checkpoint_comes_back_and_a_foreign_or_broken_one_is_none(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    assert checkpoint.kept(path, "k") is None
    checkpoint.keep(path, "k", {"epoch": 3, "state": {"a": torch.arange(4.0)}, "none": None})
    found = checkpoint.kept(path, "k")
    assert found is not None
    assert (found["epoch"], found["state"]["a"].tolist(), found["none"]) == (3, [0.0, 1.0, 2.0, 3.0], None)
    assert checkpoint.kept(path, "other") is None
    content = bytearray(path.read_bytes())
    for place in (0, 40, len(content) // 2, len(content) - 1):
        broken = bytearray(content)
        broken[place] ^= 1
        path.write_bytes(broken)
        assert checkpoint.kept(path, "k") is None
    for length in (0, 10, 32, len(content) // 2):
        path.write_bytes(content[:length])
        assert checkpoint.kept(path, "k") is None


def test_another_picture_epoch_or_start_is_another_training(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "0.npz").write_bytes(b"x")
    (tmp_path / "w.pt").write_bytes(b"w")
    spec = {"data": str(tmp_path / "data"), "start": None, "epochs": 3, "message": "a", "micro": 8}
    key = checkpoint.key_of(spec)
    assert checkpoint.key_of({**spec, "message": "b", "micro": 4}) == key
    assert checkpoint.key_of({**spec, "epochs": 4}) != key
    assert checkpoint.key_of({**spec, "start": str(tmp_path / "w.pt")}) != key
    (tmp_path / "data" / "0.npz").write_bytes(b"y")
    assert checkpoint.key_of(spec) != key


@pytest.mark.parametrize(
    ("error", "yes"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            True,
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (MemoryError(), True),
        (OSError(12, os.strerror(12)), True),
        (RuntimeError("shape mismatch"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_says_that_memory_ran_out(error: BaseException, yes: bool) -> None:
    assert ran_out(error) is yes


_FULL = """
import resource, signal, sys
from pathlib import Path
import torch
from groundlook.core.errors import TrainingFailed
from groundlook.models.weights.file import Weights, save
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    save(Path(sys.argv[1]), Weights({"a": torch.ones(100_000)}))
except TrainingFailed as error:
    print(error)
"""


@pytest.mark.fault("disk full", "checkpoint")
def test_a_full_disk_is_said_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = save(tmp_path / "w.safetensors", Weights({"a": torch.zeros(3)}))
    done = subprocess.run([sys.executable, "-c", _FULL, str(path)], capture_output=True, text=True, check=True)
    assert "can't be written: File too large; make room" in done.stdout
    assert read(path).state["a"].tolist() == [0.0, 0.0, 0.0]
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


@pytest.mark.skipif(not os.access("/dev/full", os.W_OK), reason="no /dev/full here")
def test_no_room_at_all_is_said(tmp_path: Path) -> None:
    partial = tmp_path / f".{os.getpid()}-w"
    partial.symlink_to("/dev/full")  # every write to it says that the disk is full
    with pytest.raises(TrainingFailed, match="No space left on device; make room on that disk"):
        write_whole(tmp_path / "w", b"x" * 100)
    assert not list(tmp_path.iterdir())
