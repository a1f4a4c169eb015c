"""Which control of a label config we serve, and what we say when there is none."""

from __future__ import annotations

import pytest

from groundlook.core.errors import InvalidConfig
from groundlook.core.types import Control
from groundlook_adapters.labelstudio.config import parse_config

BOXES = '<RectangleLabels name="label" toName="image"><Label value="House"/><Label value="Tree"/></RectangleLabels>'
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


@pytest.mark.parametrize(
    ("xml", "says"),
    [
        ("<View", "not valid XML"),
        ("", "not valid XML"),
        ("<View/>", "no Image tag"),
        ('<View><Text name="t" value="$t"/></View>', "no Image tag"),
        (f"<View>{IMAGE}</View>", r"no RectangleLabels with labels on an image \(found: none\)"),
        (f'<View>{IMAGE}<Choices name="c" toName="image"><Choice value="a"/></Choices></View>', "found: Choices"),
        (f'<View>{IMAGE}<RectangleLabels name="l" toName="image"/></View>', "no RectangleLabels with labels"),
        ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><View>&x;</View>', "declares entities"),
        (f"<View>{'x' * 1_100_000}</View>", "over 1000000 bytes"),
    ],
)
def test_a_config_that_we_cannot_serve_says_what_is_missing(xml: str, says: str) -> None:
    with pytest.raises(InvalidConfig, match=says):
        parse_config(xml)
