"""The gate: what is promoted, what is refused, where a person is asked, and how often noise gets through."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundlook.core.errors import InvalidInput
from groundlook.core.exam import Exam
from groundlook.core.tally import BoxTally, ClassTally
from groundlook.learning.gate import STRICT, USUAL, Limits, Verdict, judge, measure
from groundlook.learning.gate.resample import Spread, draw
from tests.learning.exams import LABELS, Land, exam, land, sit

SITES = ("Bern", "Chur", "Genf")
SEEDS = st.integers(0, 2**32 - 1)


def gate(new: Exam, old: Exam | None, limits: Limits = USUAL, seed: int = 0) -> Verdict:
    return judge(new, old, limits, np.random.default_rng(seed))


def found(verdict: Verdict, what: str, name: str = "") -> tuple[str, str]:
    """State and consequence of a finding."""
    (one,) = [f for f in verdict.findings if (f.what, f.name) == (what, name)]
    return one.state, one.asks


def outcomes(old: float, new: float, tiles: int, trials: int, per_block: int = 4) -> Counter[str]:
    """What becomes of challengers with the skill `new`, a fresh exam each time."""
    rng = np.random.default_rng(tiles)
    counted: Counter[str] = Counter()
    for _ in range(trials):
        ground = land(rng, tiles, per_block, SITES)
        champion, challenger = sit(rng, ground, old), sit(rng, ground, new)
        counted[gate(challenger, champion).outcome] += 1
    return counted


@pytest.mark.parametrize(("tiles", "trials", "wrong"), [(8, 60, 0.2), (40, 20, 0.05)])
def test_one_that_is_worse_by_a_tenth_hardly_ever_gets_through(tiles: int, trials: int, wrong: float) -> None:
    """Over 400 exams on 8 tiles in two blocks 13.5 % do; of 200 on 40 tiles in ten blocks, none."""
    assert outcomes(0.6, 0.5, tiles, trials)["promoted"] <= wrong * trials


def test_one_that_is_as_good_gets_through_half_of_the_time_and_one_that_is_better_nearly_always() -> None:
    assert 10 <= outcomes(0.6, 0.6, 8, 40)["promoted"] <= 30
    assert outcomes(0.6, 0.75, 24, 20)["promoted"] >= 18


def test_a_few_tiles_are_enough_to_begin_with() -> None:
    rng = np.random.default_rng(1)
    ground = land(rng, 5, per_block=2)
    new, old = sit(rng, ground, 0.8), sit(rng, ground, 0.4)
    verdict = gate(new, old)
    assert verdict.outcome == "promoted"
    assert "too little is labelled to tell of class roof, class tree" in verdict.reason
    strict = gate(new, old, STRICT)
    assert strict.outcome == "needs a person"
    assert "can't be told whether the whole is worse" in strict.reason


def test_one_that_forgot_a_site_is_refused_though_it_is_better_overall() -> None:
    rng = np.random.default_rng(2)
    ground = land(rng, 80, 4, ("Bern", "Bern", "Bern", "Bern", "Chur"))
    champion, challenger = sit(rng, ground, 0.5), sit(rng, ground, 0.8, {"Chur": 0.7})
    verdict = gate(challenger, champion)
    assert verdict.findings[0].state == "passed"
    assert (verdict.outcome, found(verdict, "site", "Chur")) == ("refused", ("failed", "refused"))
    assert "site Chur is forgotten" in verdict.reason


def test_a_site_of_one_block_can_be_forgotten_too() -> None:
    rng = np.random.default_rng(2)
    ground = replace(land(rng, 40, 4, ("Bern",) * 9 + ("Chur",)), hard=np.zeros(40))
    verdict = gate(sit(rng, ground, 0.8, {"Chur": 0.8}), sit(rng, ground, 0.6))
    assert "site Chur is forgotten" in verdict.reason


def test_noise_hardly_ever_looks_like_forgetting() -> None:
    """Eight sites of two tiles each, 40 times."""
    rng = np.random.default_rng(8)
    forgotten = 0
    for _ in range(40):
        ground = land(rng, 16, 2, tuple("abcdefgh"))
        forgotten += "forgotten" in gate(sit(rng, ground, 0.65), sit(rng, ground, 0.6)).reason
    assert forgotten <= 2


def test_strict_can_be_met_where_every_picture_is_a_site() -> None:
    rng = np.random.default_rng(8)
    ground = land(rng, 60, 1, tuple(str(n) for n in range(60)))
    verdict = gate(sit(rng, ground, 0.75), sit(rng, ground, 0.5), STRICT)
    assert {f.state for f in verdict.findings if f.what == "site"} == {"unknown"}
    assert verdict.outcome == "promoted"
    assert "too little is labelled to tell of site 0, site 1, site 10 and 57 more" in verdict.reason


def test_a_person_is_asked_where_a_class_got_worse_while_the_whole_got_better() -> None:
    rng = np.random.default_rng(4)
    ground = land(rng, 160, 4)
    champion, challenger = sit(rng, ground, 0.6), sit(rng, ground, 0.85, {"tree": 0.4})
    for limits in (USUAL, STRICT):
        verdict = gate(challenger, champion, limits)
        assert (verdict.outcome, found(verdict, "class", "tree")) == ("needs a person", ("failed", "needs a person"))
        assert found(verdict, "class", "roof") == ("passed", "promoted")
        assert "class tree is worse beyond noise" in verdict.reason


def test_sensors_are_looked_at_as_sites_are() -> None:
    rng = np.random.default_rng(2)
    ground = land(rng, 80, 4, ("drone", "satellite"))
    new, old = (
        replace(e, sensors=e.sites, sites=("Bern",) * 80)
        for e in (sit(rng, ground, 0.9, {"drone": 0.7}), sit(rng, ground, 0.5))
    )
    verdict = gate(new, old)
    assert {f.what for f in verdict.findings} == {"overall", "class", "sensor", "fit", "speed"}
    assert found(verdict, "sensor", "drone")[0] == "failed"


def test_boxes_that_fit_worse_are_refused_even_where_as_many_are_found() -> None:
    """As one does that learned from labels of which some were shifted."""
    rng = np.random.default_rng(5)
    ground = land(rng, 100, 4)
    champion, challenger = sit(rng, ground, 0.6, close=0.8), sit(rng, ground, 0.66, close=0.6)
    verdict = gate(challenger, champion)
    assert (verdict.findings[0].state, verdict.outcome) == ("passed", "refused")
    assert "boxes fit worse beyond noise: mAP75" in verdict.reason


def test_the_first_model_has_to_find_something() -> None:
    rng = np.random.default_rng(0)
    ground = land(rng, 6)
    verdict = gate(sit(rng, ground, 0.3), None)
    assert (verdict.outcome, verdict.findings[0].champion) == ("promoted", None)
    assert "first model: mAP50" in verdict.reason
    blind = gate(sit(rng, replace(ground, hard=np.full(6, -9.0)), 0.0), None)
    assert (blind.outcome, "no better than no model" in blind.reason) == ("refused", True)
    assert gate(sit(rng, replace(ground, hard=np.full(6, -9.0)), 0.0), None, STRICT).outcome == "refused"


def test_nothing_is_proved_without_a_held_out_object() -> None:
    rng = np.random.default_rng(0)
    empty = replace(land(rng, 6), objects=np.zeros((6, len(LABELS)), np.int64))
    verdict = gate(sit(rng, empty, 0.5), sit(rng, empty, 0.5))
    assert (verdict.outcome, verdict.findings) == ("refused", ())
    assert "no held-out object is labelled yet" in verdict.reason


def test_one_that_finds_as_little_as_a_blind_champion_is_refused() -> None:
    rng = np.random.default_rng(0)
    ground = replace(land(rng, 6), hard=np.full(6, -9.0))
    assert gate(sit(rng, ground, 0.0), sit(rng, ground, 0.0)).outcome == "refused"


def test_equal_models_are_promoted_and_the_same_exams_get_the_same_verdict() -> None:
    rng = np.random.default_rng(3)
    ground = land(rng, 30, 2, SITES)
    new, old = sit(rng, ground, 0.6), sit(rng, ground, 0.55)
    assert gate(old, old).outcome == "promoted"
    assert gate(old, old, STRICT).outcome == "promoted"  # what is alike on every tile is surely not worse
    assert gate(new, old) == gate(new, old)


def test_what_can_t_be_compared_is_not_decided() -> None:
    rng = np.random.default_rng(3)
    ground = land(rng, 8)
    boxes = sit(rng, ground, 0.6)
    classes = replace(boxes, tally=ClassTally(ground.objects > 3, ground.objects > 3))
    assert gate(classes, boxes).outcome == "needs a person"
    with pytest.raises(InvalidInput, match="examine both"):
        gate(boxes, sit(rng, land(rng, 7), 0.6))


def calibrated(one: Exam, error: float) -> Exam:
    return replace(one, metrics={**one.metrics, "ece": 0.5, "ece_calibrated": error})


@pytest.mark.parametrize(
    ("tiles", "worse", "state", "outcome"),
    [(60, 0.04, "passed", "promoted"), (60, 0.08, "failed", "needs a person"), (4, 0.08, "unknown", "needs a person")],
)
def test_less_calibrated_is_told_and_asked_about_under_strict(
    tiles: int, worse: float, state: str, outcome: str
) -> None:
    one = sit(np.random.default_rng(3), land(np.random.default_rng(3), tiles, 2), 0.6)
    for limits, wanted in ((USUAL, "promoted"), (STRICT, outcome)):
        verdict = gate(calibrated(one, 0.1 + worse), calibrated(one, 0.1), limits)
        assert (found(verdict, "calibration")[0], verdict.outcome) == (state, wanted)


@pytest.mark.parametrize(
    ("seconds", "times", "outcome"),
    [(0.2, 3.0, "needs a person"), (0.2, 1.6, "promoted"), (0.02, 3.0, "promoted")],
)
def test_one_that_keeps_people_waiting_is_not_promoted_unseen(seconds: float, times: float, outcome: str) -> None:
    rng = np.random.default_rng(3)
    one = sit(rng, land(rng, 30, 2), 0.6)
    old = replace(one, seconds=rng.normal(seconds, seconds / 10, 30))
    new = replace(one, seconds=old.seconds * times)
    assert gate(new, old).outcome == outcome
    stalled = old.seconds.copy()
    stalled[:10] *= 50  # the machine was busy for a third of the time
    assert gate(replace(one, seconds=stalled), old).outcome == "promoted"


def perfect(one: Exam, ground: Land, row: int) -> Exam:
    """The same, but on tile `row` everything is found, surely and closely, and nothing else."""
    tally = one.tally
    assert isinstance(tally, BoxTally)
    kept = tally.tile != row
    label = np.repeat(np.arange(len(LABELS)), ground.objects[row])
    more = len(label)
    better = BoxTally(
        tile=np.concatenate([tally.tile[kept], np.full(more, row)]),
        label=np.concatenate([tally.label[kept], label]),
        score=np.concatenate([tally.score[kept], np.ones(more)]),
        right=np.concatenate([tally.right[kept], np.ones(more, bool)]),
        close=np.concatenate([tally.close[kept], np.ones(more, bool)]),
        objects=tally.objects,
    )
    return exam(better, ground)


BETTER = {"refused": 0, "needs a person": 1, "promoted": 2}


@given(seed=SEEDS, skill=st.floats(0.3, 0.9), lost=st.floats(0, 0.6), limits=st.sampled_from([USUAL, STRICT]))
@settings(max_examples=20)
def test_a_better_answer_never_makes_the_verdict_worse(seed: int, skill: float, lost: float, limits: Limits) -> None:
    rng = np.random.default_rng(seed)
    ground = land(rng, 24, 2, SITES[:2], most=8)
    champion, challenger = sit(rng, ground, 0.6), sit(rng, ground, skill, {"Bern": lost})
    before = gate(challenger, champion, limits, seed)
    after = gate(perfect(challenger, ground, int(rng.integers(24))), champion, limits, seed)
    assert BETTER[after.outcome] >= BETTER[before.outcome]


@given(seed=SEEDS, skill=st.floats(0.4, 0.9), lost=st.floats(0, 0.6), close=st.floats(0.3, 0.9))
@settings(max_examples=12)
def test_strict_promotes_nothing_that_usual_would_not(seed: int, skill: float, lost: float, close: float) -> None:
    rng = np.random.default_rng(seed)
    ground = land(rng, 40, 2, SITES)
    champion, challenger = sit(rng, ground, 0.6), sit(rng, ground, skill, {"Bern": lost}, close)
    usual, strict = (gate(challenger, champion, limits, seed).outcome for limits in (USUAL, STRICT))
    assert BETTER[strict] <= BETTER[usual]


def test_blocks_are_drawn_whole() -> None:
    places = np.array([7, 7, 2, 7, 9])
    times = draw(places, np.random.default_rng(0), 500)
    assert (times[:, 0] == times[:, 1]).all()
    assert (times[:, [0, 2, 4]].sum(axis=1) == 3).all()
    assert times.mean(axis=0) == pytest.approx(np.ones(5), abs=0.15)


@pytest.mark.parametrize("blocks", [5, 20])
def test_an_interval_holds_the_truth_as_often_as_it_says(blocks: int) -> None:
    """Means of few blocks: plain percentiles of five hold it in 84 % of 2,000 cases only."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(600):
        values = rng.normal(0, 1, blocks)
        drawn = draw(np.arange(blocks), rng, 400) @ values / blocks
        measured = Spread(float(values.mean()), drawn, blocks).measured()
        held += measured.low <= 0 <= measured.high
    assert 0.92 <= held / 600 <= 0.985


def test_the_more_parts_are_looked_at_the_surer_it_has_to_be() -> None:
    drawn = np.random.default_rng(0).normal(-2, 1, 2000)  # 2.3 % of the draws are over 0
    spread = Spread(-2.0, drawn, 1000)
    assert [spread.worse(checks) for checks in (0, 1, 2, 10)] == [True, True, True, False]


def test_one_block_has_no_interval() -> None:
    measured = Spread(0.5, np.full(10, 0.5), 1).measured()
    assert (measured.value, np.isnan(measured.low), np.isnan(measured.high)) == (0.5, True, True)


@pytest.mark.parametrize(
    ("metrics", "name"), [({"map50": 1}, "mAP50"), ({"mean_iou": 1}, "mean IoU"), ({"macro_f1": 1}, "macro F1")]
)
def test_qualities_have_names(metrics: dict[str, float], name: str) -> None:
    assert measure(metrics) == name
