"""Every strategy by the name that `rank`, `replay` and settings use."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points

from groundlook.core.errors import InvalidConfig
from groundlook.core.ports import Strategy

GROUP = "groundlook.strategies"


def _load(module: str, name: str, *given: str) -> Strategy:
    found: Strategy = getattr(import_module(f"groundlook.strategies.{module}"), name)(*given)
    return found


STRATEGIES: dict[str, Callable[[], Strategy]] = {
    "random": partial(_load, "uncertainty", "Random"),
    "least-confidence": partial(_load, "uncertainty", "Unsure", "least-confidence"),
    "margin": partial(_load, "uncertainty", "Unsure", "margin"),
    "entropy": partial(_load, "uncertainty", "Unsure", "entropy"),
    "k-center": partial(_load, "diversity", "KCenter"),
    "badge": partial(_load, "badge", "Badge"),
    "typiclust": partial(_load, "typiclust", "TypiClust"),
    "probcover": partial(_load, "probcover", "ProbCover"),
    "dropquery": partial(_load, "dropquery", "DropQuery"),
    "maxherding": partial(_load, "herding", "MaxHerding"),
    "uherding": partial(_load, "herding", "UHerding"),
    "object-herding": partial(_load, "dense", "ObjectHerding"),
    "uncertain-k-means": partial(_load, "blend", "UncertainKMeans"),
    "uncertain-k-center": partial(_load, "blend", "UncertainThenSpread"),
    "blend": partial(_load, "blend", "Blend"),
    "decorrelated": partial(_load, "decorrelated", "Decorrelated"),
    "class-balance": partial(_load, "balance", "ClassBalance"),
    "value-per-second": partial(_load, "value", "ValuePerSecond"),
    "adaptive": partial(_load, "adaptive", "Adaptive"),
}
"""A module is imported when its strategy is first made."""

DEFAULTS: dict[str, str] = {
    "classification": "uherding",
    "classification-multiple": "uherding",
    "detection": "object-herding",
    "segmentation": "object-herding",
}
"""The strategy of each kind of project that names none, as our replays recommend."""


def strategies() -> dict[str, Callable[[], Strategy]]:
    """Ours, and those of installed packages: an entry point of the group "groundlook.strategies" makes a Strategy."""
    found = {e.name: e.load() for e in entry_points(group=GROUP) if e.name not in STRATEGIES}
    return {**STRATEGIES, **found}


def strategy_of(name: str) -> Strategy:
    """A strategy by name. Raises InvalidConfig that names those there are."""
    if name in STRATEGIES:  # looking through installed packages takes longer than ranking
        return STRATEGIES[name]()
    known = strategies()
    if name not in known:
        raise InvalidConfig(f"there is no strategy {name!r}; there are: {', '.join(sorted(known))}")
    return known[name]()
