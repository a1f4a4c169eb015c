"""Who is dead, told without a clock that anybody can set: a beat that stands still while we look."""

from __future__ import annotations

from collections.abc import Mapping

from groundlook_adapters.jobs.ledger import Mark


class Watch:
    """Looks at the marks of running jobs. `lease`: seconds that a mark may stand still. An observer that was away
    itself (paused, or cut off from the ledger together with everybody else) starts to count anew."""

    def __init__(self, lease: float) -> None:
        self._lease = lease
        self._since: dict[int, tuple[Mark, float]] = {}
        self._looked = 0.0

    def look(self, marks: Mapping[int, Mark], now: float) -> dict[int, Mark]:
        """Those of `marks` that stood still for the lease. `now`: seconds of this process's monotonic clock."""
        if now - self._looked > self._lease / 2:
            self._since = {}
        self._looked = now
        before = self._since
        self._since = {job: _since(before.get(job), mark, now) for job, mark in marks.items()}
        return {job: mark for job, (mark, since) in self._since.items() if now - since >= self._lease}


def _since(before: tuple[Mark, float] | None, mark: Mark, now: float) -> tuple[Mark, float]:
    return before if before is not None and before[0] == mark else (mark, now)
