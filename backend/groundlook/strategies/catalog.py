"""Every strategy by the name that `rank`, `replay` and settings use."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

from groundlook.core.errors import InvalidConfig
from groundlook.core.ports import Strategy

GROUP = "groundlook.strategies"
STRATEGIES: dict[str, Callable[[], Strategy]] = {}
DEFAULTS: dict[str, str] = {}
"""The strategy of each kind of project that names none, as our replays recommend."""


def strategies() -> dict[str, Callable[[], Strategy]]:
    """Ours, and those of installed packages: an entry point of the group "groundlook.strategies" makes a Strategy."""
    found = {e.name: e.load() for e in entry_points(group=GROUP) if e.name not in STRATEGIES}
    return {**STRATEGIES, **found}


def strategy_of(name: str) -> Strategy:
    """A strategy by name. Raises InvalidConfig that names those there are."""
    known = strategies()
    if name not in known:
        raise InvalidConfig(f"there is no strategy {name!r}; there are: {', '.join(sorted(known))}")
    return known[name]()
