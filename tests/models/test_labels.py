"""Which class of a network stands for which label."""

from __future__ import annotations

import pytest

from groundlook.core.errors import InvalidConfig
from groundlook.models.labels import map_classes


def test_names_decide_whatever_their_case() -> None:
    assert map_classes(["person", "Car", "boat"], ["Boat", "car"]) == (None, 1, 0)


def test_shared_names_beat_order() -> None:
    assert map_classes(["b", "a"], ["A", "B"]) == (1, 0)


def test_equal_counts_map_in_order() -> None:
    assert map_classes(["class0", "class1"], ["house", "tree"]) == (0, 1)


def test_a_mapping_alone_decides_and_may_join_classes() -> None:
    classes = ["car", "truck", "bus", "vehicle"]
    assert map_classes(classes, ["vehicle"], {"Car": "Vehicle", "truck": "vehicle"}) == (0, 0, None, None)


@pytest.mark.parametrize(
    ("classes", "labels", "mapping"),
    [
        (["person", "car"], ["house"], None),
        ([], ["house"], None),
        (["person"], [], None),
        (["person"], ["house"], {"cat": "house"}),
        (["person"], ["house"], {"person": "roof"}),
    ],
)
def test_what_does_not_map_names_both_sides(
    classes: list[str], labels: list[str], mapping: dict[str, str] | None
) -> None:
    with pytest.raises(InvalidConfig) as caught:
        map_classes(classes, labels, mapping)
    assert all(repr(name) in str(caught.value) for name in (*classes, *labels))
    assert "label map" in str(caught.value)
