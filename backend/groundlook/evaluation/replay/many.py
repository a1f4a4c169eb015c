"""Every strategy with every seed, in processes, each run kept as it ends so that nothing is done twice."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from groundlook.core.errors import Busy, InvalidInput
from groundlook.core.ports import Progress, Strategy, Study
from groundlook.evaluation.replay.run import CannotRank, learn_all, run
from groundlook.evaluation.replay.values import Replay, Run, Setup

FULL = "all-labels"
"""The name under which what all labels together come to is kept."""

Key = tuple[str, int]
"""Strategy and seed."""

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def replay(
    study: Study,
    strategies: Mapping[str, Strategy],
    seeds: Sequence[int],
    setup: Setup,
    out: Path | None = None,
    jobs: int = 1,
    progress: Progress = lambda _, __: None,
) -> Replay:
    """Every strategy with every seed: those of one seed start alike and learn with the same seed, so they are pairs.

    `out`: each run that ends is kept as `out`/runs/<strategy>-<seed>.json, and one that is kept is not done again: who
    changes the code of a strategy or of the study deletes them. `jobs`: processes; with more than one, study and
    strategies are pickled. A strategy that raises is left out, and the replay says why. Raises InvalidInput when all
    are, and when `out` holds runs of another study or setup, and Busy when a process dies."""
    setting = {"study": study.name, "digest": _digest(study), **asdict(setup)}
    wanted = [(name, seed) for seed in seeds for name in (*strategies, FULL)]
    done = {key: kept for key in wanted if (kept := _kept(out, *key, setting)) is not None}
    left_out: dict[str, str] = {}
    todo = [key for key in wanted if key not in done]
    for count, (key, found) in enumerate(_runs(study, strategies, todo, setup, jobs), start=len(done) + 1):
        if isinstance(found, CannotRank):
            left_out[key[0]] = str(found)
            progress(count / len(wanted), f"left out: {found}")
            continue
        _keep(out, found, setting)
        done[key] = found
        progress(count / len(wanted), f"{found.strategy}, seed {found.seed}: {found.quality[-1]:.3f}")
    if len(left_out) == len(strategies):
        raise InvalidInput(f"no strategy could rank: {'; '.join(left_out.values())}")
    runs = tuple(done[name, seed] for name in strategies for seed in seeds if name not in left_out)
    full = tuple(done[FULL, seed] for seed in seeds)
    return Replay(study.name, study.kind, study.measure, setup, runs, full, left_out)


def _runs(
    study: Study,
    strategies: Mapping[str, Strategy],
    todo: Sequence[Key],
    setup: Setup,
    jobs: int,
) -> Iterator[tuple[Key, Run | CannotRank]]:
    if jobs <= 1 or len(todo) <= 1:
        for key in todo:
            yield key, _one(study, strategies, setup, *key)
        return
    with _one_thread_each(), _pool(min(jobs, len(todo)), (study, dict(strategies), setup)) as pool:
        try:
            futures: dict[Future[Run | CannotRank], Key] = {pool.submit(_work, *key): key for key in todo}
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool:
            raise Busy(
                "a process of the replay died, of memory perhaps; try again with fewer --jobs: it goes on from "
                "what is kept"
            ) from None
        except BaseException:  # Ctrl-C too: what has not begun never does, what is kept stays
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _pool(jobs: int, shared: tuple[Study, dict[str, Strategy], Setup]) -> ProcessPoolExecutor:
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, mp_context=spawn, initializer=_share, initargs=shared)


_SHARED: list[Any] = []


def _share(*shared: Any) -> None:
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends a worker at once and without a word
    _SHARED[:] = shared


def _work(name: str, seed: int) -> Run | CannotRank:
    study, strategies, setup = _SHARED
    return _one(study, strategies, setup, name, seed)


def _one(study: Study, strategies: Mapping[str, Strategy], setup: Setup, name: str, seed: int) -> Run | CannotRank:
    if name == FULL:
        return learn_all(study, name, seed)
    try:
        return run(study, strategies[name], name, seed, setup)
    except CannotRank as error:
        return error


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes share the cores already; what a user has set stays."""
    added = [name for name in _THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(added, "1"))
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _digest(study: Study) -> str:
    found = hashlib.sha256(f"{study.name}|{study.kind}|{study.measure}".encode())
    for values in (study.labels, study.seconds, study.foreground):
        found.update(np.ascontiguousarray(values).tobytes())
    return found.hexdigest()[:16]


def _path(out: Path, strategy: str, seed: int) -> Path:
    return out / "runs" / f"{strategy}-{seed}.json"


def _keep(out: Path | None, found: Run, setting: Mapping[str, Any]) -> None:
    if out is None:
        return
    path = _path(out, found.strategy, found.seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps({"setting": setting, "run": found.body()}))
    temporary.replace(path)


def _kept(out: Path | None, strategy: str, seed: int, setting: Mapping[str, Any]) -> Run | None:
    if out is None or not (path := _path(out, strategy, seed)).exists():
        return None
    body = json.loads(path.read_text())
    if body["setting"] != setting:
        before = ", ".join(f"{k} {v}, not {setting.get(k)}" for k, v in body["setting"].items() if setting.get(k) != v)
        raise InvalidInput(f"{path} is of another replay ({before}); name another --out, or delete it")
    return Run.of(body["run"])
