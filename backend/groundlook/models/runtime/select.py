"""The fastest runtime that is installed and computes the same: found once, kept, used from then on."""

from __future__ import annotations

import fcntl
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from groundlook.core.errors import InvalidInput, TrainingFailed
from groundlook.models.runtime.inside_torch import load as load_torch
from groundlook.models.runtime.inside_torch import need_torch
from groundlook.models.runtime.machine import export_made_with, made_with
from groundlook.models.runtime.network import Compiled, Loaded, Network
from groundlook.models.runtime.record import (
    PREPARED,
    Choice,
    Prepared,
    Trial,
    digest,
    read_choice,
    read_prepared,
    write,
)
from groundlook.models.runtime.runtimes import EAGER, RUNTIMES, load, missing, of_torch
from groundlook.models.runtime.trials import prepare, run

log = logging.getLogger("groundlook.runtime")

EXACT = 1e-3
"""The tolerance of `exact`: more than the order of additions changes in float32, less than bfloat16 does."""


def compiled(
    network: Network,
    folder: Path,
    *,
    tolerance: float = 0.03,
    exact: bool = False,
    runtime: str | None = None,
    device: str | None = None,
    threads: int | None = None,
) -> Compiled:
    """`network` in the fastest runtime whose relative error on the example is at most `tolerance`.

    The first call exports the network and tries every runtime, in child processes, and writes both under `folder`;
    later ones, in any process, load what was chosen, as long as versions and CPU are the same. `exact`: float32 only,
    error ≤ 0.001. `runtime`: this one (`runtimes.RUNTIMES`). `device`: "cpu", "cuda", "cuda:1"; None takes a GPU where
    there is one. `threads`: of OpenVINO and ONNX Runtime, by default one a core; PyTorch's are the process's.
    Raises InvalidInput where a runtime or device that is asked for is missing or computes something else, and where
    PyTorch is needed and missing; what `network.build` raises.
    """
    names = _candidates(exact, runtime, device)
    if names == (EAGER,):
        return _eager(network)
    question = _Question(network, names, min(tolerance, EXACT) if exact else tolerance, device, threads)
    about = [list(network.inputs), list(network.outputs), network.body()["dynamic"], export_made_with()]
    place = folder / f"{network.key[:16]}-{digest(about)}"
    with _alone(folder / f"{network.key[:16]}.lock"):
        _forget_older(folder, network, place)
        return _answer(question, place)


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked for. `names`: the runtimes that may serve."""

    network: Network
    names: tuple[str, ...]
    limit: float
    device: str | None
    threads: int | None

    def path(self, place: Path) -> Path:
        """Where its answer is kept."""
        asked = [list(self.names), self.limit, self.device, self.threads, made_with()]
        return place / f"choice-{digest(asked)}.json"


def _candidates(exact: bool, runtime: str | None, device: str | None) -> tuple[str, ...]:
    """The runtimes that may serve. Raises InvalidInput where there is none."""
    if runtime:
        if why := missing(runtime):
            raise InvalidInput(f"runtime {runtime!r}: {why}; install it or name another of {', '.join(RUNTIMES)}")
        if exact and "bf16" in runtime:
            raise InvalidInput(f"runtime {runtime!r} is not float32, which this network needs; name another")
        return (runtime,)
    if device not in (None, "cpu") and not device.startswith("cuda"):
        raise InvalidInput(f"device {device!r} is none of 'cpu', 'cuda', 'cuda:0', 'cuda:1', …")
    takes = {None: (True, True), "cpu": (True, False)}.get(device, (False, True))
    return tuple(name for name in RUNTIMES if takes["cuda" in name] and not (exact and "bf16" in name))


def _eager(network: Network) -> Compiled:
    runner, inputs = load_torch(EAGER, network, None)
    return Loaded(EAGER, 0.0, runner, inputs)


def _answer(question: _Question, place: Path) -> Compiled:
    """From what is kept, or anew where nothing is or it does not load any more."""
    prepared, choice = read_prepared(place), read_choice(question.path(place))
    if prepared and choice:
        try:
            return _load(choice, prepared, question, place)
        except Exception as error:  # whatever a runtime raises
            log.warning("%s does not load any more (%s): chosen anew", choice, error)
            prepared = None
    if prepared is None:
        need_torch()
        try:
            prepared = prepare(question.network, place, question.threads)
        except TrainingFailed as error:
            return _without(question, error)
        write(place / PREPARED, prepared)
    choice = _choose(question, prepared, place)
    write(question.path(place), choice)
    log.info("%s", choice)
    return _load(choice, prepared, question, place)


def _without(question: _Question, error: TrainingFailed) -> Compiled:
    """PyTorch as it is, in this process, which raises what is wrong with the network itself. Nothing is kept: it may
    have been a lack of memory that passes."""
    if EAGER not in question.names:
        raise InvalidInput(f"{question.network.build} can't be prepared for {question.names[0]!r}: {error}") from error
    found = _eager(question.network)
    log.warning("%s: no runtime could be tried (%s); it runs in PyTorch as it is", question.network.build, error)
    return found


def _choose(question: _Question, prepared: Prepared, place: Path) -> Choice:
    out = {name: _unable(name, prepared) for name in question.names if name != EAGER}
    able = [name for name, why in out.items() if not why]
    found = run(question.network, place, able, prepared.eager, question.device, question.threads)
    tried = [_judged(one, question.limit) for one in found] + [
        Trial(name, note=why) for name, why in out.items() if why
    ]
    if EAGER in question.names:
        tried.append(prepared.eager)
    passed = [one for one in tried if not one.note]
    name = f"{question.network.build.rpartition('.')[2]} {question.network.key[:8]}"
    if not passed:
        raise InvalidInput(f"{name} runs in none of what was asked for: {'; '.join(map(str, tried))}; ask for another")
    best = min(passed, key=lambda one: one.seconds or 0.0)
    return Choice(name, best.runtime, tuple(tried), made_with())


def _unable(runtime: str, prepared: Prepared) -> str:
    """Why it need not be tried, "" where it should."""
    if "cuda" in runtime:
        return "" if prepared.cuda else "there is no CUDA device"
    return "" if of_torch(runtime) else prepared.note


def _judged(one: Trial, limit: float) -> Trial:
    """Out where it computes something else; the comparison also fails for what is no number."""
    if one.note or (one.error is not None and one.error <= limit):
        return one
    return replace(one, note=f"relative error {one.error:.3g} is over {limit:g}")


def _load(choice: Choice, prepared: Prepared, question: _Question, place: Path) -> Compiled:
    runner = load(choice.runtime, question.network, place, question.device, question.threads)
    return Loaded(choice.runtime, choice.trial.error or 0.0, runner, prepared.inputs)


def _forget_older(folder: Path, network: Network, place: Path) -> None:
    """Exports of the same network made by other versions."""
    for other in folder.glob(f"{network.key[:16]}-*"):
        if other != place:
            shutil.rmtree(other, ignore_errors=True)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One at a time, in this process and in others; the kernel lets go of it however this process ends."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
