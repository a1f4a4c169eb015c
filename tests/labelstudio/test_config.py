"""Which control of a label config we serve, and what we say when there is none."""

from __future__ import annotations

import pytest

from groundlook.core.errors import InvalidConfig
from groundlook.core.types import Control
from groundlook_adapters.labelstudio.config import NUMBERS, SERVED, parse_config

BOXES = '<RectangleLabels name="label" toName="image"><Label value="House"/><Label value="Tree"/></RectangleLabels>'
PER_REGION = '<Choices name="roof" toName="image" perRegion="true"><Choice value="flat"/></Choices>'
IMAGE = '<Image name="image" value="$picture"/>'


def test_the_served_control_and_its_image() -> None:
    config = parse_config(f"<View>{IMAGE}{BOXES}</View>")
    assert (config.control, config.image, config.data_key) == ("label", "image", "picture")
    assert config.labels == ("House", "Tree")
    assert config.controls == (Control("label", "RectangleLabels", ("House", "Tree"), "image", "picture"),)
    assert (config.others, config.unserved) == ((), ())


def test_polygons_beside_boxes_are_read_too() -> None:
    polygons = '<PolygonLabels name="outline" toName="image"><Label value="Field"/></PolygonLabels>'
    config = parse_config(f"<View>{polygons}{IMAGE}{BOXES}<Choices name='c' toName='image'/></View>")
    assert config.control == "label"
    assert {c.name: c.labels for c in config.controls} == {"label": ("House", "Tree"), "outline": ("Field",)}


@pytest.mark.parametrize("tag", SERVED)
def test_a_project_with_one_kind_of_control_is_served(tag: str) -> None:
    config = parse_config(f"<View>{IMAGE}{control(tag)}</View>")
    assert (config.control, config.control_type, config.labels) == ("c", tag, ("House", "Tree"))
    assert config.controls == (Control("c", tag, ("House", "Tree"), "image", "picture"),)


def test_every_control_is_kept_and_the_preferred_is_served() -> None:
    parts = "".join(control(tag, f"c{k}") for k, tag in enumerate(reversed(SERVED)))
    config = parse_config(f"<View>{parts}{PER_REGION}{IMAGE}</View>")
    assert config.control_type == "RectangleLabels"
    assert [c.type for c in config.controls] == list(reversed(SERVED)), "in the config's order, without `roof`"
    assert config.unserved == (("Choices", "roof"),)


def test_a_choice_goes_by_its_alias_and_choices_may_be_nested() -> None:
    inner = '<View><Choice value="Built up" alias="built"/></View><Choice value="Water"/>'
    config = parse_config(f'<View>{IMAGE}<Choices name="c" toName="image">{inner}</Choices></View>')
    assert config.labels == ("built", "Water")


def control(tag: str, name: str = "c", image: str = "image", more: str = "") -> str:
    label = "Choice" if tag == "Choices" else "Label"
    return f'<{tag} name="{name}" toName="{image}" {more}><{label} value="House"/><{label} value="Tree"/></{tag}>'


def test_what_a_control_takes() -> None:
    parts = (
        control("KeyPointLabels", "click", more='smart="true"'),
        control("RectangleLabels", "drag", more='smartOnly="true"'),
        control("PolygonLabels", "outline", more='smart="false"'),
        control("Choices", "one", more='choice="single-radio"'),
        control("Choices", "some", more='choice="multiple"'),
        '<Number name="count" toName="image" min="0" max="99.5"/>',
        '<Number name="free" toName="image" max="many"/>',
        '<Rating name="stars" toName="image" maxRating="10"/>',
        '<Rating name="plain" toName="image"/>',
    )
    found = {c.name: c for c in parse_config(f"<View>{IMAGE}{''.join(parts)}</View>").controls}
    assert [name for name, c in found.items() if c.smart] == ["click", "drag"]
    assert [name for name, c in found.items() if c.several] == ["some"]
    bounds = {name: (c.least, c.most) for name, c in found.items() if c.type in NUMBERS}
    assert bounds == {"count": (0, 99.5), "free": (None, None), "stars": (1, 10), "plain": (1, 5)}
    assert {c.labels for c in found.values() if c.type in NUMBERS} == {()}


def test_several_images_each_with_its_controls() -> None:
    """The most preferred control is served, whichever image it is on; of several, the one on the first image."""
    images = '<Image name="before" value="$old"/><Image name="after" value="$new"/><Image name="map" value="$map"/>'
    parts = (
        control("Choices", "changed", "map"),
        control("RectangleLabels", "built", "after"),
        control("RectangleLabels", "gone", "before"),
        control("BrushLabels", "mask", "before"),
    )
    config = parse_config(f"<View>{images}{''.join(parts)}</View>")
    assert (config.control, config.image, config.data_key) == ("gone", "before", "old")
    assert [(c.name, c.image, c.data_key) for c in config.controls] == [
        ("gone", "before", "old"),
        ("mask", "before", "old"),
    ]
    assert [(c.name, c.image, c.data_key) for c in config.others] == [
        ("changed", "map", "map"),
        ("built", "after", "new"),
    ]


def test_what_gets_no_answer_is_named() -> None:
    parts = (
        BOXES,
        PER_REGION,
        '<BitmaskLabels name="bits" toName="image"><Label value="House"/></BitmaskLabels>',
        '<VectorLabels name="line" toName="image"><Label value="Road"/></VectorLabels>',
        '<Rectangle name="box" toName="image"/><Labels name="what" toName="image"><Label value="House"/></Labels>',
        '<PolygonLabels name="from the task" toName="image" value="$labels"/>',
        '<Number name="floors" toName="image" perRegion="true"/>',
        '<TextArea name="words" toName="image"/><TextArea name="elsewhere" toName="text"/>',
        '<Image name="pages" value="$first" valueList="$pages"/>',
        control("RectangleLabels", "of pages", "pages"),
        '<Text name="text" value="$text"/><Relations><Relation value="beside"/></Relations>',
    )
    config = parse_config(f"<View>{IMAGE}{''.join(parts)}</View>")
    assert [c.name for c in config.controls] == ["label"]
    assert config.unserved == (
        ("Choices", "roof"),
        ("BitmaskLabels", "bits"),
        ("VectorLabels", "line"),
        ("Rectangle", "box"),
        ("Labels", "what"),
        ("PolygonLabels", "from the task"),
        ("Number", "floors"),
        ("TextArea", "words"),
        ("RectangleLabels", "of pages"),
        ("Relations", ""),
    )


@pytest.mark.parametrize("tag", NUMBERS)
def test_a_number_alone_is_served_without_labels(tag: str) -> None:
    """A plan says what it counts; there is nothing to learn from it."""
    config = parse_config(f'<View>{IMAGE}<{tag} name="n" toName="image"/></View>')
    assert (config.control, config.control_type, config.labels) == ("n", tag, ())
    both = parse_config(f'<View>{IMAGE}<{tag} name="n" toName="image"/>{control("Choices")}</View>')
    assert both.control == "c", "whatever has labels comes before it"


@pytest.mark.parametrize(
    ("xml", "says"),
    [
        ("<View", "not valid XML"),
        ("", "not valid XML"),
        ("<View/>", "no Image tag"),
        ('<View><Text name="t" value="$t"/></View>', "no Image tag"),
        (f"<View>{IMAGE}</View>", r"no RectangleLabels, .* or Choices with labels on an image \(found: none\)"),
        (f'<View>{IMAGE}<TextArea name="c" toName="image"/></View>', "found: TextArea"),
        (f'<View>{IMAGE}<RectangleLabels name="l" toName="image"/></View>', "found: RectangleLabels"),
        (f"<View>{IMAGE}{PER_REGION}</View>", "found: Choices"),
        ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><View>&x;</View>', "declares entities"),
        (f"<View>{'x' * 1_100_000}</View>", "over 1000000 bytes"),
    ],
)
def test_a_config_that_we_cannot_serve_says_what_is_missing(xml: str, says: str) -> None:
    with pytest.raises(InvalidConfig, match=says):
        parse_config(xml)
