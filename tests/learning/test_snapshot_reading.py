"""What is read once is not read again, whatever breaks."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from groundlook.core.errors import Cancelled, InvalidInput, LabelStudioError
from groundlook.core.geometry import Box
from groundlook.core.mask import Mask
from groundlook.core.types import Annotation, Control, LabelConfig, Project, Region, Said, Task
from groundlook.learning.snapshot import load_snapshot
from groundlook.learning.snapshot.reading import FOLDER, PAGE, read_said
from groundlook.learning.snapshot.resolve import Rule
from groundlook.learning.snapshot.uncollected import uncollected
from groundlook.loop.snapshot import read_snapshot

CONFIG = LabelConfig("l", "RectangleLabels", "i", "i", ("A",), (Control("l", "RectangleLabels", ("A",)),))
PROJECT = Project(1, "http://127.0.0.1", "t", CONFIG)


@dataclass
class Server:
    """Tasks with one annotation each. `pages`: answers that are left before the connection breaks, None for ever."""

    tasks: dict[int, Said] = field(default_factory=dict)
    marks_: dict[int, str] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    pages: int | None = None

    def add(self, number: int, x: float = 0.0) -> None:
        regions = (Region(Box(x, 0, 5, 5), "A", uid="r"), Region(Mask.of(PIXELS), "A", note="n"))
        annotation = Annotation(number, number, regions, "ann", 5.0, 2.5, False, True)
        self.tasks[number] = Said(Task(number, f"u{number}", site="alps"), (annotation,), ("one can't be read",))
        self.marks_[number] = f"{time.monotonic_ns()}"

    def marks(self, project: Project) -> dict[int, str]:
        return dict(sorted(self.marks_.items()))

    def said(self, project: Project, tasks: list[int]) -> list[Said]:
        if self.pages is not None:
            if self.pages == 0:
                raise LabelStudioError("Label Studio does not answer")
            self.pages -= 1
        self.asked += tasks
        return [self.tasks[t] for t in tasks if t in self.tasks]


PIXELS = np.eye(4, dtype=bool)


def read(server: Any, folder: Path) -> list[Said]:
    return read_said(server, PROJECT, folder, lambda *_: None)


@pytest.fixture
def server() -> Server:
    made = Server()
    for number in range(1, 3 * PAGE + 51):
        made.add(number)
    return made


def test_a_broken_connection_costs_one_page(server: Server, tmp_path: Path) -> None:
    server.pages = 2
    with pytest.raises(LabelStudioError):
        read(server, tmp_path)
    assert len(server.asked) == 2 * PAGE
    server.pages = None
    assert read(server, tmp_path) == list(server.tasks.values())
    assert server.asked == list(range(1, 3 * PAGE + 51)), "each once"


def test_only_what_changed_is_read_again(server: Server, tmp_path: Path) -> None:
    read(server, tmp_path)
    server.asked.clear()
    server.add(7, x=3.0)
    server.add(9999)
    del server.tasks[8], server.marks_[8]
    found = read(server, tmp_path)
    assert server.asked == [7, 9999]
    assert found == [server.tasks[t] for t in sorted(server.tasks)]


def test_what_changed_while_it_was_read_is_read_again(server: Server, tmp_path: Path) -> None:
    """Its answer was newer than its mark, so the mark is another one next time."""

    class Moving(Server):
        def said(self, project: Project, tasks: list[int]) -> list[Said]:
            if 5 in tasks and self.tasks[5].annotations[0].regions[0].shape == Box(0, 0, 5, 5):
                self.add(5, x=8.0)
            return super().said(project, tasks)

    moving = Moving(server.tasks, server.marks_)
    assert read(moving, tmp_path)[4].annotations[0].regions[0].shape == Box(8, 0, 5, 5)
    moving.asked.clear()
    read(moving, tmp_path)
    assert moving.asked == [5]


def test_a_task_that_is_deleted_meanwhile_is_left_out(server: Server, tmp_path: Path) -> None:
    del server.tasks[3]
    assert 3 not in {s.task.id for s in read(server, tmp_path)}


def test_cancelled_work_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    def stop(share: float, text: str) -> None:
        if share > 0.5:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        read_said(server, PROJECT, tmp_path, stop)
    before = len(server.asked)
    assert 0 < before < len(server.tasks)
    assert len(read(server, tmp_path)) == len(server.tasks)
    assert len(server.asked) == len(server.tasks)


def test_another_label_config_reads_everything_again(server: Server, tmp_path: Path) -> None:
    read(server, tmp_path)
    server.asked.clear()
    other = replace(PROJECT, config=replace(CONFIG, labels=("A", "B")))
    read_said(server, other, tmp_path, lambda *_: None)
    assert len(server.asked) == len(server.tasks)


@pytest.mark.fault("corrupt file of what was read", "snapshot")
@pytest.mark.parametrize("damage", [b"no database at all, and long enough to be looked at" * 99, b""])
def test_a_damaged_file_is_read_again(server: Server, tmp_path: Path, damage: bytes) -> None:
    read(server, tmp_path)
    (tmp_path / FOLDER / "said.db").write_bytes(damage)
    assert len(read(server, tmp_path)) == len(server.tasks)


def test_a_torn_page_is_found(server: Server, tmp_path: Path) -> None:
    read(server, tmp_path)
    path = tmp_path / FOLDER / "said.db"
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = b"\xff" * (len(content) - len(content) // 2)
    path.write_bytes(content)
    assert read(server, tmp_path) == list(server.tasks.values())


def test_the_collector_of_cycles_goes_on_after_what_breaks_too(server: Server, tmp_path: Path) -> None:
    def breaks() -> None:
        with uncollected():
            assert not gc.isenabled()
            raise ValueError("broken")

    read(server, tmp_path)
    assert gc.isenabled()
    with pytest.raises(ValueError, match="broken"):
        breaks()
    assert gc.isenabled()


def test_a_folder_that_can_t_be_written_costs_the_memory_only(server: Server, tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("in the way")
    assert len(read(server, tmp_path)) == len(server.tasks)


@pytest.mark.fault("worker killed", "snapshot")
def test_a_killed_reader_leaves_what_it_read(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from tests.learning.test_snapshot_reading import Server, PROJECT, PAGE, read_said\n"
        "server = Server()\n"
        "for n in range(1, 3 * PAGE + 1): server.add(n); server.marks_[n] = 'same'\n"
        "def tell(share, text):\n"
        "    if share > .3: print('half', flush=True); time.sleep(60)\n"
        "read_said(server, PROJECT, Path(sys.argv[1]), tell)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "half\n"
        child.send_signal(signal.SIGKILL)
    server = Server()
    for number in range(1, 3 * PAGE + 1):
        server.add(number)
        server.marks_[number] = "same"
    assert len(read(server, tmp_path)) == 3 * PAGE
    assert len(server.asked) == 2 * PAGE


def test_a_snapshot_is_read_made_and_kept(server: Server, tmp_path: Path) -> None:
    snapshot, said = read_snapshot(server, PROJECT, tmp_path, lambda *_: None)  # type: ignore[arg-type]
    assert len(said) == len(snapshot.examples) == len(server.tasks)
    assert load_snapshot(tmp_path / f"{snapshot.id}.json") == snapshot
    again, _ = read_snapshot(server, PROJECT, tmp_path, lambda *_: None)  # type: ignore[arg-type]
    assert again == snapshot


def test_a_rule_that_names_nobody_makes_no_snapshot(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"annotator:bob: nobody of that name annotated; those who did: ann"):
        read_snapshot(server, PROJECT, tmp_path, lambda *_: None, Rule("annotator", "bob"))  # type: ignore[arg-type]
    assert not list(tmp_path.glob("*.json"))
