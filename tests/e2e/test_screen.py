"""What a person sees: our tiles in Label Studio's editor, in headless Chromium, with regions where they belong."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page

from groundlook.core.geometry import Box, Ellipse, Point, Polygon, WholeTile, envelope
from groundlook.core.mask import Mask
from groundlook.core.types import Region
from groundlook.demo.backend import Backend
from groundlook.demo.house import create_project
from groundlook.demo.studio import Studio
from groundlook_adapters.labelstudio.config import parse_config
from groundlook_adapters.labelstudio.wire import decode_regions, encode_region
from tests.e2e.owner import call, log_in, submit

pytestmark = pytest.mark.e2e

SIZE = 400
RED = (slice(120, 200), slice(100, 260))
"""Rows and columns of a red field on the grey ground of the second tile."""
COLOURS = {"Box": 0, "Outline": 60, "Brush": 120, "Ellipse": 150, "Point": 90}
"""Labels and their hues, as OpenCV counts them (degrees / 2)."""
CONTROLS = {
    "RectangleLabels": ("Box", "#ff0000"),
    "PolygonLabels": ("Outline", "#00ff00"),
    "BrushLabels": ("Brush", "#0000ff"),
    "EllipseLabels": ("Ellipse", "#ff00ff"),
    "KeyPointLabels": ("Point", "#00ffff"),
}
XML = (
    '<View><Image name="image" value="$image"/>'
    + "".join(
        f'<{tag} name="{tag}" toName="image" strokeWidth="3" opacity="{0 if tag == "PolygonLabels" else 0.6}">'
        f'<Label value="{label}" background="{colour}"/></{tag}>'
        for tag, (label, colour) in CONTROLS.items()
    )
    + '<Choices name="Choices" toName="image"><Choice value="Field"/><Choice value="Town"/></Choices></View>'
)
CONFIG = parse_config(XML)
GREY, TILE = (110, 110, 110), (SIZE, SIZE)


def _hole() -> Mask:
    pixels = np.zeros((SIZE, SIZE), dtype=bool)
    pixels[250:340, 230:380] = True
    pixels[280:310, 270:340] = False
    return Mask.of(pixels)


FIELD = Region(Polygon(((100.0, 120.0), (260.0, 120.0), (260.0, 200.0), (100.0, 200.0))), "Outline", uid="field00001")
SHAPES = (
    Region(Box(160.0, 40.0, 120.0, 60.0, 30.0), "Box", 0.7, uid="box0000001"),
    Region(Polygon(((20.25, 30.5), (90.0, 24.0), (80.75, 120.125), (15.0, 100.0))), "Outline", uid="polygon001"),
    Region(_hole(), "Brush", uid="brush00001"),
    Region(Ellipse(110.0, 300.0, 85.0, 30.0, 25.0), "Ellipse", uid="ellipse001"),
    Region(Point(350.5, 60.25), "Point", uid="point00001"),
    Region(WholeTile(), "Town", uid="choice0001"),
)


@dataclass(frozen=True, slots=True)
class Desk:
    """`tasks`: by the first column of their windows."""

    studio: Studio
    page: Page
    project: int
    tasks: dict[int, int]
    folder: Path

    def look(self, name: str) -> NDArray[np.uint8]:
        """What the editor shows when the tile is there."""
        self.page.wait_for_selector("canvas", timeout=60_000)
        self.page.wait_for_function("() => [...document.images].some(i => i.src.includes('/tiles/') && i.naturalWidth)")
        self.page.wait_for_timeout(2_000)  # the editor fades in
        picture = self.page.screenshot(path=self.folder / name)
        return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))


@pytest.fixture(scope="module")
def desk(studio: Studio, page: Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A project with every control and two tiles, the service behind it, and a browser that is logged in."""
    folder = tmp_path_factory.mktemp("screen")
    project = create_project(studio, "Screen", XML)
    environ = {"GROUNDLOOK_LABEL_STUDIO_URL": studio.url, "GROUNDLOOK_TOKEN": studio.token}
    with Backend(folder / "home", [folder], environ) as backend:
        _scene(folder / "scene.tif")
        words = ("--project", str(project), "--tile", str(SIZE), "--overlap", "0")
        assert backend.run("ingest", str(folder / "scene.tif"), *words)["tasks"] == 2
        log_in(page, studio)
        tasks = call(studio, "GET", f"/api/tasks?project={project}&fields=all")["tasks"]
        yield Desk(studio, page, project, {t["data"]["geo"]["window"][0]: t["id"] for t in tasks}, folder)


def test_a_tile_is_shown_and_its_region_lies_on_what_it_outlines(desk: Desk) -> None:
    task = desk.tasks[SIZE]
    call(desk.studio, "POST", f"/api/tasks/{task}/annotations/", {"result": [encode_region(FIELD, CONFIG, TILE)]})
    desk.page.goto(f"{desk.studio.url}/projects/{desk.project}/data?task={task}")
    seen = desk.look("field.png")
    red, green = _bounds(_like(seen, (200, 30, 30))), _bounds(_like(seen, (0, 255, 0)))
    scale = (red[2] - red[0]) / (RED[1].stop - RED[1].start)
    assert scale > 0.5, "the tile is shown, at a size that a person can work with"
    assert (red[3] - red[1]) / (RED[0].stop - RED[0].start) == pytest.approx(scale, rel=0.03)
    # The line is drawn around the edge: half of its width is outside.
    assert np.abs(np.subtract(green, red)).max() <= 4, (green, red)


def test_every_region_type_is_drawn_where_it_is_and_comes_back_as_it_was(desk: Desk) -> None:
    """A prediction of ours, shown to a person who presses Submit: the browser is the judge of our geometry."""
    task = desk.tasks[0]
    result = [encode_region(region, CONFIG, TILE, meta=f"parcels:{region.uid}") for region in SHAPES]
    row = {"task": task, "result": result, "model_version": "parcels-20260101", "score": 0.5}
    call(desk.studio, "POST", f"/api/projects/{desk.project}/import/predictions", [row])
    call(desk.studio, "PATCH", f"/api/projects/{desk.project}/", {"model_version": "parcels-20260101"})
    desk.page.goto(f"{desk.studio.url}/projects/{desk.project}/data?task={task}")
    seen = desk.look("shapes.png")
    left, top, right, bottom = _bounds(_like(seen, GREY, 2) | _coloured(seen))
    scale = (right - left) / SIZE
    for region in SHAPES:
        if region.label in COLOURS:
            drawn = np.array(_bounds(_hue(seen[top:bottom, left:right], COLOURS[region.label]))) / scale
            around = 0 if not isinstance(region.shape, Point) else np.subtract(drawn, envelope(region.shape))
            assert np.abs(drawn - envelope(region.shape) - around).max() <= 4, region
            if isinstance(region.shape, Point):  # drawn as a disc
                assert np.allclose([drawn[[0, 2]].mean(), drawn[[1, 3]].mean()], envelope(region.shape)[:2], atol=3)
    submit(desk.page)
    (annotation,) = call(desk.studio, "GET", f"/api/tasks/{task}/")["annotations"]
    back = {r.uid: r for r in decode_regions(annotation["result"], CONFIG, TILE)}
    assert back.keys() == {r.uid for r in SHAPES}
    for region in SHAPES:
        assert back[region.uid].origin == "prediction"
        assert (back[region.uid].label, type(back[region.uid].shape)) == (region.label, type(region.shape))
        assert np.allclose(back[region.uid].shape.corners(), region.shape.corners(), atol=1e-6)
    assert back["brush00001"].shape == SHAPES[2].shape
    assert {item["meta"]["text"][0] for item in annotation["result"]} == {f"parcels:{r.uid}" for r in SHAPES}


def _scene(path: Path) -> None:
    pixels = np.full((3, SIZE, 2 * SIZE), 110, dtype=np.uint8)
    place = (RED[0], slice(SIZE + RED[1].start, SIZE + RED[1].stop))
    for band, value in enumerate((200, 30, 30)):
        pixels[band][place] = value
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "height": SIZE, "width": 2 * SIZE, "crs": "EPSG:32631"}
    with rasterio.open(path, "w", transform=rasterio.Affine(0.5, 0, 5e5, 0, -0.5, 54e5), **profile) as dataset:
        dataset.write(pixels)


def _like(picture: NDArray[np.uint8], colour: tuple[int, int, int], within: int = 50) -> NDArray[np.bool_]:
    close: NDArray[np.bool_] = np.abs(picture.astype(int) - colour).max(axis=2) < within
    return close


def _coloured(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.ptp(picture.astype(int), axis=2) > 60


def _hue(picture: NDArray[np.uint8], hue: int) -> NDArray[np.bool_]:
    found = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2HSV).astype(int)[:, :, 0]
    near = np.minimum(np.abs(found - hue), 180 - np.abs(found - hue)) <= 6
    return near & _coloured(picture)


def _bounds(where: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the largest thing: labels and buttons may have the colour too."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(where.astype(np.uint8), connectivity=8)
    left, top, width, height, _ = stats[1 + np.argmax(stats[1:, cv2.CC_STAT_WIDTH] * stats[1:, cv2.CC_STAT_HEIGHT])]
    return int(left), int(top), int(left + width), int(top + height)
