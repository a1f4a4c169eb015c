"""Smart tools over HTTP, against the service in a process of its own: nobody gets another's answer, errors say what to
do."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from groundlook_adapters.labelstudio.config import parse_config
from groundlook_adapters.labelstudio.wire import decode_regions
from tests.bench.clicks_house import CONFIG, LABELS, PROJECT, TINY, ClicksHouse, Item, clicks_house, paint, regions

SIDE, TILES, UNSEEN = 256, 2, 2
"""The tiles from `UNSEEN` on are opened by one test only."""
CALLS, THREADS = 500, 8
TWO_IMAGES = CONFIG.replace(
    "</View>",
    '<Image name="other" value="$other"/><KeyPointLabels name="there" toName="other" smart="true">'
    '<Label value="Building"/></KeyPointLabels></View>',
)
EAGER = {"GROUNDLOOK_RUNTIME": "torch eager"}
"""Looking for the fastest runtime takes longer than the test."""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClicksHouse]:
    folder = tmp_path_factory.mktemp("clicks")
    (folder / "home").mkdir()
    painted = paint(folder / "rasters" / "scene.tif", TILES + 1, 1, SIDE, seed=38)
    with clicks_house(folder / "home", painted, TINY, EAGER, TWO_IMAGES) as found:
        with found.client() as client:
            for tile in range(TILES):
                regions(client.post("/predict", json=found.body(tile, [found.on_object(tile, 0)])))
        yield found


@pytest.fixture(scope="module")
def client(house: ClicksHouse) -> Iterator[httpx.Client]:
    with house.client() as found:
        yield found


def ask(house: ClicksHouse, client: httpx.Client, items: list[Item], tile: int = 0, **more: Any) -> list[Item]:
    return regions(client.post("/predict", json=house.body(tile, items, **more)))


def iou(house: ClicksHouse, found: list[Item], tile: int, number: int) -> float:
    (region,) = decode_regions([{**found[0], "id": "r"}], parse_config(CONFIG), (SIDE, SIDE))
    pixels, truth = region.shape.pixels(), house.painted.objects[tile] == number  # type: ignore[union-attr]
    return float((pixels & truth).sum() / (pixels | truth).sum())


def test_a_click_is_answered_by_what_lies_under_it_with_its_label_and_a_score(
    house: ClicksHouse, client: httpx.Client
) -> None:
    for tile in range(TILES):
        found = [ask(house, client, [house.on_object(tile, k, LABELS[1])], tile) for k in range(3)]
        overlaps = [iou(house, f, tile, n) for f, n in zip(found, house.painted.numbers(tile), strict=False)]
        assert np.median(overlaps) > 0.8
        for (item,) in found:
            assert (item["from_name"], item["value"]["brushlabels"]) == ("brush", [LABELS[1]])
            assert 0 < item["score"] <= 1, "the editor tells answers from prompts by it"


def test_two_users_on_two_images_never_get_each_others_answer(house: ClicksHouse, client: httpx.Client) -> None:
    """500 calls by 8 threads on 2 images, answered as they are one after the other."""
    rng = np.random.default_rng(8)
    spots = rng.uniform(4, SIDE - 4, (40, 2))
    asked = [(i % TILES, [house.point(*spots[int(rng.integers(40))], LABELS[i % TILES])]) for i in range(CALLS)]
    asked[::5] = [(tile, [house.on_object(tile, i, LABELS[tile])]) for i, (tile, _) in enumerate(asked[::5])]
    serial: dict[str, list[Item]] = {}
    for tile, items in asked:
        key = repr((tile, items))
        if key not in serial:
            serial[key] = ask(house, client, items, tile)
    assert len({repr(answer) for answer in serial.values()}) > 20, "the answers tell the images apart"
    encoded = house.encodes(client)
    found = house.at_once(THREADS, lambda own, call: ask(house, own, call[1], call[0]), asked)
    for (tile, items), answer in zip(asked, found, strict=True):
        assert answer == serial[repr((tile, items))]
        assert all(item["value"]["brushlabels"] == [LABELS[tile]] for item in answer)
    assert house.encodes(client) == encoded, "nothing is encoded twice"


def test_users_who_open_one_image_at_once_encode_it_once(house: ClicksHouse, client: httpx.Client) -> None:
    encoded = house.encodes(client)
    asked = [[house.on_object(UNSEEN, 0)]] * 4
    answers = house.at_once(4, lambda own, items: ask(house, own, items, UNSEEN), asked)
    assert all(answer == answers[0] for answer in answers)
    assert house.encodes(client) == encoded + 1


def test_more_clicks_make_it_better_and_a_box_will_do(house: ClicksHouse, client: httpx.Client) -> None:
    (first, second) = house.painted.numbers(0)[:2]
    spot = house.painted.inside(0, first)
    away = house.painted.inside(0, second)
    refined = ask(house, client, [house.point(*spot, uid="a"), house.point(*away, positive=False, uid="b")])
    assert iou(house, refined, 0, first) > 0.6
    ys, xs = np.nonzero(house.painted.objects[0] == first)
    box = house.box(xs.min() - 1, ys.min() - 1, np.ptp(xs) + 3, np.ptp(ys) + 3)
    assert iou(house, ask(house, client, [box]), 0, first) > 0.8


def test_answers_that_were_accepted_and_what_else_is_on_the_task_are_no_prompts(
    house: ClicksHouse, client: httpx.Client
) -> None:
    """The editor sends all regions of the tool's type and label; only prompts have `is_positive`, only ours a score."""
    click = house.on_object(0, 0)
    alone = ask(house, client, [click])
    kept = {k: v for k, v in house.point(3, 3, uid="kept").items() if k != "is_positive"}
    assert ask(house, client, [kept, click]) == alone
    drawn = house.box(60, 60, 80, 80, uid="new")
    accepted = {**house.box(5, 5, 20, 20, uid="old"), "score": 0.9}
    assert ask(house, client, [accepted, drawn]) == ask(house, client, [drawn])
    left = [{"result": [house.point(9, 9, uid=f"d{i}") for i in range(50)], "id": 1}]
    assert ask(house, client, [click], drafts=left, annotations=left, predictions=left) == alone


def test_no_prompt_is_left_when_somebody_submits(house: ClicksHouse, client: httpx.Client) -> None:
    assert ask(house, client, []) == []


BAD: dict[str, str] = {
    "two images": r"prompts on several images in one call \(image, other\): one at a time",
    "a label that the config lacks": "no label 'Castle'; it has Building, Pool",
    "outside": r"the point \(384, 100\) is outside the picture of 256 × 256 px",
    "a box without a size": r"the box \(100, 100, 100, 100\) has no area",
    "only negative points": "only negative points.*; add a positive point or a box",
    "an unknown control": "a prompt of 'nobody'; the label config has brush",
    "not a number": "prompt 'p0' is no keypointlabels .*'left'",
}


def bad(house: ClicksHouse, what: str) -> list[Item]:
    click = house.point(100, 100)
    return {
        "two images": [click, {**house.point(50, 50, uid="p1"), "from_name": "there", "to_name": "other"}],
        "a label that the config lacks": [house.point(100, 100, "Castle")],
        "outside": [house.point(SIDE * 1.5, 100)],
        "a box without a size": [house.box(100, 100, 0, 0)],
        "only negative points": [house.point(100, 100, positive=False)],
        "an unknown control": [{**click, "from_name": "nobody"}],
        "not a number": [{**click, "value": {**click["value"], "x": "left"}}],
    }[what]


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_answered_says_why(house: ClicksHouse, client: httpx.Client, what: str) -> None:
    reply = client.post("/predict", json=house.body(0, bad(house, what)))
    assert 400 <= reply.status_code < 500
    assert "Traceback" not in reply.text
    assert re.search(BAD[what], reply.json()["error"])
    regions(client.post("/predict", json=house.body(0, [house.on_object(0, 0)])))  # nothing is broken by it


def test_two_tasks_in_one_call_and_bodies_that_are_none(house: ClicksHouse, client: httpx.Client) -> None:
    body = house.body(0, [house.on_object(0, 0)])
    second = house.body(1, [house.on_object(1, 0)])
    contexts = ({"result": "all"}, {}, [], 7, {"result": [[]]})
    bodies = [{**body, "params": {**body["params"], "context": context}} for context in contexts]
    for one in ({**body, "tasks": [*body["tasks"], *second["tasks"]]}, *bodies):
        reply = client.post("/predict", json=one)
        assert 400 <= reply.status_code < 500, reply.text
        assert "Traceback" not in reply.text


def test_without_weights_the_service_starts_says_what_to_do_and_answers_once_they_are_there(tmp_path: Path) -> None:
    home, weights = tmp_path / "home", tmp_path / "sam.safetensors"
    home.mkdir()
    painted = paint(tmp_path / "rasters" / "scene.tif", 1, 1, 128)
    with clicks_house(home, painted, weights, EAGER) as house, house.client() as client:
        setup = {"project": PROJECT, "schema": CONFIG, "hostname": "http://h", "access_token": "x"}
        started = time.monotonic()
        assert client.post("/setup", json=setup).status_code == 200
        assert time.monotonic() - started < 3, "what Label Studio waits for"
        body = house.body(0, [house.on_object(0, 0)])
        for content, said in ((None, "put the file there"), (b"nothing of a network", "safetensors")):
            if content is not None:
                weights.write_bytes(content)
            reply = client.post("/predict", json=body)
            assert 400 <= reply.status_code < 600
            assert said in reply.text
            assert str(weights) in reply.text
            assert "Traceback" not in reply.text
        shutil.copyfile(TINY, weights)
        assert regions(client.post("/predict", json=body))
