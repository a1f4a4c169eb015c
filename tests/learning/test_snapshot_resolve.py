"""Several annotations of one task: what stands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundlook.core.errors import InvalidInput
from groundlook.core.geometry import Box, Ellipse, Polygon, Shape, WholeTile
from groundlook.core.mask import Mask
from groundlook.core.types import Annotation, Control, LabelConfig, Project, Region, Task
from groundlook.learning.snapshot import make_snapshot
from groundlook.learning.snapshot.cluster import iou
from groundlook.learning.snapshot.resolve import Rule, parse_rule, resolve

MAJORITY, CONSENSUS = Rule("majority"), Rule("consensus")


def said(number: int, who: str, *regions: Region, **more: object) -> Annotation:
    return replace(Annotation(number, 1, regions, who, float(number)), **more)  # type: ignore[arg-type]


def box(x: float, y: float = 0.0, side: float = 10.0, label: str = "A", uid: str = "") -> Region:
    return Region(Box(x, y, side, side), label, uid=uid)


def square_mask(x: int, side: int = 10) -> Mask:
    pixels = np.zeros((40, 40), bool)
    pixels[5 : 5 + side, x : x + side] = True
    return Mask.of(pixels)


def stands(rule: Rule, *annotations: Annotation, several: bool = False) -> tuple[Region, ...] | None:
    found = resolve(annotations, rule, several)
    return None if found is None else found.regions


sides = st.floats(1, 50, allow_nan=False, width=32)
places = st.floats(0, 500, allow_nan=False, width=32)
boxes: st.SearchStrategy[Shape] = st.builds(Box, places, places, sides, sides, st.sampled_from([0.0, 0.0, 30.0]))
shapes: st.SearchStrategy[Shape] = st.one_of(
    boxes,
    st.builds(Ellipse, places, places, sides, sides),
    st.builds(lambda x, s: Polygon(((x, 0.0), (x + s, 0.0), (x, s))), places, sides),
    st.builds(square_mask, st.integers(0, 30), st.integers(1, 10)),
)
drawn = st.lists(st.builds(Region, shapes, st.sampled_from(["A", "B"])), max_size=8).map(
    lambda found: tuple(replace(r, uid=f"r{i}") for i, r in enumerate(found))
)


@given(drawn, st.integers(1, 4), st.sampled_from([MAJORITY, CONSENSUS]))
def test_people_who_drew_the_same_are_told_what_they_drew(regions: tuple[Region, ...], people: int, rule: Rule) -> None:
    everybody = [said(i, f"p{i}", *regions) for i in range(people)]
    assert stands(rule, *everybody) == regions


@given(drawn, st.lists(drawn, min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_what_all_drew_survives_and_order_does_not_matter(
    shared: tuple[Region, ...], own: list[tuple[Region, ...]], random: object
) -> None:
    # what each drew besides lies elsewhere, and far from what the others drew
    apart = [
        tuple(replace(r, shape=Box(1000.0 * (i + 1) + 60 * k, 0, 9, 9)) for k, r in enumerate(o))
        for i, o in enumerate(own)
    ]
    everybody = [said(i, f"p{i}", *shared, *more) for i, more in enumerate(apart)]
    found = stands(CONSENSUS, *everybody)
    assert found is not None
    assert [r.shape for r in found if r.shape in {s.shape for s in shared}] == [r.shape for r in shared]
    mixed = list(everybody)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    for rule in (MAJORITY, CONSENSUS, Rule()):
        assert resolve(mixed, rule) == resolve(everybody, rule)


@given(st.lists(drawn, min_size=2, max_size=4))
def test_consensus_is_never_more_than_majority(own: list[tuple[Region, ...]]) -> None:
    everybody = [said(i, f"p{i}", *regions) for i, regions in enumerate(own)]
    strict, loose = stands(CONSENSUS, *everybody), stands(MAJORITY, *everybody)
    assert strict is not None
    assert loose is not None
    assert len(strict) <= len(loose) <= sum(len(o) for o in own)


def test_the_newest_word_stands_where_nothing_else_is_asked_for() -> None:
    assert stands(Rule(), said(2, "b", box(0)), said(1, "a", box(5))) == (box(0),)


def test_boxes_are_averaged_by_the_median_of_their_sides() -> None:
    found = stands(
        MAJORITY, said(1, "a", box(0, uid="x")), said(2, "b", box(1, uid="y")), said(3, "c", box(4, uid="z"))
    )
    assert found == (Region(Box(1, 0, 10, 10), "A", uid="z"),)


def test_of_outlines_the_one_most_like_the_others_stands() -> None:
    wide = [Region(Polygon(((x, 0), (x + 10, 0), (x + 10, 10), (x, 10))), "A", uid=str(x)) for x in (0.0, 1.0, 3.0)]
    assert stands(MAJORITY, *(said(i, f"p{i}", r) for i, r in enumerate(wide))) == (wide[1],)
    painted = [Region(square_mask(x), "A", uid=str(x)) for x in (3, 0, 1)]
    assert stands(CONSENSUS, *(said(i, f"p{i}", r) for i, r in enumerate(painted))) == (painted[2],)


def test_a_majority_keeps_what_half_of_them_drew_and_consensus_what_all_did() -> None:
    three = (said(1, "a", box(0), box(50)), said(2, "b", box(0), box(50)), said(3, "c", box(0), box(100)))
    assert {r.shape.x for r in stands(MAJORITY, *three) or ()} == {0, 50}  # type: ignore[union-attr]
    assert stands(CONSENSUS, *three) == (box(0),)
    two = three[1:]
    assert len(stands(MAJORITY, *two) or ()) == 3, "one of two is half"


def test_one_place_with_two_names_gets_the_name_that_most_gave_and_of_a_tie_the_newest() -> None:
    a, b, c = said(1, "a", box(0)), said(2, "b", box(0)), said(3, "c", box(0, label="B"))
    assert [r.label for r in stands(MAJORITY, a, b, c) or ()] == ["A"]
    assert [r.label for r in stands(MAJORITY, b, c) or ()] == ["B"]
    assert stands(CONSENSUS, b, c) == ()


def test_what_one_person_drew_twice_is_not_a_majority() -> None:
    twice = said(1, "a", box(0), box(1))
    assert stands(MAJORITY, twice, said(2, "b"), said(3, "c")) == ()
    assert len(stands(MAJORITY, twice, said(2, "b", box(0), box(1))) or ()) == 2


def test_of_each_annotator_the_newest_counts() -> None:
    assert stands(MAJORITY, said(1, "a", box(0)), said(2, "a"), said(3, "b"), said(4, "c")) == ()
    assert stands(CONSENSUS, said(1, "a"), said(2, "a", box(0)), said(3, "b", box(0))) == (box(0),)


def test_skips_say_nothing_and_ground_truth_stands_whatever_the_rule() -> None:
    truth, later = said(1, "a", box(0), ground_truth=True), said(2, "b", box(90))
    for rule in (Rule(), MAJORITY, CONSENSUS, Rule("annotator", "b")):
        found = resolve([later, truth], rule)
        assert found is not None
        assert (found.regions, found.behind, found.ground_truth) == ((box(0),), (truth,), True)
        assert resolve([replace(later, skipped=True)], rule) is None
    assert stands(Rule(), said(1, "a", box(0)), said(2, "b", skipped=True)) == (box(0),)
    assert stands(CONSENSUS, said(1, "a", box(0)), said(2, "b", skipped=True)) == (box(0),)


def test_a_named_annotator_stands_alone() -> None:
    both = said(1, "a", box(0)), said(2, "b", box(90))
    assert stands(Rule("annotator", "a"), *both) == (box(0),)
    assert stands(Rule("annotator", "c"), *both) is None


def whole(*labels: str) -> tuple[Region, ...]:
    return tuple(Region(WholeTile(), label) for label in labels)


def test_classes_of_tiles_are_voted_on() -> None:
    a, b, c = said(1, "a", *whole("A")), said(2, "b", *whole("A")), said(3, "c", *whole("B"))
    assert stands(MAJORITY, a, b, c) == whole("A")
    assert stands(MAJORITY, b, c) == whole("B"), "a tie is the newest's"
    assert stands(CONSENSUS, a, b) == whole("A")
    assert stands(CONSENSUS, b, c) is None, "no class is no answer"
    many = said(1, "a", *whole("A", "B")), said(2, "b", *whole("B")), said(3, "c", *whole("B", "C"))
    assert stands(MAJORITY, *many, several=True) == whole("B")
    assert stands(CONSENSUS, *many, several=True) == whole("B")
    assert stands(MAJORITY, *many[:2], several=True) == whole("A", "B")


def test_rules_are_text_and_a_wrong_one_is_told_the_right_ones() -> None:
    for text in ("newest", "majority", "consensus", "annotator:ann@x.org"):
        assert str(parse_rule(text)) == text
    for text in ("best", "annotator", "annotator:", "majority:3", ""):
        with pytest.raises(InvalidInput, match=r"use newest, majority, consensus, annotator:NAME"):
            parse_rule(text)


def test_a_snapshot_goes_by_the_project_s_rule_and_says_who_went_in() -> None:
    config = LabelConfig("l", "RectangleLabels", "i", "i", ("A",), (Control("l", "RectangleLabels", ("A",)),))
    project = Project(1, "http://127.0.0.1", "t", config, settings={"resolve": "majority"})
    said_ = [said(1, "a", box(0)), said(2, "b", box(2)), said(3, "c", box(0, label="gone"))]
    (example,) = make_snapshot(project, [Task(1, "u")], said_).examples
    assert (example.annotation_ids, example.annotators) == ((1, 2, 3), ("a", "b", "c"))
    assert example.regions == (Region(Box(1, 0, 10, 10), "A"),)
    (example,) = make_snapshot(project, [Task(1, "u")], said_, Rule()).examples
    assert (example.annotation_ids, example.regions) == ((3,), ())


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 10), st.integers(1, 10))
def test_overlap_of_masks_is_that_of_their_pixels(x: int, u: int, side: int, other: int) -> None:
    a, b = square_mask(x, side), square_mask(u, other)
    one, two = a.pixels(), b.pixels()
    assert iou(a.runs, b.runs) == pytest.approx((one & two).sum() / (one | two).sum())
