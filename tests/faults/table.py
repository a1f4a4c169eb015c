"""The table of faults: what was broken on purpose, during what, what was lost, and how long until work went on.

A test of a fault says so with one line, `@pytest.mark.fault("worker killed", "a job")`, or, where it knows more, with
`record_property("fault", row(…))`. The run prints all of them at its end; a test that failed is a fault that cost us
something. As plugins do, this file adds its hooks through tests/conftest.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import pytest

NOTHING, SOMETHING = "nothing", "SEE THE FAILURE"
HEAD = ("what was done", "during", "lost", "went on after")


@dataclass(frozen=True)
class Fault:
    """`seconds`: until work had gone on; of a test that does not measure it, how long all of it took at most."""

    what: str
    during: str
    lost: str
    seconds: float
    measured: bool = True


def row(what: str, during: str, seconds: float, lost: str = NOTHING) -> str:
    """The value of a test's property "fault"."""
    return json.dumps({"what": what, "during": during, "lost": lost, "seconds": seconds})


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fault(what, during): a row of the table of faults that the run prints")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("fault"):
        what, during = mark.args
        item.user_properties.append(("fault", json.dumps({"what": what, "during": during, "lost": NOTHING})))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [r for state in ("passed", "failed") for r in terminalreporter.stats.get(state, ())]
    lines = table(found for report in reports for found in faults(report))
    if lines:
        terminalreporter.section("faults tried")
        for line in lines:
            terminalreporter.write_line(line)


def faults(report: pytest.TestReport) -> list[Fault]:
    """What one test tried."""
    if report.when != "call":
        return []
    found = [json.loads(str(value)) for name, value in report.user_properties if name == "fault"]
    return [
        Fault(
            body["what"],
            body["during"].partition(":")[0],
            body["lost"] if report.passed else SOMETHING,
            body.get("seconds", report.duration),
            "seconds" in body,
        )
        for body in found
    ]


def table(found: Iterable[Fault]) -> list[str]:
    """One line for all that were alike, with the longest of their times; empty without any."""
    alike: dict[tuple[str, str, str], list[Fault]] = {}
    for fault in found:
        alike.setdefault((fault.what, fault.during, fault.lost), []).append(fault)
    if not alike:
        return []
    rows = [HEAD, *(_cells(*key, same) for key, same in sorted(alike.items()))]
    widths = [max(len(cells[i]) for cells in rows) for i in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(cells, widths, strict=True)).rstrip() for cells in rows]
    count = sum(map(len, alike.values()))
    lost = sum(fault.lost != NOTHING for same in alike.values() for fault in same)
    return [*lines, f"{count} faults tried; {lost or 'none'} of them lost something"]


def _cells(what: str, during: str, lost: str, same: list[Fault]) -> tuple[str, str, str, str]:
    times = f" ({len(same)} times)" if len(same) > 1 else ""
    longest = max(same, key=lambda fault: fault.seconds)
    return what + times, during, lost, f"{'' if longest.measured else 'at most '}{longest.seconds:.1f} s"
