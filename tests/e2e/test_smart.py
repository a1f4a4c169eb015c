"""What a person gets from a smart tool: in Label Studio's editor, in headless Chromium, on our georeferenced tile."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page

from groundlook.core.geometry import Polygon
from groundlook.core.mask import Mask
from groundlook.core.types import Region
from groundlook.demo.backend import Backend
from groundlook.demo.house import create_project
from groundlook.demo.studio import Studio
from groundlook_adapters.labelstudio.config import parse_config
from groundlook_adapters.labelstudio.wire import decode_regions
from tests.bench.clicks_house import TINY, Painted, paint
from tests.e2e.owner import call, log_in, submit

pytestmark = pytest.mark.e2e

SIDE = 400
LABELS = ("Building", "Pool")
CHOSEN = "Pool"
"""Not the first one: the label that is chosen is kept."""
TOOLS = ("spot", "box")
_CHOICES = "".join(f'<Label value="{label}"/>' for label in LABELS)


def xml(tag: str) -> str:
    """A config whose smart tools draw for `tag`."""
    return (
        f'<View><Image name="image" value="$image"/><{tag} name="drawn" toName="image" opacity="0.7">{_CHOICES}</{tag}>'
        f'<KeyPointLabels name="spot" toName="image" smart="true">{_CHOICES}</KeyPointLabels>'
        f'<RectangleLabels name="box" toName="image" smart="true">{_CHOICES}</RectangleLabels></View>'
    )


@dataclass(frozen=True, slots=True)
class Desk:
    """A logged-in browser, and the service with the small SAM behind Label Studio. `folder` keeps the screenshots."""

    studio: Studio
    backend: Backend
    page: Page
    folder: Path

    def open(self, tag: str) -> Editor:
        """A project of its own with one tile, open in the editor with the smart tools switched on."""
        painted = paint(self.folder / f"{tag}.tif", 1, 1, SIDE, seed=89)
        project = create_project(self.studio, f"Smart {tag}", xml(tag))
        words = ("--project", str(project), "--tile", str(SIDE), "--overlap", "0")
        assert self.backend.run("ingest", str(painted.path), *words)["tasks"] == 1
        self.backend.run("connect", "--project", str(project))
        (backend,) = call(self.studio, "GET", f"/api/ml?project={project}")
        assert backend["is_interactive"], "the editor offers smart tools"
        (task,) = call(self.studio, "GET", f"/api/tasks?project={project}")["tasks"]
        self.page.goto(f"{self.studio.url}/projects/{project}/data?task={task['id']}")
        self.page.wait_for_selector("canvas", timeout=60_000)
        shown = "() => [...document.images].some(i => i.src.includes('/tiles/') && i.naturalWidth)"
        self.page.wait_for_function(shown)
        self.page.wait_for_timeout(2_000)  # the editor fades in
        if self.page.evaluate("localStorage.autoAnnotation") != "true":  # the browser remembers it
            self.page.get_by_text("Auto-Annotation", exact=True).click()
        return Editor(self, tag, task["id"], painted)


@dataclass(frozen=True, slots=True)
class Editor:
    """The editor, by what a person does in it."""

    desk: Desk
    tag: str
    task: int
    painted: Painted

    @property
    def canvas(self) -> tuple[float, float, float]:
        """Where the tile is on the page: left, top, and how large a pixel of it is."""
        box = self.desk.page.locator("canvas").first.bounding_box()
        assert box is not None
        return box["x"], box["y"], box["width"] / SIDE

    def choose(self, tool: str) -> None:
        """A smart tool, then the label of its control: each control has labels of its own, in the config's order."""
        named = {"spot": "key-point-tool", "box": "rectangle-tool"}[tool]
        self.desk.page.locator(".lsf-tool_smart").first.hover()
        self.desk.page.locator(f'.lsf-tool_smart[aria-label="{named}"]').click()
        self.desk.page.mouse.move(20, 600)  # the tools fold
        self.desk.page.locator(".lsf-label", has_text=CHOSEN).nth(1 + TOOLS.index(tool)).click()

    def move(self, x: float, y: float) -> None:
        left, top, scale = self.canvas
        self.desk.page.mouse.move(left + x * scale, top + y * scale)

    def click(self, number: int, negative: bool = False) -> None:
        """In the middle of an object; with Alt, that it is not meant."""
        self.move(*self.painted.inside(0, number))
        if negative:
            self.desk.page.keyboard.down("Alt")
        with self.answered():
            self.desk.page.mouse.down()
            self.desk.page.mouse.up()
        if negative:
            self.desk.page.keyboard.up("Alt")

    def drag(self, number: int) -> None:
        """A box around an object."""
        ys, xs = np.nonzero(self.painted.objects[0] == number)
        corners = [(xs.min() - 3.0, ys.min() - 3.0), (xs.mean(), ys.mean()), (xs.max() + 4.0, ys.max() + 4.0)]
        self.move(*corners[0])
        with self.answered():
            self.desk.page.mouse.down()
            for corner in corners[1:]:
                self.move(*corner)
            self.desk.page.mouse.up()

    def answered(self) -> Any:
        """Label Studio's answer to what is done in the block."""
        return self.desk.page.expect_response(lambda r: "interactive-annotating" in r.url, timeout=100_000)

    def accept(self) -> None:
        self.desk.page.get_by_test_id("bottombar-accept-suggestions-button").click()
        self.desk.page.wait_for_timeout(800)

    def look(self, name: str) -> NDArray[np.float32]:
        """The tile as it is shown now, scaled to its own size; the whole page is kept as a picture."""
        self.desk.page.wait_for_timeout(500)
        whole = self.desk.page.screenshot(path=self.desk.folder / f"{self.tag}-{name}.png")
        pixels = np.asarray(Image.open(io.BytesIO(whole)).convert("RGB"))
        left, top, scale = self.canvas
        x, y, side = round(left), round(top), round(SIDE * scale)
        tile = cv2.resize(pixels[y : y + side, x : x + side], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        return tile.astype(np.float32)

    def submit(self) -> list[Region]:
        """What Label Studio then holds."""
        submit(self.desk.page)
        (annotation,) = call(self.desk.studio, "GET", f"/api/tasks/{self.task}/")["annotations"]
        return decode_regions(annotation["result"], parse_config(xml(self.tag)), (SIDE, SIDE))


@pytest.fixture(scope="module")
def desk(studio: Studio, page: Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("smart")
    login = {"GROUNDLOOK_LABEL_STUDIO_URL": studio.url, "GROUNDLOOK_TOKEN": studio.token}
    environ = {**login, "GROUNDLOOK_SAM": str(TINY), "GROUNDLOOK_RUNTIME": "torch eager"}  # ready at once
    with Backend(folder / "home", [folder], environ) as backend:
        page.set_viewport_size({"width": 1400, "height": 1100})
        log_in(page, studio)
        yield Desk(studio, backend, page, folder)


@pytest.mark.parametrize(("tag", "kind"), [("PolygonLabels", Polygon), ("BrushLabels", Mask)])
def test_a_click_and_a_box_are_answered_where_they_point_with_the_label_that_was_chosen(
    desk: Desk, tag: str, kind: type
) -> None:
    editor = desk.open(tag)
    first, second = _whole(editor.painted)[:2]
    shown = editor.look("nothing")
    editor.choose("spot")
    editor.click(first)
    editor.look("click-suggested")
    editor.accept()
    clicked = editor.look("click-accepted")
    assert _iou(_changed(shown, clicked), editor.painted.objects[0] == first) > 0.7, "drawn on the object"
    editor.choose("box")
    editor.drag(second)
    editor.look("box-suggested")
    editor.accept()
    boxed = editor.look("box-accepted")
    assert _iou(_changed(clicked, boxed), editor.painted.objects[0] == second) > 0.7, "drawn on the object"
    regions = editor.submit()
    assert {(type(r.shape), r.label) for r in regions} == {(kind, CHOSEN)}
    assert all(r.score is not None and 0 < r.score <= 1 for r in regions)
    for number in (first, second):
        truth = editor.painted.objects[0] == number
        assert max(_iou(_pixels(r), truth) for r in regions) > 0.7


def _whole(painted: Painted) -> list[int]:
    """The objects that a box fits around, the largest first: not near the rim, where the editor ignores
    some drags."""
    cut = np.ones((SIDE, SIDE), dtype=bool)
    cut[30:-30, 30:-30] = False
    return [n for n in painted.numbers(0) if n not in painted.objects[0][cut]]


def _changed(before: NDArray[np.float32], after: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The largest thing that is drawn on one and not on the other."""
    differs = (np.abs(before - after).max(axis=2) > 12).astype(np.uint8)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(differs, connectivity=8)
    largest: NDArray[np.bool_] = parts == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA])
    return largest


def _pixels(region: Region) -> NDArray[np.bool_]:
    if isinstance(region.shape, Mask):
        return region.shape.pixels()
    assert isinstance(region.shape, Polygon)
    filled = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillPoly(filled, [np.round(np.asarray(region.shape.corners()) - 0.5).astype(np.int32)], 1)
    return filled > 0


def _iou(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float((found & truth).sum() / (found | truth).sum())
