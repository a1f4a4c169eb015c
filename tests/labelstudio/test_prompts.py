"""What smart tools send: which object each prompt belongs to, which control the answer is for, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundlook.core.errors import InvalidInput
from groundlook.core.geometry import Box, Ellipse, Point, Polygon, Shape
from groundlook.core.mask import Mask
from groundlook.core.prompts import Prompts
from groundlook.core.types import Control, ModelVersion, Prediction, Region
from groundlook_adapters.labelstudio.config import parse_config
from groundlook_adapters.labelstudio.prompts import MAX_PROMPTS, Asked, answering, asked_image, decode_prompts
from groundlook_adapters.labelstudio.values import encode_value
from groundlook_adapters.labelstudio.wire import encode_prediction

SIZE = (200, 100)
KINDS = {Point: "keypoint", Box: "rectangle", Ellipse: "ellipse", Polygon: "polygon", Mask: "brush"}
TOOLS = {"keypoint": "click", "rectangle": "drag", "ellipse": "round", "polygon": "trace", "brush": "paint"}


def labels(tag: str, name: str, *values: str, smart: bool = False, image: str = "image") -> str:
    inner = "".join(f'<Label value="{v}"/>' for v in values)
    return f'<{tag} name="{name}" toName="{image}" smart="{str(smart).lower()}">{inner}</{tag}>'


CONFIG = parse_config(
    "<View><Image name='image' value='$image'/><Image name='before' value='$old'/>"
    + labels("KeyPointLabels", "click", "House", "Tree", smart=True)
    + labels("RectangleLabels", "drag", "House", "Tree", smart=True)
    + labels("EllipseLabels", "round", "House", smart=True)
    + labels("PolygonLabels", "trace", "House", smart=True)
    + labels("BrushLabels", "paint", "House", "Tree")
    + labels("KeyPointLabels", "old click", "House", smart=True, image="before")
    + labels("PolygonLabels", "old outline", "House", image="before")
    + "<TextArea name='words' toName='image'/><Choices name='scene' toName='image'><Choice value='Town'/></Choices>"
    + "</View>"
)


def item(shape: Shape, label: str = "House", positive: Any = None, **more: Any) -> dict[str, Any]:
    """As the editor serializes it."""
    kind = KINDS[type(shape)]
    body = {
        "original_width": SIZE[0],
        "original_height": SIZE[1],
        "image_rotation": 0,
        "value": {**encode_value(shape, SIZE), f"{kind}labels": [label], "labels": [label]},
        "id": f"{id(shape)}",
        "from_name": TOOLS[kind],
        "to_name": "image",
        "type": f"{kind}labels",
        "origin": "manual",
    }
    if positive is None and isinstance(shape, Point):
        positive = True
    return {**body, **({} if positive is None else {"is_positive": positive}), **more}


def test_regions_that_are_there_already_point_at_nothing() -> None:
    """The editor sends them along: key points of the label without the sign of a prompt, boxes that were answers."""
    click, old = item(Point(20, 30)), item(Point(70, 80))
    del old["is_positive"]
    assert points(asked(old, click).prompts[0]) == [(20, 30, True)]
    new = item(Box(10, 10, 20, 20), id="new")
    answer, loaded = item(Box(40, 40, 9, 9), score=0.9), item(Box(80, 40, 9, 9), origin="prediction-changed")
    saved = item(Box(60, 40, 9, 9), id="saved1")
    found = asked(answer, loaded, saved, new, saved=frozenset({"saved1"}))
    assert [p.box for p in found.prompts] == [(10, 10, 30, 30)]
    assert len(asked(saved, saved=frozenset({"saved1"})).prompts) == 1, "the last is what was just drawn"


def test_key_points_of_a_program_that_knows_no_signs_are_positive() -> None:
    bare = item(Point(20, 30))
    del bare["is_positive"]
    assert points(asked(bare).prompts[0]) == [(20, 30, True)]


def asked(*items: dict[str, Any], **more: Any) -> Asked:
    return decode_prompts({"result": list(items)}, CONFIG, SIZE, **more)


def points(prompts: Prompts) -> list[tuple[float, float, bool]]:
    assert prompts.points.dtype == np.float32
    assert prompts.positive.dtype == np.bool_
    assert prompts.points.shape == (len(prompts.positive), 2)
    return [(float(x), float(y), bool(p)) for (x, y), p in zip(prompts.points, prompts.positive, strict=True)]


def test_clicks_are_one_object_in_the_order_given() -> None:
    found = asked(item(Point(20, 30), positive=True), item(Point(50, 60), positive=False), item(Point(70, 80)))
    (one,) = found.prompts
    assert points(one) == [(20, 30, True), (50, 60, False), (70, 80, True)]
    assert (one.label, one.box, one.mask, one.text) == ("House", None, None, "")
    assert (found.control.name, found.image) == ("paint", "image")


@pytest.mark.parametrize(("sign", "positive"), [(1, True), (0, False), (True, True), ("1", True), ("false", False)])
def test_a_sign_is_a_number_or_a_word(sign: Any, positive: bool) -> None:
    (one,) = asked(item(Point(1, 1)), item(Point(2, 2), positive=sign)).prompts
    assert bool(one.positive[1]) is positive


def test_each_box_is_an_object_with_the_points_inside_it() -> None:
    found = asked(
        item(Box(10, 10, 80, 80)),
        item(Box(20, 20, 20, 20)),
        item(Point(30, 30)),
        item(Point(80, 80)),
        item(Point(150, 50)),
        item(Point(15, 15), positive=0),
        item(Point(151, 51), "Tree"),
    )
    negative = (15, 15, False)
    assert [(p.box, p.label, points(p)) for p in found.prompts] == [
        ((10, 10, 90, 90), "House", [(80, 80, True), negative]),
        ((20, 20, 40, 40), "House", [(30, 30, True), negative]),
        (None, "House", [(150, 50, True), negative]),
        (None, "Tree", [negative, (151, 51, True)]),
    ]


def test_a_point_of_another_label_is_another_object() -> None:
    found = asked(item(Box(10, 10, 80, 80)), item(Point(30, 30), "Tree"))
    assert [(p.label, p.box is None) for p in found.prompts] == [("House", False), ("Tree", True)]


def test_whatever_has_an_outline_gives_the_box_around_it() -> None:
    turned, round_, traced = Box(100, 20, 30, 30, 45), Ellipse(50, 50, 20, 10), Polygon(((1, 2), (9, 3), (4, 8)))
    boxes = [p.box for p in asked(item(turned), item(round_), item(traced)).prompts]
    side = 30 / 2**0.5
    assert np.allclose(boxes, [(100 - side, 20, 100 + side, 20 + 2 * side), (30, 40, 70, 60), (1, 2, 9, 8)])


def _blob(x0: int, y0: int, x1: int, y1: int) -> Mask:
    pixels = np.zeros((SIZE[1], SIZE[0]), dtype=bool)
    pixels[y0:y1, x0:x1] = True
    return Mask.of(pixels)


def test_a_painted_mask_is_what_was_answered_before() -> None:
    mask = _blob(20, 20, 40, 40)
    (one,) = asked(item(Point(30, 30)), item(mask), item(Point(60, 60), positive=0)).prompts
    assert one.mask == mask
    assert len(one.points) == 2
    far, near = asked(item(Box(100, 0, 50, 50)), item(Box(10, 10, 40, 40)), item(mask)).prompts
    assert (far.mask, near.mask) == (None, mask)
    alone, of_tree = asked(item(Box(100, 0, 50, 50)), item(mask, "Tree")).prompts
    assert (alone.mask, of_tree.mask, of_tree.box) == (None, mask, None)
    (painted,) = asked(item(mask)).prompts
    assert (painted.mask, len(painted.points)) == (mask, 0)


def text(words: Any, **more: Any) -> dict[str, Any]:
    return {"type": "textarea", "from_name": "words", "to_name": "image", "id": "t", "value": {"text": words}, **more}


def test_a_text_says_more_of_every_object_or_is_one() -> None:
    found = asked(item(Box(1, 1, 9, 9)), item(Box(20, 20, 9, 9)), text(["red", " roofs "]))
    assert [p.text for p in found.prompts] == ["red roofs"] * 2
    (one,) = asked(text("tree")).prompts
    assert (one.text, one.label, one.box) == ("tree", "Tree", None)
    with pytest.raises(InvalidInput, match="'red roofs' names no label: write one of House, Tree, or draw a box"):
        asked(text(["red roofs"]))


def test_a_picture_shown_at_another_size() -> None:
    (one,) = asked(item(Point(20, 30), original_width=400, original_height=200)).prompts
    assert points(one) == [(20, 30, True)]
    bare = item(Point(20, 30))
    del bare["original_width"], bare["original_height"], bare["to_name"], bare["id"]
    assert points(asked(bare).prompts[0]) == [(20, 30, True)]


def test_a_click_with_several_tools_chosen_is_one_click() -> None:
    """With the brush's label chosen too, the editor sends the click a second time as a brush."""
    click = item(Point(20, 30), positive=True)
    brush = {
        **click,
        "type": "brushlabels",
        "from_name": "paint",
        "value": {**click["value"], "brushlabels": ["House"]},
    }
    choice = {**click, "type": "choices", "from_name": "scene", "value": {**click["value"], "choices": ["Town"]}}
    for result in ([click, brush, choice], [brush, click]):
        (one,) = asked(*result).prompts
        assert points(one) == [(20, 30, True)]


def test_the_second_image_is_pointed_at() -> None:
    click = item(Point(20, 30), from_name="old click", to_name="before")
    assert asked_image({"result": [click]}, CONFIG) == "before"
    assert asked_image({"result": [item(Point(20, 30))]}, CONFIG) == ""
    found = asked(click)
    assert (found.image, found.control.name, found.control.data_key) == ("before", "old outline", "old")


def test_a_label_of_the_only_one_needs_no_choice() -> None:
    click = item(Point(20, 30), from_name="old click", to_name="before")
    click["value"] = {"x": 10, "y": 30, "width": 1}
    assert asked(click).prompts[0].label == "House"


BAD_CONTEXTS: list[tuple[Any, str]] = [
    (None, r'no \{"result": \[regions\]\}'),
    ([], r'no \{"result"'),
    ({}, r'no \{"result"'),
    ({"result": None}, r'no \{"result"'),
    ({"result": [None]}, r'no \{"result"'),
    ({"result": []}, r"nothing is pointed at \(regions: none\)"),
    ({"result": [{"type": "choices"}, {}]}, r"nothing is pointed at \(regions: None, choices\)"),
    ({"result": [item(Point(1, 1))] * (MAX_PROMPTS + 1)}, "1001 prompts in one call; 1000 are read at most"),
    ({"result": [item(Point(1, 1), positive=0)]}, "only negative points.*add a positive point or a box"),
    ({"result": [item(Point(1, 1)), item(Point(1, 1), from_name="old click", to_name="before")]}, "several images"),
    ({"result": [item(Point(1, 1), to_name="elsewhere")]}, "a prompt on 'elsewhere'; the label config has before"),
    ({"result": [item(Point(1, 1), to_name="before")]}, "'click' on 'before'; that control is on 'image'"),
    ({"result": [item(Point(1, 1), from_name="gone")]}, "a prompt of 'gone'; the label config has click, drag"),
    ({"result": [item(Point(1, 1), "Boat")]}, "'click' has no label 'Boat'; it has House, Tree"),
    ({"result": [item(Point(1, 1), value={"x": 1, "y": 1})]}, "no label is chosen for 'click'; choose one of House"),
    ({"result": [item(Point(1, 1), value={"x": 1, "keypointlabels": ["House"]})]}, r"is no keypointlabels \(KeyError"),
    ({"result": [item(Point(1, 1), value=None)]}, "is no keypointlabels .it has no value"),
    ({"result": [item(Point(float("nan"), 1))]}, "nan is not a number"),
    ({"result": [item(Box(1, 1, float("inf"), 1))]}, "inf is not a number"),
    ({"result": [item(Point(1, 1), original_height=200)]}, "not the shape of the tile's 200 × 100 px"),
    ({"result": [item(_blob(1, 1, 9, 9), value={"format": "rle", "rle": [1], "brushlabels": ["House"]})]}, "brush rle"),
    ({"result": [text(7)]}, "the text of 'words' is no text: 7"),
    ({"result": [text("")]}, "only negative points"),
]


@pytest.mark.parametrize(("context", "says"), BAD_CONTEXTS)
def test_what_cannot_be_understood_is_named(context: Any, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        decode_prompts(context, CONFIG, SIZE)


def test_labels_that_two_controls_answer() -> None:
    config = parse_config(
        "<View><Image name='image' value='$image'/>"
        + labels("KeyPointLabels", "click", "House", "Tree", smart=True)
        + labels("PolygonLabels", "outline", "House")
        + labels("BrushLabels", "paint", "Tree")
        + "</View>"
    )
    result = [item(Point(1, 1)), item(Point(9, 9), "Tree")]
    with pytest.raises(
        InvalidInput, match=r"'House' with 'outline', 'Tree' with 'paint'\); ask for one of them at a time"
    ):
        decode_prompts({"result": result}, config, SIZE)


ANSWERS: list[tuple[tuple[str, ...], str, str, str]] = [
    # controls (a capital: smart), the tool used, wanted, the control that answers
    (("Key", "brush"), "key", "", "brush"),
    (("Key", "polygon", "brush"), "key", "", "polygon"),
    (("Key", "brush", "polygon"), "key", "", "brush"),
    (("Key", "brush", "polygon"), "key", "polygon", "polygon"),
    (("Key", "brush", "polygon"), "key", "elsewhere", "brush"),
    (("Key", "Rectangle", "polygon"), "rectangle", "", "polygon"),
    (("Key", "Rectangle", "Brush"), "rectangle", "", "rectangle"),
    (("Key", "Rectangle", "Brush"), "key", "", "rectangle"),
    (("Key", "rectangle"), "key", "", "rectangle"),
    (("Key", "ellipse"), "key", "", "ellipse"),
    (("Key",), "key", "", "key"),
    (("Key", "brush"), "key", "key", "key"),
]
NAMES = {
    "key": "KeyPointLabels",
    "brush": "BrushLabels",
    "polygon": "PolygonLabels",
    "rectangle": "RectangleLabels",
    "ellipse": "EllipseLabels",
}


@pytest.mark.parametrize(("controls", "tool", "wanted", "answer"), ANSWERS)
def test_which_control_answers(controls: tuple[str, ...], tool: str, wanted: str, answer: str) -> None:
    parts = [labels(NAMES[c.lower()], c.lower(), "House", smart=c[0].isupper()) for c in controls]
    config = parse_config(f"<View><Image name='image' value='$image'/>{''.join(parts)}</View>")
    used = next(c for c in config.controls if c.name == tool)
    assert answering(config, "image", used, "House", wanted).name == answer


def test_a_control_without_the_label_does_not_answer() -> None:
    used = Control("click", "KeyPointLabels", ("Tree",), "image", smart=True)
    assert answering(CONFIG, "image", used, "Tree", "trace").name == "paint"
    with pytest.raises(InvalidInput, match="no control on 'image' can show an object with the label 'Boat'"):
        answering(CONFIG, "image", used, "Boat")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
keys = st.sampled_from(["type", "from_name", "to_name", "value", "id", "is_positive", "original_width"])
value_keys = st.sampled_from(["x", "y", "width", "height", "points", "rle", "labels", "keypointlabels", "text"])


@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(TOOLS)), st.dictionaries(keys, json_values), st.dictionaries(value_keys, json_values)
        ),
        max_size=4,
    )
)
def test_no_json_breaks_it(parts: list[tuple[str, dict[str, Any], dict[str, Any]]]) -> None:
    click = item(Point(20, 30))
    result = [
        {**click, "type": f"{kind}labels", "from_name": TOOLS[kind], "value": {**click["value"], **value}, **more}
        for kind, more, value in parts
    ]
    try:
        found = decode_prompts({"result": result}, CONFIG, SIZE)
    except InvalidInput:
        return
    assert found.prompts
    assert all(np.isfinite(p.points).all() for p in found.prompts)


def test_an_answer_goes_where_it_was_asked_for() -> None:
    found = asked(item(Point(20, 30), from_name="old click", to_name="before"))
    region = Region(Polygon(((1, 1), (9, 1), (5, 9))), "House", 0.9, control=found.control.name)
    body = encode_prediction(Prediction(ModelVersion("sam", "1"), (region,), size=SIZE), CONFIG, 0.0, "sam@1")
    assert [(i["from_name"], i["to_name"]) for i in body["result"]] == [("old outline", "before")]
