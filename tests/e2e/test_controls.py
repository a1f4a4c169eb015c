"""Every control of Label Studio's image templates, on two images: what we predict is kept by a real server, is what it
gives back, and so is what a person submits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from groundlook.core.geometry import Box, Ellipse, Point, Polygon, Shape, WholeTile
from groundlook.core.mask import Mask
from groundlook.core.plan import Route
from groundlook.core.types import Control, ModelVersion, Prediction, Region
from groundlook.demo.house import create_project
from groundlook.demo.studio import Studio
from groundlook_adapters.labelstudio.config import NUMBERS, SERVED, parse_config
from groundlook_adapters.labelstudio.controls import fit_region
from groundlook_adapters.labelstudio.wire import decode_regions, encode_prediction
from tests.e2e.owner import call

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SIZES = {"after": (160, 120), "before": (90, 110)}
LABELS = ("House", "Größe <ä&b>")


def _control(tag: str, image: str) -> str:
    name = f"{tag} {image}"
    if tag == "Number":
        return f'<Number name="{name}" toName="{image}" min="0" max="1000" step="1"/>'
    if tag == "Rating":
        return f'<Rating name="{name}" toName="{image}" maxRating="7"/>'
    inner = "Choice" if tag == "Choices" else "Label"
    values = "".join(f'<{inner} value="{v}"/>' for v in ("House", "Größe &lt;ä&amp;b&gt;"))
    return f'<{tag} name="{name}" toName="{image}" choice="multiple">{values}</{tag}>'


TAGS = (*SERVED, *NUMBERS)
XML = (
    '<View><Image name="after" value="$new"/><Image name="before" value="$old"/>'
    + "".join(_control(tag, image) for image in SIZES for tag in TAGS)
    + '<Choices name="one" toName="after" choice="single"><Choice value="Town"/><Choice value="Coast"/></Choices>'
    + "</View>"
)
CONFIG = parse_config(XML)
VERSION = "controls@000000000001"


def _house(size: tuple[int, int]) -> Mask:
    """A house with a yard."""
    pixels = np.zeros((size[1], size[0]), dtype=bool)
    pixels[10:70, 20:80] = True
    pixels[25:45, 35:60] = False
    pixels[60:100, 70:85] = True
    return Mask.of(pixels)


def _natural(size: tuple[int, int]) -> list[Shape]:
    return [
        Box(10.25, 20.5, 33.3, 40.0),
        Box(40, 10, 30, 20, 30),
        Polygon(((1, 2), (70, 3.5), (40, 60.125))),
        Ellipse(45, 50, 30, 10, 25),
        Point(33.3, 44.4),
        _house(size),
        WholeTile(),
    ]


def _regions() -> list[Region]:
    """Every shape in every control that takes it, as a plan's models would give them."""
    found: list[Region] = []
    for control in (*CONFIG.controls, *CONFIG.others):
        size = SIZES[control.image]
        for n, shape in enumerate(_natural(size)):
            label = _label(control, n)
            sent = Region(shape, label, 0.5, f"{len(found):04}", "prediction", f"shape {n}")
            frame = None if control.image == CONFIG.image or isinstance(shape, WholeTile) else size
            found += fit_region(replace(sent, frame=frame), control, Route(control.name, holes="split"), 0.5, size)
    return found


def _label(control: Control, n: int) -> str:
    if control.type == "Number":
        return "317" if control.image == "after" else "0"
    if control.type == "Rating":
        return "7" if control.image == "after" else "1"
    return control.labels[n % len(control.labels)]


@dataclass(frozen=True, slots=True)
class Desk:
    studio: Studio
    project: int

    def call(self, method: str, path: str, body: Any = None) -> Any:
        return call(self.studio, method, path, body)

    def task(self) -> int:
        data = {"new": "https://example.invalid/new.png", "old": "https://example.invalid/old.png"}
        task: int = self.call("POST", f"/api/tasks?project={self.project}", {"data": data, "project": self.project})[
            "id"
        ]
        return task


@pytest.fixture(scope="module")
def desk(studio: Studio) -> Desk:
    return Desk(studio, create_project(studio, "Every control", XML))


def _body(regions: list[Region]) -> dict[str, Any]:
    prediction = Prediction(ModelVersion.parse(VERSION), tuple(regions), size=SIZES[CONFIG.image])
    return encode_prediction(prediction, CONFIG, 0.25, VERSION)


def _same(result: list[dict[str, Any]], regions: list[Region], origin: str) -> None:
    """What is read out of a `result` is `regions`, whichever image they are on."""
    for image, size in SIZES.items():
        controls = {c.name for c in (*CONFIG.controls, *CONFIG.others) if c.image == image}
        further = image != CONFIG.image
        back = decode_regions(result, CONFIG, None if further else size, image if further else "")
        expected = [r for r in regions if r.control in controls]
        assert len(back) == len(expected)
        for got, sent in zip(back, expected, strict=True):
            assert (got.label, got.score, got.uid, got.origin) == (sent.label, sent.score, sent.uid, origin)
            assert (got.frame, type(got.shape)) == (sent.frame, type(sent.shape))
            assert got.control == (sent.control if further or sent.control.split()[0] in NUMBERS else "")
            assert np.allclose(got.shape.corners(), sent.shape.corners(), rtol=0, atol=1e-9)
            assert not isinstance(sent.shape, Mask) or got.shape == sent.shape


def _joined(regions: list[Region]) -> list[Region]:
    """As they come back: all classes of a control come as one item, which has the id and the score of its first."""
    first: dict[str, Region] = {}
    return [
        replace(r, uid=first.setdefault(r.control, r).uid) if isinstance(r.shape, WholeTile) else r for r in regions
    ]


@pytest.fixture(scope="module")
def regions() -> list[Region]:
    found = [r for r in _regions() if r.control != "one"]
    assert {r.control for r in found} == {f"{tag} {image}" for tag in TAGS for image in SIZES}
    return found


def test_a_prediction_of_every_control_is_kept_and_read_back(desk: Desk, regions: list[Region]) -> None:
    body = _body(regions)
    row = {**body, "task": desk.task()}
    created = desk.call("POST", f"/api/projects/{desk.project}/import/predictions", [row])
    assert created["created"] == 1, "Label Studio drops a prediction with one region that it does not take"
    (kept,) = desk.call("GET", f"/api/tasks/{row['task']}/")["predictions"]
    _same(kept["result"], _joined(regions), "prediction")
    assert [i.get("meta") for i in kept["result"]] == [i.get("meta") for i in body["result"]]


def test_an_annotation_of_every_control_is_kept_and_read_back(desk: Desk, regions: list[Region]) -> None:
    task = desk.task()
    body = {"result": _body([replace(r, origin="manual", score=None) for r in regions])["result"]}
    desk.call("POST", f"/api/tasks/{task}/annotations/", body)
    (kept,) = desk.call("GET", f"/api/tasks/{task}/")["annotations"]
    _same(kept["result"], _joined([replace(r, score=None) for r in regions]), "manual")


def test_one_choice_is_one(desk: Desk) -> None:
    said = [Region(WholeTile(), label, score, control="one") for label, score in (("Town", 0.4), ("Coast", 0.6))]
    prediction = Prediction(ModelVersion.parse(VERSION), tuple(said), size=SIZES["after"])
    row = {**encode_prediction(prediction, CONFIG, 0.5, VERSION), "task": desk.task()}
    assert desk.call("POST", f"/api/projects/{desk.project}/import/predictions", [row])["created"] == 1
    (kept,) = desk.call("GET", f"/api/tasks/{row['task']}/")["predictions"]
    assert [(r.label, r.score) for r in decode_regions(kept["result"], CONFIG)] == [("Coast", 0.6)]


@pytest.mark.parametrize(
    ("control", "value"),
    [("Rating after", {"rating": 8}), ("Rating after", {"rating": 1.5}), ("Number after", {"number": "many"})],
)
def test_a_number_that_we_do_not_send_would_cost_the_prediction(
    desk: Desk, control: str, value: dict[str, Any]
) -> None:
    kind = control.split()[0].lower()
    item = {"type": kind, "from_name": control, "to_name": "after", "value": value}
    row = {"result": [item], "score": 0.5, "model_version": VERSION, "task": desk.task()}
    assert desk.call("POST", f"/api/projects/{desk.project}/import/predictions", [row])["created"] == 0
