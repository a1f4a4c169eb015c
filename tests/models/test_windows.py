"""One thing that several windows of a tile show is one thing."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torchvision")

from groundlook.core.tiling import grid
from groundlook.models.windows import uncut
from groundlook.models.yolo.candidates import Candidates
from groundlook.models.yolo.suppress import MOST, best

WINDOWS = list(grid(1024, 640, 640, 160))  # from 0 and from 384 px on


def seen(*boxes: tuple[float, float, float, float], score: float = 0.5, angle: float | None = None) -> Candidates:
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    sides = corners[:, 2:] - corners[:, :2]
    extra = np.zeros((len(boxes), 0), np.float32) if angle is None else np.full((len(boxes), 1), angle, np.float32)
    proba, window = np.full((len(boxes), 1), score, np.float32), np.zeros(len(boxes), np.intp)
    return Candidates(np.concatenate([corners[:, :2] + sides / 2, sides], 1), proba, extra, None, score, (), window)


@pytest.mark.parametrize("part", [0.5, 0.9])
@pytest.mark.parametrize("angle", [None, 0.0])
@pytest.mark.parametrize("end", [664, 760])  # the part overlaps the whole too much, too little for suppression
def test_a_part_that_a_window_cuts_off_gives_way_to_the_whole(part: float, angle: float | None, end: int) -> None:
    cut, whole = seen((560, 100, 640, 200), score=part, angle=angle), seen((560, 100, end, 200), angle=angle)
    found = best([cut, whole], WINDOWS, angle is not None)
    assert found.boxes.tolist() == whole.boxes.tolist()


def test_what_nothing_surer_shows_whole_stays() -> None:
    cut, noise, beside = (560, 100, 640, 200), seen((500, 50, 760, 300), score=0.06), (600, 210, 640, 300)
    assert len(best([seen(cut, score=0.9), noise], WINDOWS, False)) == 2
    assert len(best([seen(cut, beside), seen((560, 100, 760, 200))], WINDOWS, False)) == 2
    assert len(best([seen((300, 0, 640, 90)), seen((384, 0, 800, 90))], WINDOWS, False)) == 2  # longer than the overlap
    both = np.array([cut, cut], float)
    assert uncut(both, np.ones(2), np.array([0, 1]), np.array([0, 1]), WINDOWS).all()  # two labels
    assert not uncut(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), np.zeros(0, int), WINDOWS).size


def test_the_most_there_may_be_grows_with_the_windows() -> None:
    places = [(x, y, x + 6.0, y + 6.0) for x in range(20, 380, 9) for y in range(5, 635, 9)]
    first, second = seen(*places), seen(*[(a + 560, b, c + 560, d) for a, b, c, d in places])
    assert len(best([first, second], WINDOWS, False)) == 2 * MOST
    assert len(best([first], WINDOWS[:1], False)) == MOST
