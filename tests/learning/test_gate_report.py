"""The gate's report: the same numbers for people and machines, in files that need nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, sync_playwright

from groundlook.core.exam import Exam
from groundlook.core.geo import Tile
from groundlook.core.geometry import Box, Point, Polygon, WholeTile
from groundlook.core.mask import Mask
from groundlook.core.types import ModelVersion, Prediction, Region, Task
from groundlook.evaluation.exam import examine
from groundlook.learning.gate import USUAL, Verdict, judge
from groundlook.learning.gate.report import write_report
from groundlook.learning.gate.report.differ import differ
from tests.learning.exams import land, sit

HOSTILE = '<img src=x onerror="alert(1)">$\\frac{'
SITE = "</td><script>alert(2)</script>"
LABELS = (HOSTILE, "tree")
SIDE, TILES = 64, 16


class Shifted:
    """Finds what is there, moved by `pixels` on each tile by its number; of kind "segmentation" as masks."""

    def __init__(self, name: str, pixels: Sequence[float], kind: str = "detection") -> None:
        self.version = ModelVersion(name, "0123456789ab")
        self.labels = LABELS
        self._pixels, self._kind = pixels, kind

    def predict(self, tiles: Sequence[Tile]) -> list[Prediction]:
        return [self._answer(int(tile.pixels[0, 0, 0])) for tile in tiles]

    def _answer(self, number: int) -> Prediction:
        if self._kind == "classification":
            proba = np.array([[0.7, 0.3] if self._pixels[number] else [0.2, 0.8]], np.float32)
            said = (Region(WholeTile(), LABELS[int(proba.argmax())], float(proba.max())),)
            return Prediction(self.version, said, proba, kind="classification")
        x = 8 + self._pixels[number]
        if self._kind == "segmentation":
            inside = np.zeros((SIDE, SIDE), bool)
            inside[8:38, int(x) : int(x) + 30] = True
            return Prediction(self.version, (Region(Mask.of(inside), "tree", 0.9),), kind="segmentation")
        near, far = Region(Box(x, 8, 30, 30), "tree", 0.9), Region(Polygon(((2, 50), (20, 50), (9, 60))), HOSTILE, 0.7)
        return Prediction(self.version, (near, far, Region(Point(5, 5), "tree", 0.01)))


def truth(kind: str) -> tuple[Region, ...]:
    if kind == "classification":
        return (Region(WholeTile(), "tree"),)
    return Region(Box(8, 8, 30, 30), "tree"), Region(Polygon(((2, 50), (20, 50), (9, 60))), HOSTILE)


def pixels(number: int) -> NDArray[np.uint8]:
    picture = np.random.default_rng(number).integers(60, 200, (SIDE, SIDE, 3)).astype(np.uint8)
    picture[0, 0, 0] = number
    return picture


def exams(kind: str = "detection") -> tuple[Exam, Exam]:
    """The challenger is wrong on tile 3 only, the champion on the others of the first eight."""
    examples = [(Task(n + 1, "u", site=SITE if n % 2 else "Bern"), Tile(pixels(n)), truth(kind)) for n in range(TILES)]
    new = Shifted("new", [25.0 * (n == 3) for n in range(TILES)], kind)
    old = Shifted("old", [25.0 * (n < 8 and n != 3) for n in range(TILES)], kind)
    return examine(new, examples, LABELS), examine(old, examples, LABELS)


def verdict(new: Exam, old: Exam | None) -> Verdict:
    return judge(new, old, USUAL, np.random.default_rng(0))


def picture(task: int) -> NDArray[np.uint8] | None:
    return pixels(task - 1)


def test_most_different_first() -> None:
    rng = np.random.default_rng(0)
    ground = land(rng, 30)
    found = differ(sit(rng, ground, 0.7), sit(rng, ground, 0.5))
    changes = [abs(one.change) for one in found]
    assert len(set(changes)) > 3
    assert changes == sorted(changes, reverse=True)


def test_hundreds_of_sites_in_any_language_fit_on_a_page(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ground = land(rng, 150, 1, tuple(f"樹 {n}" for n in range(150)), most=4)
    new, old = sit(rng, ground, 0.7), sit(rng, ground, 0.5)
    found = verdict(new, old)
    assert found.outcome == "promoted"
    paths = write_report(tmp_path, found, new, old, lambda task: None)
    page = paths[1].read_text()
    assert page.count("<tr>") < 70
    assert "more, from which nothing follows" in page
    assert "樹" in page
    assert len(json.loads(paths[0].read_text())["findings"]) == len(found.findings) > 100


def test_json_and_page_say_what_was_found(tmp_path: Path) -> None:
    new, old = exams()
    found = verdict(new, old)
    paths = write_report(tmp_path / "out", found, new, old, picture)
    assert [p.name for p in paths] == ["gate.json", "gate.html"]
    told = json.loads(paths[0].read_text(), parse_constant=pytest.fail)
    assert (told["outcome"], told["reason"]) == (found.outcome, found.reason)
    assert told["metrics"]["challenger"] == new.metrics
    assert told["versions"] == {"challenger": new.version, "champion": old.version}
    for line, finding in zip(told["findings"], found.findings, strict=True):
        assert line["challenger"]["value"] == finding.challenger.value
        assert (line["what"], line["state"], line["blocks"]) == (finding.what, finding.state, finding.blocks)
    page = paths[1].read_text()
    assert f">{found.outcome}<" in page
    for value in (new.metrics["map50"], old.metrics["map50"]):
        assert f"{value:.3f}" in page


def test_the_pictures_are_those_on_which_they_differ_most(tmp_path: Path) -> None:
    new, old = exams()
    found = differ(new, old)
    assert {one.row for one in found} == set(range(8))
    assert {one.row for one in found if one.change > 0} == {3}
    paths = write_report(tmp_path, verdict(new, old), new, old, picture, shown=5)
    page = paths[1].read_text()
    assert page.count("<article>") == 5 == len(json.loads(paths[0].read_text())["pictures"])
    assert page.count('src="data:image/jpeg') == 15
    assert differ(new, new) == []


@pytest.mark.parametrize("kind", ["detection", "segmentation", "classification"])
def test_every_kind_of_answer_is_shown_with_and_without_a_champion(tmp_path: Path, kind: str) -> None:
    new, old = exams(kind)
    page = write_report(tmp_path, verdict(new, old), new, old, picture)[1].read_text()
    assert page.count('src="data:image/jpeg') == 24
    alone = write_report(tmp_path, verdict(new, None), new, None, picture)[1].read_text()
    assert "Where it is most mistaken" in alone
    assert "no champion" in alone


def test_names_are_people_s_and_never_markup(tmp_path: Path) -> None:
    new, old = exams("classification")
    for one, other in ((new, old), exams()):
        page = write_report(tmp_path, verdict(one, other), one, other, picture)[1].read_text()
        assert HOSTILE not in page
        assert "<script" not in page
        assert "&lt;/td&gt;&lt;script&gt;" in page


def test_pictures_that_are_gone_are_said_to_be(tmp_path: Path) -> None:
    new, old = exams()
    page = write_report(tmp_path, verdict(new, old), new, old, lambda task: None)[1].read_text()
    assert page.count("picture not available") == 24


def test_a_report_without_findings_is_a_report_too(tmp_path: Path) -> None:
    examples = [(Task(1, "u"), Tile(pixels(0)), ())]
    new = examine(Shifted("new", [0.0]), examples, LABELS)
    paths = write_report(tmp_path, verdict(new, None), new, None, picture)
    assert json.loads(paths[0].read_text())["outcome"] == "refused"
    assert "nothing can be proved" in paths[1].read_text()


def test_a_report_that_fails_leaves_the_one_before_it(tmp_path: Path) -> None:
    new, old = exams()
    before = [p.read_bytes() for p in write_report(tmp_path, verdict(new, old), new, old, picture)]

    def gone(task: int) -> NDArray[np.uint8] | None:
        raise OSError(f"task {task}: the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        write_report(tmp_path, verdict(old, new), old, new, gone)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["gate.html", "gate.json"]
    assert [(tmp_path / n).read_bytes() for n in ("gate.json", "gate.html")] == before


def test_the_same_verdict_makes_the_same_files(tmp_path: Path) -> None:
    new, old = exams()
    one, two = (write_report(tmp_path / name, verdict(new, old), new, old, picture) for name in ("a", "b"))
    for a, b in zip(one, two, strict=True):
        assert a.read_bytes() == b.read_bytes()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
    if program is None:
        assert os.environ.get("CI") != "true", "CI must have Chromium; .ci/run installs it"
        pytest.skip("no Chromium on this machine: install Debian's package chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.mark.parametrize("width", [400, 1300])
def test_a_browser_shows_it_without_asking_anybody(tmp_path: Path, browser: Browser, width: int) -> None:
    new, old = exams()
    path = write_report(tmp_path, verdict(new, old), new, old, picture)[1]
    page = browser.new_page(viewport={"width": width, "height": 900})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    page.goto(path.as_uri())
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    assert page.locator("h1").inner_text() == f"{new.version} against {old.version}"
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert page.locator("img").count() == 24
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the screen"
    assert re.search(r"mAP50 \d\.\d{3} after \d\.\d{3}", page.locator(".reason").inner_text())
    page.close()
