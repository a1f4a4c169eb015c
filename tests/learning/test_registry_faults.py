"""The registry while processes race, are killed, and run out of disk."""

from __future__ import annotations

import json
import multiprocessing as mp
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from groundlook.core.errors import Busy, Conflict, GroundlookError
from groundlook.core.types import ModelCard, ModelVersion
from groundlook.learning.registry import FileRegistry, file_sha256
from tests.learning.versions import A, B, registry_of, version

ROUNDS = 50
POINTS = 25


def numbered(who: int, number: int) -> ModelVersion:
    return ModelVersion("yolo", f"{who}{number:011d}")


@pytest.fixture
def spawn() -> Iterator[mp.context.ForkServerContext]:
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(["tests.learning.test_registry_faults"])
    return context


def keep(home: Path, versions: list[ModelVersion]) -> FileRegistry:
    registry = FileRegistry(home / "models")
    weights = home / "w.safetensors"
    weights.write_bytes(b"weights")
    for one in versions:
        registry.save(1, ModelCard(one, "yolo", "n", (), file_sha256(weights)), weights)
    return registry


def _promoter(home: Path, who: int, together: Barrier) -> None:
    registry = FileRegistry(home / "models")
    told: list[str] = []
    for number in range(ROUNDS):
        together.wait(30)
        serving = registry.serving(1)
        over = None if serving is None else serving.version
        together.wait(30)  # both have seen the same
        try:
            registry.promote(1, numbered(who, number), over)
            told.append("won")
        except Conflict:
            told.append("conflict")
    (home / f"{who}.json").write_text(json.dumps(told))


@pytest.mark.fault("two workers race 50 times", "promotion")
def test_of_two_that_promote_at_once_exactly_one_wins(tmp_path: Path, spawn: mp.context.ForkServerContext) -> None:
    registry = keep(tmp_path, [numbered(who, i) for who in (1, 2) for i in range(ROUNDS)])
    together = spawn.Barrier(2)
    both = [spawn.Process(target=_promoter, args=(tmp_path, who, together)) for who in (1, 2)]
    for one in both:
        one.start()
    for one in both:
        one.join(60)
        assert one.exitcode == 0
    first, second = (json.loads((tmp_path / f"{who}.json").read_text()) for who in (1, 2))
    assert [sorted(pair) for pair in zip(first, second, strict=True)] == [["conflict", "won"]] * ROUNDS
    last = registry.serving(1)
    assert last is not None
    assert last.version == numbered(1 if first[-1] == "won" else 2, ROUNDS - 1)
    assert len(list((tmp_path / "models" / "1" / "promotions").iterdir())) == ROUNDS


def _killed_at(point: int) -> None:
    """Before the `point`-th call of a C function from here on, of which the system calls are some."""
    left = point

    def count(frame: object, event: str, what: object) -> None:
        nonlocal left
        if event == "c_call":
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)


def _promote(home: Path, point: int) -> None:
    registry = FileRegistry(home / "models")
    _killed_at(point)
    registry.promote(1, B, A)
    sys.setprofile(None)


def _roll_back(home: Path, point: int) -> None:
    registry = FileRegistry(home / "models")
    _killed_at(point)
    registry.rollback(1)
    sys.setprofile(None)


def _save(home: Path, point: int) -> None:
    registry = FileRegistry(home / "models")
    weights = home / "c.safetensors"
    card = ModelCard(version("c"), "yolo", "n", (), file_sha256(weights))
    _killed_at(point)
    registry.save(1, card, weights)
    sys.setprofile(None)


def _judge(home: Path, point: int) -> None:
    registry = FileRegistry(home / "models")
    card = registry.cards(1)[0]
    _killed_at(point)
    registry.judged(1, replace(card, verdict="refused", judged=2))
    sys.setprofile(None)


def _points(home: Path, spawn: mp.context.ForkServerContext, what: object) -> Iterator[Path]:
    """A fresh copy of `home` for each of POINTS kills from the first call to the last, and after a run to the end."""
    point, step = 0, 1
    ended = False
    while not ended:
        copy = home.with_name(f"{home.name}-{point}")
        shutil.copytree(home, copy)
        child = spawn.Process(target=what, args=(copy, point))  # type: ignore[arg-type]
        child.start()
        child.join(30)
        ended = child.exitcode == 0
        assert ended or child.exitcode == -signal.SIGKILL
        yield copy
        shutil.rmtree(copy)
        step = max(1, point // 12)  # densely at first, and never an endless number
        point += step


@pytest.mark.fault("killed at every step", "promotion and rollback")
@pytest.mark.parametrize("what", [_promote, _roll_back])
def test_killed_anywhere_the_old_version_serves_or_the_new_one(
    tmp_path: Path, spawn: mp.context.ForkServerContext, what: object
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    registry = registry_of(home, "ab")
    registry.promote(1, A, None)
    if what is _roll_back:
        registry.promote(1, B, A)
    before, after = (A, B) if what is _promote else (B, A)
    seen = []
    for copy in _points(home, spawn, what):
        left = FileRegistry(copy / "models")
        card = left.serving(1)
        assert card is not None
        seen.append(card.version)
        assert left.weights(1, card).exists()
        assert left.withdrawn(1, B) == (what is _roll_back and card.version == A)
        if card.version == before:  # and it can be done again
            if what is _promote:
                left.promote(1, B, A)
            else:
                left.rollback(1)
        assert left.serving(1) == FileRegistry(copy / "models").serving(1)
        now = left.serving(1)
        assert now is not None
        assert now.version == after
    assert len(seen) >= POINTS
    assert seen[0] == before
    assert seen[-1] == after
    assert seen == sorted(seen, key=lambda v: v == after)  # at one moment, and never back


@pytest.mark.fault("killed at every step", "a version is kept")
def test_killed_anywhere_a_version_is_kept_whole_or_not_at_all(
    tmp_path: Path, spawn: mp.context.ForkServerContext
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    registry_of(home, "ab")
    (home / "c.safetensors").write_bytes(b"weights c")
    seen = []
    for copy in _points(home, spawn, _save):
        left = FileRegistry(copy / "models")
        kept = {c.version: c for c in left.cards(1)}
        seen.append(version("c") in kept)
        if version("c") in kept:
            assert left.weights(1, kept[version("c")]).read_bytes() == b"weights c"
        else:
            _save(copy, 10**9)
        left.promote(1, version("c"), None)
    assert len(seen) >= POINTS
    assert not seen[0]
    assert seen[-1]
    assert seen == sorted(seen)


@pytest.mark.fault("killed at every step", "a version is judged again")
def test_killed_anywhere_the_judgement_before_stands_or_the_new_one(
    tmp_path: Path, spawn: mp.context.ForkServerContext
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    registry_of(home, "a")
    seen = []
    for copy in _points(home, spawn, _judge):
        left = FileRegistry(copy / "models")
        (card,) = left.cards(1)
        assert (card.verdict, card.judged) in (("", 0), ("refused", 2))
        assert left.weights(1, card).exists()
        seen.append(card.judged)
        _judge(copy, 10**9)
        assert left.cards(1)[0].judged == 2
    assert len(seen) >= POINTS
    assert (seen[0], seen[-1]) == (0, 2)
    assert seen == sorted(seen)


def _saver(home: Path, together: Barrier) -> None:
    registry = FileRegistry(home / "models")
    weights = home / "w.safetensors"
    sha = file_sha256(weights)
    for number in range(ROUNDS):
        together.wait(30)
        registry.save(1, ModelCard(numbered(3, number), "yolo", "n", (), sha, created=float(number)), weights)


def test_several_that_save_the_same_version_leave_one(tmp_path: Path, spawn: mp.context.ForkServerContext) -> None:
    registry = keep(tmp_path, [])
    together = spawn.Barrier(3)
    savers = [spawn.Process(target=_saver, args=(tmp_path, together)) for _ in range(3)]
    for one in savers:
        one.start()
    for one in savers:
        one.join(60)
        assert one.exitcode == 0
    assert [c.version for c in registry.cards(1)] == [numbered(3, i) for i in range(ROUNDS)]
    assert not [p for p in (tmp_path / "models" / "1").iterdir() if p.name.startswith(".")]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.fault("disk full", "registry")
@pytest.mark.filterwarnings("default")
def test_a_full_disk_keeps_what_was_there_and_says_so(small_disk: Path, tmp_path: Path) -> None:
    registry = registry_of(small_disk, "ab")
    registry.promote(1, A, None)
    big = tmp_path / "big.safetensors"
    big.write_bytes(os.urandom(2_000_000))
    card = ModelCard(version("c"), "yolo", "n", (), file_sha256(big))
    with pytest.raises(Busy, match=r"no space is left for .*yolo@c+: nothing was kept; make room and try again"):
        registry.save(1, card, big)
    assert not [p for p in (small_disk / "models" / "1").iterdir() if p.name.startswith(".")]
    fill(small_disk)
    with pytest.raises(Busy, match="no space is left"):
        registry.promote(1, B, A)
    with pytest.raises(Busy, match=r"no space is left for .*card.json: it stays as it was"):
        registry.judged(1, replace(registry.cards(1)[0], verdict="refused", metrics={str(i): 0.5 for i in range(9999)}))
    with pytest.raises(GroundlookError):
        registry.rollback(1)
    fresh = FileRegistry(small_disk / "models")
    assert [(c.version, c.verdict) for c in fresh.cards(1)] == [(A, ""), (B, "")]
    assert fresh.serving(1) == registry.serving(1) == fresh.cards(1)[0]
    (small_disk / "rest").unlink()
    registry.promote(1, B, A)
    assert fresh.serving(1) == fresh.cards(1)[1]


def fill(disk: Path) -> None:
    """To the last byte."""
    try:
        with (disk / "rest").open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 512)
    except OSError:
        pass
