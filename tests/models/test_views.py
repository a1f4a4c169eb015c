"""A look that is mapped back says of the tile what the plain look says: for every shape, turn, mirror and scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import Tile
from groundlook.core.geometry import Box, Ellipse, Point, Polygon, WholeTile, envelope
from groundlook.core.mask import Mask
from groundlook.core.types import ModelVersion, Prediction, Region
from groundlook.models.segmentation.regions import cells
from groundlook.models.views import PLAIN, VIEWS, View, looks

SIZE = (40, 24)
turned = st.builds(View, st.booleans(), st.integers(0, 3))


class Bright:
    """Finds the bright pixels, in whatever it is shown: a model without a side that it likes."""

    version = ModelVersion("bright", "aa")

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def predict(self, tiles: Sequence[Tile]) -> list[Prediction]:
        return [self._one(tile.pixels[..., 0] > 127) for tile in tiles]

    def _one(self, seen: np.ndarray) -> Prediction:
        mask = Mask.of(seen)
        (x0, y0), (x1, y1) = mask.corners()[[0, 2]]
        found = (Region(mask, "a", 0.9), Region(Box(x0, y0, x1 - x0, y1 - y0), "a", 0.9))
        if self.kind == "detection":
            return Prediction(self.version, found, np.array([[0.9]], np.float32), 0.9)
        light = np.where(seen, 0.9, 0.1).astype(np.float32)
        return Prediction(self.version, found[:1], cells(np.stack([1 - light, light]), 8), 0.9, kind="segmentation")


def tile() -> Tile:
    pixels = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    pixels[3:9, 5:30] = 255
    pixels[9:14, 5:10] = 255
    return Tile(pixels)


@pytest.mark.parametrize("kind", ["detection", "segmentation"])
@given(view=turned)
def test_turned_and_mirrored_looks_agree_to_the_pixel(kind: str, view: View) -> None:
    ((plain, seen),) = looks(Bright(kind), [tile()], [PLAIN, view])
    assert seen.regions == plain.regions
    assert seen.proba == pytest.approx(plain.proba)


@pytest.mark.parametrize("view", [View(scale=0.5), View(True, 1, 2.0), View(False, 3, 0.8)])
def test_scaled_looks_agree_to_a_pixel_or_two(view: View) -> None:
    ((plain, seen),) = looks(Bright("detection"), [tile()], [PLAIN, view])
    for one, other in zip(plain.regions, seen.regions, strict=True):
        assert envelope(other.shape) == pytest.approx(envelope(one.shape), abs=2)
    ((plain, seen),) = looks(Bright("segmentation"), [tile()], [PLAIN, view])
    assert np.abs(seen.proba - plain.proba).mean() < 0.1


SHAPES = [
    Box(3, 4, 10, 6),
    Box(12, 4, 10, 6, 30),
    Polygon(((1, 2), (9, 3), (4, 8))),
    Ellipse(20, 12, 9, 3, 25),
    Point(7, 3),
    WholeTile(),
]


@given(view=turned, scale=st.floats(0.5, 2), shape=st.sampled_from(SHAPES))
def test_a_shape_comes_back_as_the_points_it_is_made_of(view: View, scale: float, shape: Box) -> None:
    """Its outline, as a set of points: that of the shape itself mapped back."""
    view = View(view.mirrored, view.turns, scale)
    back = view.back(shape, SIZE)
    assert type(back) is type(shape)
    if not isinstance(shape, WholeTile):
        wanted, got = view.points_back(shape.corners(), SIZE), back.corners()
        gaps = np.linalg.norm(wanted[:, None] - got[None], axis=2)
        # A picture of 24 px is scaled to whole pixels, hence not quite alike along both sides.
        near = 1e-6 if scale == 1 and not isinstance(shape, Ellipse) else 1.0
        assert gaps.min(axis=1).max() < near
        assert len(got) == len(wanted)


def test_the_defaults_look_four_times_and_a_view_must_have_a_size() -> None:
    model = Bright("detection")
    assert [len(found) for found in looks(model, [tile(), tile()])] == [len(VIEWS)] * 2
    assert looks(model, []) == []
    with pytest.raises(InvalidInput, match="scaled by 0"):
        looks(model, [tile()], [View(scale=0)])
