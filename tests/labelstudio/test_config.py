"""Which control of a label config we serve, and what we say when there is none."""

from __future__ import annotations

import pytest

from groundlook.core.errors import InvalidConfig
from groundlook.core.types import Control
from groundlook_adapters.labelstudio.config import SERVED, parse_config

BOXES = '<RectangleLabels name="label" toName="image"><Label value="House"/><Label value="Tree"/></RectangleLabels>'
PER_REGION = '<Choices name="roof" toName="image" perRegion="true"><Choice value="flat"/></Choices>'
IMAGE = '<Image name="image" value="$picture"/>'


def test_the_served_control_and_its_image() -> None:
    config = parse_config(f"<View>{IMAGE}{BOXES}</View>")
    assert (config.control, config.image, config.data_key) == ("label", "image", "picture")
    assert config.labels == ("House", "Tree")
    assert config.controls == (Control("label", "RectangleLabels", ("House", "Tree")),)


def test_polygons_beside_boxes_are_read_too() -> None:
    polygons = '<PolygonLabels name="outline" toName="image"><Label value="Field"/></PolygonLabels>'
    config = parse_config(f"<View>{polygons}{IMAGE}{BOXES}<Choices name='c' toName='image'/></View>")
    assert config.control == "label"
    assert {c.name: c.labels for c in config.controls} == {"label": ("House", "Tree"), "outline": ("Field",)}


@pytest.mark.parametrize("tag", SERVED)
def test_a_project_with_one_kind_of_control_is_served(tag: str) -> None:
    config = parse_config(f"<View>{IMAGE}{control(tag)}</View>")
    assert (config.control, config.control_type, config.labels) == ("c", tag, ("House", "Tree"))
    assert config.controls == (Control("c", tag, ("House", "Tree")),)


def test_every_control_is_kept_and_the_preferred_is_served() -> None:
    parts = "".join(control(tag, f"c{k}") for k, tag in enumerate(reversed(SERVED)))
    config = parse_config(f"<View>{parts}{PER_REGION}{IMAGE}</View>")
    assert config.control_type == "RectangleLabels"
    assert [c.type for c in config.controls] == list(reversed(SERVED)), "in the config's order, without `roof`"


def test_a_choice_goes_by_its_alias_and_choices_may_be_nested() -> None:
    inner = '<View><Choice value="Built up" alias="built"/></View><Choice value="Water"/>'
    config = parse_config(f'<View>{IMAGE}<Choices name="c" toName="image">{inner}</Choices></View>')
    assert config.labels == ("built", "Water")


def control(tag: str, name: str = "c") -> str:
    label = "Choice" if tag == "Choices" else "Label"
    return f'<{tag} name="{name}" toName="image"><{label} value="House"/><{label} value="Tree"/></{tag}>'


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
