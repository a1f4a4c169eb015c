"""What the run says of the faults that it tried."""

from __future__ import annotations

from tests.faults.table import NOTHING, SOMETHING, Fault, table


def test_alike_faults_are_one_line_with_the_longest_time() -> None:
    found = [Fault("worker killed", "learn", NOTHING, s) for s in (1.0, 3.25, 2.0)]
    lines = table([*found, Fault("disk full", "snapshot", NOTHING, 4.0, measured=False)])
    assert lines[1].split("  ")[0] == "disk full"
    assert lines[1].endswith("at most 4.0 s")
    assert lines[2].startswith("worker killed (3 times)")
    assert lines[2].endswith("3.2 s")
    assert lines[3] == "4 faults tried; none of them lost something"


def test_what_cost_something_is_counted_and_stands_apart() -> None:
    lines = table([Fault("worker killed", "learn", lost, 1.0) for lost in (NOTHING, NOTHING, SOMETHING)])
    assert [SOMETHING in line for line in lines] == [False, True, False, False]
    assert lines[-1] == "3 faults tried; 1 of them lost something"


def test_a_run_without_faults_says_nothing() -> None:
    assert table([]) == []
