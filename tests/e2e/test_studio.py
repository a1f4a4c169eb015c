"""The real server and simulated people: locks, Submit, restart, clean stop."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from groundlook.core.errors import Busy, LabelStudioError
from groundlook.demo.annotators import Annotator
from groundlook.demo.data import config_xml
from groundlook.demo.studio import Studio, free_port
from tests.e2e.owner import call
from tests.waiting import until

pytestmark = pytest.mark.e2e

PASSWORD = "a-person-1"


def _project(studio: Studio, tasks: int) -> int:
    body = {"title": "people", "label_config": config_xml(["Building"]), "sampling": "Sequential sampling"}
    project = int(call(studio, "POST", "/api/projects/", body)["id"])
    rows = [{"data": {"image": f"{studio.url}/static/images/{i}.png"}} for i in range(tasks)]
    call(studio, "POST", f"/api/projects/{project}/import", rows)
    return project


def _submitted(studio: Studio, project: int) -> list[dict[str, Any]]:
    tasks = call(studio, "GET", f"/api/projects/{project}/export?exportType=JSON&download_all_tasks=true")
    return [a for task in tasks for a in task["annotations"]]


def _region() -> dict[str, Any]:
    value = {"x": 10, "y": 10, "width": 20, "height": 20, "rotation": 0, "rectanglelabels": ["Building"]}
    return {"id": "abcdefghij", "from_name": "label", "to_name": "image", "type": "rectanglelabels", "value": value}


def test_two_people_never_get_the_same_task_and_label_all(studio: Studio) -> None:
    project = _project(studio, 6)
    emails = ("ann@people.test", "bob@people.test")
    with ThreadPoolExecutor(2) as pool:
        people = list(pool.map(lambda e: Annotator(studio.url, e, PASSWORD), emails))
        served = list(pool.map(lambda a: a.next_task(project), people))
        assert len({s.task_id for s in served if s}) == 2  # both hold a lock at once
        assert all(s and s.lock and s.model_version is None for s in served)

        def work(person: Annotator) -> None:
            while (task := person.next_task(project)) is not None:
                person.submit(task.task_id, project, [_region()], 1.5)

        list(pool.map(work, people))
    done = _submitted(studio, project)
    assert len(done) == 6
    assert {a["completed_by"] for a in done} == {p.id for p in people}
    assert all(a["lead_time"] == 1.5 and len(a["result"]) == 1 for a in done)
    tasks = {s.task_id for p in people for s in p.history}
    assert len(tasks) == 6
    for person in people:
        person.close()


def test_prediction_of_the_current_version_comes_with_the_task(studio: Studio) -> None:
    project = _project(studio, 2)
    tasks = sorted(t["id"] for t in call(studio, "GET", f"/api/tasks?project={project}")["tasks"])
    rows = [{"task": tasks[1], "result": [_region()], "score": 0.25, "model_version": "m@1+w1"}]
    call(studio, "POST", f"/api/projects/{project}/import/predictions", rows)
    sampling = {"model_version": "m@1+w1", "sampling": "Uncertainty sampling"}
    call(studio, "PATCH", f"/api/projects/{project}/", sampling)
    with Annotator(studio.url, "eve@people.test", PASSWORD) as eve:
        served = eve.next_task(project)
        assert served is not None
        assert (served.task_id, served.model_version, served.score) == (tasks[1], "m@1+w1", 0.25)
        assert served.regions == 1
        eve.submit(served.task_id, project, [_region()], 2.0)
    (annotation,) = _submitted(studio, project)
    assert annotation["parent_prediction"] == served.prediction_id


def test_pressing_submit_twice_leaves_one_annotation(studio: Studio) -> None:
    project = _project(studio, 2)
    with Annotator(studio.url, "kim@people.test", PASSWORD) as kim:
        task = kim.next_task(project)
        assert task is not None
        first = kim.submit(task.task_id, project, [_region()], 1.0)
        assert kim.submit(task.task_id, project, [_region()], 1.0) == first
        task = kim.next_task(project)
        assert task is not None
        skipped = kim.skip(task.task_id, project)
        assert kim.skip(task.task_id, project) == skipped
        assert kim.next_task(project) is None
    assert sorted(a["was_cancelled"] for a in _submitted(studio, project)) == [False, True]


def test_known_person_logs_in_and_wrong_password_is_told(studio: Studio) -> None:
    with (
        Annotator(studio.url, "zoe@people.test", PASSWORD) as first,
        Annotator(studio.url, "zoe@people.test", PASSWORD) as again,
    ):
        assert first.id == again.id
    with pytest.raises(LabelStudioError, match=r"zoe@people\.test"):
        Annotator(studio.url, "zoe@people.test", "not-the-password")


def test_restart_keeps_data_and_people_carry_on(studio: Studio) -> None:
    project = _project(studio, 2)
    with Annotator(studio.url, "ian@people.test", PASSWORD) as ian:
        task = ian.next_task(project)
        assert task is not None
        with ThreadPoolExecutor(1) as pool:
            old, url = studio.pid, studio.url
            studio.stop()
            assert old is not None
            assert not psutil.pid_exists(old)
            submit = pool.submit(ian.submit, task.task_id, project, [_region()], 1.0)  # while the server is down
            studio.start()
            assert studio.url == url
            assert submit.result(timeout=60) > 0
    assert len(_submitted(studio, project)) == 1


def test_busy_port_names_the_port(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Busy, match=str(port)):
            Studio(tmp_path / "data", port).start()


def test_server_that_can_not_start_shows_its_last_words(tmp_path: Path) -> None:
    broken = Studio(tmp_path / "data", env={"DJANGO_DB": "nonsense"})
    with pytest.raises(LabelStudioError, match="exit code"):
        broken.start()
    assert broken.pid is None


def test_server_dies_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from groundlook.demo.studio import Studio\n"
        f"s = Studio(Path({str(tmp_path / 'data')!r}), {free_port()}); s.start()\n"
        "print(s.pid, flush=True); time.sleep(99)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    until(lambda: not psutil.pid_exists(pid), 10)
