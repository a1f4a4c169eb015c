"""Tiles → rectangles over a scene's picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from groundlook.core.geo import WindowPx
from groundlook.service.pages.view import SPLIT_WORDS, STATES, SceneView, TileView

MAX_LINKED = 5000
"""Rectangles of their own, with title and link, in one scene; more of them become one path per state."""

_GAP = 0.02

Box = tuple[float, float, float, float]
"""(x, y, width, height) in pixels of the scene."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """What lies over one scene's picture. `linked`: tiles with their rectangle. `paths`: for each state that is drawn
    without links, SVG path data; `hatched`: for each of `val` and `margin`, likewise. `unit`: px of the scene that
    are about one on the screen."""

    linked: tuple[tuple[TileView, Box], ...]
    paths: Mapping[str, str]
    hatched: Mapping[str, str]
    unit: float


def draw(scene: SceneView, most: int = MAX_LINKED) -> Drawing:
    """At most `most` tiles get a link."""
    boxes = list(zip(scene.tiles, _cells([t.window for t in scene.tiles]), strict=True))
    hatched = {split: _path([box for tile, box in boxes if tile.split == split]) for split in SPLIT_WORDS}
    hatched = {split: path for split, path in hatched.items() if path}
    unit = max(scene.width, scene.height, 1) / 400
    if len(boxes) <= most:
        return Drawing(tuple(boxes), {}, hatched, unit)
    paths = {state: _path([box for tile, box in boxes if tile.state == state]) for state in STATES}
    return Drawing((), {state: path for state, path in paths.items() if path}, hatched, unit)


def _cells(windows: Sequence[WindowPx]) -> list[Box]:
    """A rectangle per window with a small gap around it. Windows of the most frequent size are cut in the middle of
    what they share with their neighbours, so that overlaps don't add up to stripes."""
    if not windows:
        return []
    size = Counter((w, h) for _, _, w, h in windows).most_common(1)[0][0]
    grid = [window for window in windows if window[2:] == size]
    columns = _spans(sorted({window[0] for window in grid}), size[0])
    rows = _spans(sorted({window[1] for window in grid}), size[1])
    cells: list[Box] = []
    for column, row, width, height in windows:
        (left, right), (top, bottom) = (column, column + width), (row, row + height)
        if (width, height) == size:
            (left, right), (top, bottom) = columns[column], rows[row]
        gap = _GAP * min(right - left, bottom - top)
        cells.append((left + gap, top + gap, right - left - 2 * gap, bottom - top - 2 * gap))
    return cells


def _spans(starts: Sequence[int], size: int) -> dict[int, tuple[int, int]]:
    spans: dict[int, tuple[int, int]] = {}
    for i, start in enumerate(starts):
        low, high = start, start + size
        if i > 0 and starts[i - 1] + size > start:
            low = (starts[i - 1] + size + start) // 2
        if i + 1 < len(starts) and starts[i + 1] < start + size:
            high = (start + size + starts[i + 1]) // 2
        # Windows that overlap by more than half leave nothing of their own; then they are drawn whole.
        spans[start] = (low, high) if high > low else (start, start + size)
    return spans


def _path(boxes: Sequence[Box]) -> str:
    return "".join(f"M{x:.6g} {y:.6g}h{w:.6g}v{h:.6g}h{-w:.6g}z" for x, y, w, h in boxes)
