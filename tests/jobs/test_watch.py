"""Who is dead: told by beats that stand still while we look, never by a clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from groundlook_adapters.jobs.watch import Watch

LEASE = 10.0


def test_a_beat_that_stands_still_for_the_lease_is_dead() -> None:
    watch = Watch(LEASE)
    found = [bool(watch.look({7: (1, 4)}, float(at))) for at in range(0, 14, 2)]
    assert found == [False, False, False, False, False, True, True]


def test_an_observer_that_was_away_counts_anew() -> None:
    watch = Watch(LEASE)
    for at in (100.0, 102.0, 104.0, 106.0, 108.0):
        watch.look({7: (1, 4)}, at)
    assert watch.look({7: (1, 4)}, 140.0) == {}
    assert [watch.look({7: (1, 4)}, 140.0 + at) for at in (4, 8, 10)] == [{}, {}, {7: (1, 4)}]


@given(st.lists(st.tuples(st.floats(0.0, 30.0), st.booleans()), max_size=60))
def test_who_beats_within_the_lease_is_never_dead(looks: list[tuple[float, bool]]) -> None:
    """`looks`: how long until the next look, and whether the worker beat meanwhile."""
    watch, now, beats, since = Watch(LEASE), 0.0, 0, 0.0
    for wait, beat in looks:
        now += wait
        if beat or now - since >= LEASE:
            beats, since = beats + 1, now
        assert watch.look({1: (1, beats), 2: (beats, 0)}, now) == {}


@given(st.lists(st.floats(0.1, LEASE * 0.49), min_size=30, max_size=40))
def test_who_never_beats_is_found_soon(waits: list[float]) -> None:
    """By who looks often enough: twice a lease. (Sums of exactly half of one round to more than half.)"""
    watch, now, first = Watch(LEASE), 0.0, None
    for wait in waits:
        now += wait
        first = now if first is None else first
        assert bool(watch.look({1: (3, 9)}, now)) == (now - first >= LEASE)
