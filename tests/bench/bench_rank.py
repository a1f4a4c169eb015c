"""`groundlook bench rank`: choosing what to label next, each strategy beside who else can be installed for it.

512 numbers a task, 100 tasks labelled, batches of 100; cases name the number of open tasks. "bound": what reading the
embeddings as often as a plain implementation must takes at the speed of memory, measured in the same run.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from groundlook.service.bench import Goal, Result, in_turns, result, timed
from groundlook.strategies.catalog import strategy_of
from groundlook.strategies.diversity import k_center

sys.path.insert(0, str(Path(__file__).parent))
from rank_house import Set, full_pass, modal, ours, read_speed, scikit_activeml
from rank_memory import BATCH, DEFAULT, LABELLED, child, write_half
from rerank import rerank

PEER = "scikit-activeml"


def run(quick: bool) -> Iterator[Result]:
    """The cases, one after the other."""
    large = Set.of(20_000 if quick else 100_000)
    yield from _spread(large, 1 if quick else 3)
    yield from _unsure(large, 1 if quick else 3)
    yield _again(large, 5 if quick else 11)
    yield _window(len(large), 5 if quick else 11)
    yield _extra(len(large))
    del large
    small = Set.of(1_000 if quick else 20_000)
    yield _once("badge", small, 100, BATCH)
    yield _once("typiclust", small, 30, 1)
    yield from _herding(small)
    del small
    with tempfile.TemporaryDirectory(prefix="groundlook-bench-") as folder:
        yield from _streamed(Path(folder), (10_000, 100_000) if quick else (10_000, 100_000, 1_000_000))


def _case(name: str, data: Set, passes: float) -> str:
    bound = passes * data.open.nbytes / read_speed(data)
    return f"{name}, {len(data):,} (bound of {passes:g} reads: {bound * 1000:.0f} ms)"


def _faster(times: float) -> Goal:
    return Goal("ratio", "<", 1 / times)


# spread and doubt


def _spread(data: Set, repeats: int) -> Iterator[Result]:
    """The picks must be those of both peers."""
    points, done = data.open, data.vectors[len(data) :]

    def lazy(i: int) -> Any:
        return k_center(points, done, BATCH, np.random.default_rng(i))[0]

    peer = scikit_activeml("k-center", data)
    if not lazy(0).tolist() == list(peer(0)) == full_pass(data).tolist():
        raise AssertionError("k-center: not the same picks")
    case = _case("k-center", data, BATCH)
    yield result(case, "ms", _faster(30), in_turns(lazy, peer, repeats, 0), PEER, 1000)
    turns = in_turns(lazy, lambda _: full_pass(data), max(3, repeats), 0)
    yield result(case, "ms", _faster(3), turns, "numpy, a full pass for each pick", 1000)


def _unsure(data: Set, repeats: int) -> Iterator[Result]:
    """From vectors and classes to the order: all fit the same logistic regression and ask it. And, where all are given
    its answers, what choosing takes."""
    for name, all_of_it in itertools.product(("margin", "entropy"), (True, False)):
        mine, theirs = ours(name, data, all_of_it), scikit_activeml(name, data, all_of_it)
        case = _case(f"{name} end to end" if all_of_it else f"{name} of given probabilities", data, int(all_of_it))
        yield result(case, "ms", _faster(10), in_turns(mine, theirs, repeats), PEER, 1000)
        other = in_turns(mine, modal(name, data, all_of_it), 3 * repeats)
        yield result(case, "ms", _faster(1), other, "modAL, the batch only", 1000)


def _again(data: Set, repeats: int) -> Result:
    """After one more annotation, on features and probabilities that are there."""
    strategy = strategy_of(DEFAULT)
    pools = [data.kept(LABELLED - 1), data.kept()]
    times = [timed(lambda i: strategy.rank(pools[i % 2], BATCH, np.random.default_rng(i)), i) for i in range(repeats)]
    return _alone(_case(f"{DEFAULT} again after one annotation", data, 1), times, "ms", 100, 1000)


def _alone(case: str, times: Sequence[float], unit: str, limit: float, scale: float = 1) -> Result:
    return Result(case, median(times) * scale, unit, Goal("ours", "<", limit), len(times), best=min(times) * scale)


def _window(count: int, repeats: int) -> Result:
    """From the annotation to the window that goes to Label Studio, which takes no time here."""
    seconds = rerank(count, strategy=DEFAULT, turns=repeats)
    name = f"{DEFAULT}, annotation to window, {count:,} (pool anew, rules, streams)"
    return Result(name, seconds * 1000, "ms", Goal("ours", "<", 100), repeats)


# against peers that take minutes: they run once. Where the peer asks a model, ours fits and asks it too


def _once(name: str, data: Set, times: float, passes: float) -> Result:
    return _against(name, data, timed(scikit_activeml(name, data), 0), times, passes)


def _against(name: str, data: Set, peer: float, times: float, passes: float) -> Result:
    mine: Callable[[int], object] = ours(name, data, name == "badge")
    mine(0)
    took = [timed(mine, i) * 1000 for i in range(5)]
    return Result(_case(name, data, passes), median(took), "ms", _faster(times), 5, peer * 1000, PEER, min(took))


def _herding(data: Set) -> Iterator[Result]:
    """Both against the peer's MaxHerding; it has no UHerding."""
    peer = timed(scikit_activeml("maxherding", data), 0)
    for name in ("maxherding", "uherding"):
        yield _against(name, data, peer, 300, 1)


# memory and growth


def _extra(size: int) -> Result:
    _, mb = child("extra", "badge", str(size))
    return Result(f"badge, {size:,}: memory beyond the pool", mb, "MB", Goal("ours", "<", 100), 1)


def _streamed(folder: Path, sizes: Sequence[int]) -> Iterator[Result]:
    """Seconds, most memory of the process, and growth from one size to the next."""
    before: float | None = None
    for size in sizes:
        path = folder / "vectors"
        write_half(path, size)
        seconds, mb = child("streamed", str(path), str(size))
        case = f"full ranking, {DEFAULT}, {size:,} × 512 float16 on disk"
        yield Result(case, seconds, "s", Goal("ours", "<", 60), 1)
        yield Result(f"{case}: memory in all", mb, "MB", Goal("ours", "<", 3 * 1024), 1)
        if before is not None:
            grown = f"{case}: growth"
            yield Result(grown, seconds, "s", Goal("ratio", "<", 1), 1, 10 * before, "10 × a tenth of the tasks")
        before = seconds
