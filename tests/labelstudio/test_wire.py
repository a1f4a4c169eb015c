"""Label Studio's percent ↔ our pixels, for every shape we serve."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundlook.core.errors import InvalidInput
from groundlook.core.geometry import Box, Polygon
from groundlook.core.types import LabelConfig, ModelVersion, Prediction, Region
from groundlook_adapters.labelstudio.wire import (
    decode_annotation,
    decode_region,
    decode_regions,
    encode_prediction,
    encode_region,
)

CONFIG = LabelConfig(
    "label",
    "RectangleLabels",
    "image",
    "image",
    ("House", "Tree"),
    (("label", ("House", "Tree")), ("outline", ("House", "Field"))),
)
GOOD = {"x": 0, "y": 0, "width": 50, "height": 50, "rectanglelabels": ["House"]}
sides = st.integers(1, 8192)
fractions = st.floats(0, 1, allow_nan=False)
degrees = st.floats(-360, 360, allow_nan=False)


@given(sides, sides, fractions, fractions, fractions, fractions, degrees)
def test_a_box_survives_the_round_trip(w: int, h: int, x: float, y: float, bw: float, bh: float, turn: float) -> None:
    box = Box(x * w, y * h, bw * w, bh * h, turn)
    region = Region(box, "Tree", 0.5, "abc", "prediction")
    item = json.loads(json.dumps(encode_region(region, CONFIG, (w, h))))
    (back,) = decode_regions([item], CONFIG)
    assert isinstance(back.shape, Box)
    assert np.abs(back.shape.corners() - box.corners()).max() < 1e-6
    assert (back.label, back.score, back.uid, back.origin) == ("Tree", 0.5, "abc", "prediction")


@given(sides, sides, st.lists(st.tuples(fractions, fractions), min_size=3, max_size=40))
def test_a_polygon_survives_the_round_trip(w: int, h: int, points: list[tuple[float, float]]) -> None:
    polygon = Polygon(tuple((x * w, y * h) for x, y in points))
    item = encode_region(Region(polygon, "House"), CONFIG, (w, h))
    (back,) = decode_regions([item], CONFIG)
    assert np.abs(back.shape.corners() - polygon.corners()).max() < 1e-6


def test_a_turned_rectangle_lies_where_the_browser_draws_it() -> None:
    """The corners measured in the real editor: 1000 × 500 px, x 40 y 30 w 30 h 20, 30° (facts)."""
    value = {"x": 40, "y": 30, "width": 30, "height": 20, "rotation": 30, "rectanglelabels": ["House"]}
    (region,) = decode_regions([_item("rectanglelabels", value, 1000, 500)], CONFIG)
    expected = [(400, 150), (659.808, 300), (609.808, 386.603), (350, 236.603)]
    assert np.allclose(region.shape.corners(), expected, atol=1e-3)


def test_percent_is_of_each_side() -> None:
    item = encode_region(Region(Box(100, 100, 50, 50), "House"), CONFIG, (200, 400))
    assert item["value"] == {
        "x": 50.0,
        "y": 25.0,
        "width": 25.0,
        "height": 12.5,
        "rotation": 0.0,
        "rectanglelabels": ["House"],
    }
    assert (item["from_name"], item["to_name"], item["type"]) == ("label", "image", "rectanglelabels")


def test_a_prediction_says_its_version_and_place() -> None:
    prediction = Prediction(ModelVersion("yolo", "a1"), (Region(Box(0, 0, 10, 10), "Tree", 0.9),), size=(20, 20))
    body = encode_prediction(prediction, CONFIG, 0.25, "yolo@a1+w3")
    assert (body["score"], body["model_version"]) == (0.25, "yolo@a1+w3")
    assert body["result"][0]["score"] == 0.9


def test_an_empty_prediction_is_a_prediction() -> None:
    body = encode_prediction(Prediction(ModelVersion("yolo", "a1"), (), size=(20, 20)), CONFIG, 0.0, "v")
    assert body == {"result": [], "score": 0.0, "model_version": "v"}


def test_other_controls_are_left_out() -> None:
    value = {"x": 0, "y": 0, "width": 1, "height": 1, "rectanglelabels": ["House"]}
    foreign = {**_item("rectanglelabels", value), "from_name": "something else"}
    choice = {"type": "choices", "from_name": "label", "value": {"choices": ["yes"]}}
    assert decode_regions([foreign, choice], CONFIG) == ()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"x": "a", "y": 0, "width": 1, "height": 1, "rectanglelabels": ["House"]}, "not a rectanglelabels"),
        ({"x": float("nan"), "y": 0, "width": 1, "height": 1, "rectanglelabels": ["House"]}, "not a rectanglelabels"),
        ({"x": 0, "y": 0, "rectanglelabels": ["House"]}, "not a rectanglelabels"),
        ({"x": 0, "y": 0, "width": 1, "height": 1, "rectanglelabels": []}, "not a rectanglelabels"),
        ([], "not a rectanglelabels"),
    ],
)
def test_a_broken_region_is_named(value: Any, says: str) -> None:
    item, good = _item("rectanglelabels", value), _item("rectanglelabels", GOOD)
    with pytest.raises(InvalidInput, match=says):
        decode_region(item)
    assert len(decode_regions([item, good], CONFIG)) == 1, "the others are kept"


def test_a_label_that_the_config_lost_is_kept_and_noted(caplog: pytest.LogCaptureFixture) -> None:
    (region,) = decode_regions([_item("rectanglelabels", {**GOOD, "rectanglelabels": ["Boat"]})], CONFIG)
    assert region.label == "Boat"
    assert "'Boat' is not in the label config" in caplog.text


def test_an_annotation_of_the_api_and_one_of_a_webhook_say_the_same() -> None:
    value = {"x": 0, "y": 0, "width": 50, "height": 50, "rectanglelabels": ["House"]}
    body = {
        "id": 3,
        "created_at": "2026-11-20T12:00:00.500000Z",
        "lead_time": 2.5,
        "was_cancelled": False,
        "result": [_item("rectanglelabels", value)],
    }
    by_api = decode_annotation({**body, "completed_by": {"id": 7, "email": "a@b.co"}}, 5, CONFIG)
    by_hook = decode_annotation({**body, "completed_by": 7}, 5, None)
    assert (by_api.task_id, by_api.author, by_api.lead_time, len(by_api.regions)) == (5, "a@b.co", 2.5, 1)
    assert (by_hook.created, by_hook.author, by_hook.regions) == (by_api.created, "7", ())


def _item(kind: str, value: Any, width: int = 100, height: int = 100) -> dict[str, Any]:
    sizes = {"original_width": width, "original_height": height}
    return {"id": "r1", "type": kind, "from_name": "label", "to_name": "image", **sizes, "value": value}
