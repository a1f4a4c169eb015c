"""What a person sees: our tiles in Label Studio's editor, in headless Chromium, with regions where they belong."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from groundlook.demo.backend import Backend
from groundlook.demo.house import create_project
from groundlook.demo.studio import Studio

pytestmark = pytest.mark.e2e

SIZE = 400
RED = (slice(120, 200), slice(100, 260))
"""Rows and columns of a red field on the grey ground of the second tile."""
XML = (
    '<View><Image name="image" value="$image"/><PolygonLabels name="outline" toName="image" strokeWidth="3" '
    'opacity="0"><Label value="Field" background="#00ff00"/></PolygonLabels></View>'
)


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    program = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
    if program is None:
        assert os.environ.get("CI") != "true", "CI must have Chromium; .ci/run installs it"
        pytest.skip("no Chromium on this machine: install Debian's package chromium")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*flags, "--disable-sync"])
        yield browser.new_page(viewport={"width": 1400, "height": 900})
        browser.close()


def test_a_tile_is_shown_and_its_region_lies_on_what_it_outlines(studio: Studio, page: Page, tmp_path: Path) -> None:
    project = create_project(studio, "Screen", XML)
    environ = {"GROUNDLOOK_LABEL_STUDIO_URL": studio.url, "GROUNDLOOK_TOKEN": studio.token}
    with Backend(tmp_path / "home", [tmp_path], environ) as backend:
        _scene(tmp_path / "scene.tif")
        words = ("--project", str(project), "--tile", str(SIZE), "--overlap", "0")
        assert backend.run("ingest", str(tmp_path / "scene.tif"), *words)["tasks"] == 2
        tasks = _api(studio, "GET", f"/api/tasks?project={project}&fields=all")["tasks"]
        task = next(t for t in tasks if t["data"]["geo"]["window"][0] == SIZE)
        _api(studio, "POST", f"/api/tasks/{task['id']}/annotations/", {"result": [_outline()]})
        _log_in(page, studio)
        page.goto(f"{studio.url}/projects/{project}/data?task={task['id']}")
        page.wait_for_selector("canvas", timeout=60_000)
        page.wait_for_function("() => [...document.images].some(i => i.src.includes('/tiles/') && i.naturalWidth)")
        page.wait_for_timeout(2_000)  # the editor fades in
        seen = np.asarray(Image.open(io.BytesIO(page.screenshot(path=tmp_path / "editor.png"))).convert("RGB"))
    red, green = _bounds(_like(seen, (200, 30, 30))), _bounds(_like(seen, (0, 255, 0)))
    scale = (red[2] - red[0]) / (RED[1].stop - RED[1].start)
    assert scale > 0.5, "the tile is shown, at a size that a person can work with"
    assert (red[3] - red[1]) / (RED[0].stop - RED[0].start) == pytest.approx(scale, rel=0.03)
    # The line is drawn around the edge: half of its width is outside.
    assert np.abs(np.subtract(green, red)).max() <= 4, (green, red)


def _scene(path: Path) -> None:
    pixels = np.full((3, SIZE, 2 * SIZE), 110, dtype=np.uint8)
    place = (RED[0], slice(SIZE + RED[1].start, SIZE + RED[1].stop))
    for band, value in enumerate((200, 30, 30)):
        pixels[band][place] = value
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "height": SIZE, "width": 2 * SIZE, "crs": "EPSG:32631"}
    with rasterio.open(path, "w", transform=rasterio.Affine(0.5, 0, 5e5, 0, -0.5, 54e5), **profile) as dataset:
        dataset.write(pixels)


def _outline() -> dict[str, Any]:
    (top, bottom), (left, right) = ((s.start / SIZE * 100, s.stop / SIZE * 100) for s in RED)
    points = [[left, top], [right, top], [right, bottom], [left, bottom]]
    value = {"points": points, "closed": True, "polygonlabels": ["Field"]}
    place = {"from_name": "outline", "to_name": "image", "original_width": SIZE, "original_height": SIZE}
    return {"id": "abcdefghij", "type": "polygonlabels", "image_rotation": 0, "value": value, **place}


def _log_in(page: Page, studio: Studio) -> None:
    page.goto(f"{studio.url}/user/login/")
    page.fill("input[name=email]", studio.username)
    page.fill("input[name=password]", studio.password)
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "login" not in url)


def _api(studio: Studio, method: str, path: str, body: Any = None) -> Any:
    header = {"Authorization": f"Token {studio.token}"}
    answer = httpx.request(method, studio.url + path, json=body, headers=header, timeout=60, trust_env=False)
    assert answer.status_code < 300, answer.text
    return answer.json()


def _like(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    close: NDArray[np.bool_] = np.abs(picture.astype(int) - colour).max(axis=2) < 50
    return close


def _bounds(where: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the largest thing: labels and buttons may have the colour too."""
    import cv2

    _, _, stats, _ = cv2.connectedComponentsWithStats(where.astype(np.uint8), connectivity=8)
    left, top, width, height, _ = stats[1 + np.argmax(stats[1:, cv2.CC_STAT_WIDTH] * stats[1:, cv2.CC_STAT_HEIGHT])]
    return int(left), int(top), int(left + width), int(top + height)
