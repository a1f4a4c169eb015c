"""Snapshots of a real Label Studio: what people change, delete, skip and mark, and a connection that breaks."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from groundlook.core.errors import LabelStudioError
from groundlook.demo.annotators import Annotator
from groundlook.demo.house import create_project
from groundlook.demo.studio import Studio
from groundlook.learning.snapshot import load_snapshot
from groundlook.learning.snapshot.reading import PAGE
from groundlook.service.cli import app
from groundlook.service.settings import Settings
from groundlook.service.wiring import wire
from groundlook.service.wiring.connect import find_project
from tests.e2e.owner import call
from tests.waiting import until

pytestmark = pytest.mark.e2e
XML = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="House"/><Label value="Tree"/></RectangleLabels></View>'
)


@dataclass
class Site:
    """A project of its own on the shared server."""

    studio: Studio
    home: Path
    project: int
    tasks: list[int]

    def call(self, method: str, path: str, body: Any = None) -> Any:
        return call(self.studio, method, path, body)

    def annotate(self, task: int, *regions: dict[str, Any], **more: Any) -> int:
        body = {"result": list(regions), "lead_time": 1.0, **more}
        return int(self.call("POST", f"/api/tasks/{self.tasks[task]}/annotations/", body)["id"])

    def run(self, *words: str) -> Any:
        return CliRunner().invoke(app, ["snapshot", *words, "--json"])

    def take(self, *words: str) -> dict[str, Any]:
        done = self.run("--project", str(self.project), *words)
        assert done.exit_code == 0, (done.output, done.exception)
        body: dict[str, Any] = json.loads(done.stdout)
        return body

    def examples(self, body: dict[str, Any]) -> dict[int, Any]:
        """By the place of their task in the project."""
        snapshot = load_snapshot(self.home / "snapshots" / str(self.project) / f"{body['snapshot']}.json")
        return {self.tasks.index(e.task.id): e for e in snapshot.examples}


def region(uid: str, x: float = 10.0, label: str = "House") -> dict[str, Any]:
    value = {"x": x, "y": 10.0, "width": 20.0, "height": 20.0, "rotation": 0, "rectanglelabels": [label]}
    size = {"original_width": 100, "original_height": 100}
    return {"id": uid, "from_name": "label", "to_name": "image", "type": "rectanglelabels", **size, "value": value}


@pytest.fixture
def site(studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return made(studio, tmp_path, monkeypatch, 8)


def made(studio: Studio, folder: Path, monkeypatch: pytest.MonkeyPatch, count: int, annotated: bool = False) -> Site:
    project = create_project(studio, "Snapshot", XML)
    monkeypatch.setenv("GROUNDLOOK_HOME", str(folder / "home"))
    monkeypatch.setenv("GROUNDLOOK_LABEL_STUDIO_URL", studio.url)
    monkeypatch.setenv("GROUNDLOOK_TOKEN", studio.token)
    found = Site(studio, folder / "home", project, [])
    notes = {"annotations": [{"result": [region("a")], "ground_truth": False}]} if annotated else {}
    split = ("train", "train", "val")
    rows = [
        {"data": {"image": f"http://x/{i}.png", "split": split[i % 3], "site": "alps"}, **notes} for i in range(count)
    ]
    found.call("POST", f"/api/projects/{project}/import", rows)
    with wire(Settings(home=found.home)) as wired:
        known = find_project(wired, project, studio.url, studio.token)
        found.tasks = [task.id for task in wired.client.tasks(known)]
    return found


def test_what_people_change_is_in_the_next_snapshot(site: Site) -> None:
    changed = site.annotate(0, region("a"))
    gone = site.annotate(1, region("b"))
    site.annotate(2, region("c", label="Tree"))
    site.annotate(3, was_cancelled=True)
    site.annotate(4)
    site.call("POST", f"/api/tasks/{site.tasks[5]}/drafts", {"result": [region("d")], "lead_time": 1})
    first = site.take()
    kept = site.examples(first)
    assert sorted(kept) == [0, 1, 2, 4], "neither skips nor drafts"
    assert (kept[2].task.split, kept[2].task.site, kept[4].regions) == ("val", "alps", ())
    assert kept[0].annotation_ids == (changed,)
    assert (first["new"], first["skipped"]) == (True, 1)
    again = site.take()
    assert (again["snapshot"], again["new"]) == (first["snapshot"], False)

    site.call("PATCH", f"/api/annotations/{changed}/", {"result": [region("a", 50.0), region("e", label="Tree")]})
    site.call("DELETE", f"/api/annotations/{gone}/")
    site.annotate(6, region("f"))
    second = site.take()
    done = site.run("diff", first["snapshot"][:12], second["snapshot"][:12])
    body = json.loads(done.stdout)
    assert (body["added"], body["removed"]) == ([site.tasks[6]], [site.tasks[1]])
    assert body["changed"] == [site.tasks[0]]
    assert body["classes"]["House"] == {"added": 1, "removed": 1, "changed": 1}
    assert body["classes"]["Tree"] == {"added": 1, "removed": 0, "changed": 0}


def test_two_annotators_and_ground_truth(site: Site) -> None:
    with Annotator(site.studio.url, "ann@snapshot.test", "a-person-1") as ann:
        for task in (0, 1):
            ann.submit(site.tasks[task], site.project, [region("a", 10.0)], 1.0)
    for task in (0, 1):
        site.annotate(task, region("b", 14.0), region("c", 60.0))
    assert [r.uid for r in site.examples(site.take())[0].regions] == ["b", "c"], "the newest, by default"
    for name in ("ann@snapshot.test", str(ann.id)):
        body = site.take("--resolve", f"annotator:{name}")
        assert [r.uid for r in site.examples(body)[0].regions] == ["a"]
    agreed = site.examples(site.take("--resolve", "consensus", "--keep"))[0]
    assert [(r.uid, r.shape.x, r.shape.width) for r in agreed.regions] == [("b", 12.0, 20.0)]
    assert len(set(agreed.annotators)) == len(agreed.annotation_ids) == 2
    truth = site.call("GET", f"/api/tasks/{site.tasks[1]}/annotations/")
    first = min(truth, key=lambda a: a["id"])
    site.call("PATCH", f"/api/annotations/{first['id']}/", {"ground_truth": True})
    body = site.take()
    assert body["rule"] == "consensus", "kept for the project"
    marked = site.examples(body)[1]
    assert (marked.annotation_ids, marked.ground_truth, body["ground_truth"]) == ((first["id"],), True, 1)
    wrong = site.run("--project", str(site.project), "--resolve", "annotator:bob")
    assert "nobody of that name annotated" in str(wrong.exception)


def test_label_studio_touches_a_task_with_everything_that_is_said_of_it(site: Site) -> None:
    """What `marks` builds on: see facts in `client.marks`."""
    with wire(Settings(home=site.home)) as wired:
        known = find_project(wired, site.project, site.studio.url, site.studio.token)

        def mark() -> str | None:
            return wired.client.marks(known).get(site.tasks[0])

        seen = [mark()]
        number = site.annotate(0, region("a"))
        seen.append(mark())
        for change in ({"result": []}, {"ground_truth": True}, {"was_cancelled": True}, {"was_cancelled": False}):
            site.call("PATCH", f"/api/annotations/{number}/", change)
            seen.append(mark())
        site.call("PATCH", f"/api/tasks/{site.tasks[0]}/", {"data": {"image": "http://x/new.png"}})
        seen.append(mark())
        site.annotate(0, was_cancelled=True)
        seen.append(mark())
        site.call("DELETE", f"/api/annotations/{number}/")
        seen.append(mark())
        chosen = {"selectedItems": {"all": False, "included": [site.tasks[0]]}}
        site.call("POST", f"/api/dm/actions?id=delete_tasks_annotations&project={site.project}", chosen)
        assert mark() is None
        assert seen[0] is None
        assert len(set(seen)) == len(seen)


class Line:
    """A line to Label Studio that lets `left` answers with annotations through, and is cut there, or hangs."""

    def __init__(self, port: int, left: int) -> None:
        self.left, self.hang, self.passed = left, False, 0
        self._port = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self._free = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._free.set()
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._carry, args=(self._server.accept()[0],), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        with near, socket.create_connection(("127.0.0.1", self._port)) as far, suppress(OSError):
            while request := near.recv(1 << 16):
                if b"fields=all" in request.partition(b"\r\n")[0]:
                    self.left -= 1
                    if self.left < 0:
                        self._free.wait(60 if self.hang else 0)
                        return
                    self.passed += 1
                far.sendall(request)
                _answer(far, near)


def _answer(far: socket.socket, near: socket.socket) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        head += far.recv(1 << 16)
    near.sendall(head)
    top, _, rest = head.partition(b"\r\n\r\n")
    lines = [line.lower() for line in top.split(b"\r\n")]
    left = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length")) - len(rest)
    while left > 0:
        part = far.recv(min(left, 1 << 16))
        near.sendall(part)
        left -= len(part)


@pytest.fixture
def line(studio: Studio) -> Iterator[Line]:
    found = Line(studio.port, 0)
    yield found
    found.close()


def test_what_was_read_before_a_break_is_not_read_again(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: Line
) -> None:
    """Ctrl-C while an answer is awaited, then a connection that is cut, then all is well."""
    site = made(studio, tmp_path, monkeypatch, 4 * PAGE + 7, annotated=True)
    words = ["snapshot", "--project", str(site.project), "--url", line.url, "--json"]
    line.left, line.hang = 2, True
    child = subprocess.Popen([sys.executable, "-m", "groundlook", *words], env=os.environ.copy())
    until(lambda: line.left < 0, 120)
    child.send_signal(signal.SIGINT)
    assert child.wait(30) == 130
    assert line.passed == 2
    line.left, line.hang = 1, False
    monkeypatch.setattr("groundlook_adapters.labelstudio.client.RETRIES", 0)
    assert isinstance(CliRunner().invoke(app, words).exception, LabelStudioError)
    assert line.passed == 3
    assert not list(site.home.rglob("*.json")), "no half of a snapshot"
    line.left = 99
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert line.passed == 5, "each page once"
    assert json.loads(done.stdout)["whole"]["tiles"] == len(site.tasks)
    assert json.loads(done.stdout)["splits"]["val"]["tiles"] == len(site.tasks[2::3])
