"""Everything in a picture that looks like one object: Segment Anything's automatic masks (Kirillov et al. 2023,
appendix B), on whole pictures, and on windows of those that are too large for one look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from math import isfinite
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidConfig
from groundlook.core.geo import Tile, WindowPx
from groundlook.core.ports import Progress
from groundlook.core.prompts import Cut, Picture
from groundlook.core.tiling import grid
from groundlook.models.sam.asked import PAD, POSITIVE
from groundlook.models.sam.frame import Frame, Logits
from groundlook.models.sam.pictures import part_of
from groundlook.models.sam.pieces import Piece, distinct, joined
from groundlook.models.sam.quality import Decoded

_CLOSE = 1.5
"""A picture more than this many times as long as what the encoder sees is looked at in windows, too."""
_AT_ONCE = 4  # points in one call of the decoder: more is slower on a CPU


class Looks(Protocol):
    """What is needed of a SamSegmenter; see there."""

    @property
    def sees(self) -> int: ...

    def frame(self, picture: Picture) -> Frame: ...

    def embedding(self, picture: Picture, bulk: bool = False) -> NDArray[np.float32]: ...

    def decode(
        self,
        embedding: NDArray[np.float32],
        points: NDArray[np.float32],
        labels: NDArray[np.float32],
        mask: Logits | None = None,
    ) -> tuple[Logits, NDArray[np.float32]]: ...

    def cut(self, decoded: Decoded, frame: Frame) -> Cut: ...


@dataclass(frozen=True, slots=True)
class Grid:
    """`points`: a side, over a whole picture; a window of it takes half as many. `predicted_iou`, `stability`: the
    least of each that a proposal has. `overlap`: IoU from which two are one. They are options of a plan's model."""

    points: int = 16
    predicted_iou: float = 0.88
    stability: float = 0.9
    overlap: float = 0.7

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Grid:
        """Raises InvalidConfig for values that make no sense."""
        usual = cls()
        try:
            found = cls(
                int(options.get("points", usual.points)),
                *(float(options.get(name, getattr(usual, name))) for name in ("predicted_iou", "stability", "overlap")),
            )
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidConfig(f"options of a SAM: {error}") from error
        if not (isfinite(found.predicted_iou) and isfinite(found.stability)):
            raise InvalidConfig(
                f"options of a SAM: predicted_iou {found.predicted_iou}, stability {found.stability} (0…1)"
            )
        if not (1 <= found.points <= 128 and 0 < found.overlap <= 1):
            raise InvalidConfig(
                f"options of a SAM: {found.points} points a side (1…128), overlap {found.overlap} (0…1)"
            )
        return found

    def places(self, size: tuple[int, int], share: float = 1.0) -> NDArray[np.float32]:
        """(N, 2): middles of the cells of a regular grid over a picture."""
        count = max(1, round(self.points * share))
        middles = (np.arange(count) + 0.5) / count
        x, y = np.meshgrid(middles * size[0], middles * size[1])
        return np.stack([x.reshape(-1), y.reshape(-1)], 1).astype(np.float32)


@dataclass(frozen=True, slots=True)
class View:
    """A look at a part of a larger picture, whose first pixel is there at (`x`, `y`). `share`: of the grid's points."""

    picture: Picture
    x: int = 0
    y: int = 0
    share: float = 1.0


def propose(segmenter: Looks, picture: Picture, chosen: Grid, progress: Progress) -> list[Cut]:
    """Without duplicates, best first. What `progress` raises ends it."""
    views = views_of(picture, segmenter.sees)
    return propose_views(segmenter, views, picture.size, chosen, progress)


def views_of(picture: Picture, sees: int) -> list[View]:
    """Windows of what the encoder `sees`, a quarter shared, and then the whole, for what is larger than a window."""
    width, height = picture.size
    if max(width, height) <= _CLOSE * sees:
        return [View(picture)]

    @cache
    def whole() -> Tile:
        return picture.read()

    def part(window: WindowPx) -> View:
        def read() -> Tile:
            return part_of(picture, whole(), window).read()

        x, y, w, h = window
        return View(Picture(f"{picture.key}#{x},{y},{w},{h}", (w, h), read), x, y, 0.5)

    return [*(part(window) for window in grid(width, height, sees, sees // 4)), View(picture)]


def propose_views(
    segmenter: Looks, views: list[View], size: tuple[int, int], chosen: Grid, progress: Progress
) -> list[Cut]:
    """The same over any views of a picture or scene of `size` (width, height) px: masks are the scene's.

    What the edge of a view cuts is joined to what a neighbouring view shows of it, where both see the ground and agree
    (IoU of half or more there); a cut piece without its other half is left out. Memory: the pieces that were found.
    """
    found: list[Piece] = []
    for number, view in enumerate(views):

        def within(done: float, text: str, number: int = number) -> None:
            progress((number + done) / len(views), text)

        found += _seen(segmenter, view, size, chosen, within)
    kept = distinct(joined(found), chosen.overlap)
    progress(1.0, f"{len(kept)} proposals")
    return [Cut(piece.mask(*size), piece.score, piece.terms) for piece in kept]


def _seen(segmenter: Looks, view: View, size: tuple[int, int], chosen: Grid, progress: Progress) -> list[Piece]:
    """What one view shows, in the scene's pixels, without duplicates."""
    progress(0.0, "encoding")
    frame = segmenter.frame(view.picture)
    embedding = segmenter.embedding(view.picture, bulk=True)
    places = frame.points(chosen.places(view.picture.size, view.share))
    found: list[Piece] = []
    for at, points in _few(places):
        progress(at, f"{len(found)} found")
        cuts = _answers(segmenter, embedding, points, frame, chosen)
        found.extend(Piece.of(cut, view.x, view.y, view.picture.size, size) for cut in cuts)
    return distinct(found, chosen.overlap)


def _few(places: NDArray[np.float32]) -> Iterator[tuple[float, NDArray[np.float32]]]:
    for i in range(0, len(places), _AT_ONCE):
        yield i / len(places), places[i : i + _AT_ONCE]


def _answers(
    segmenter: Looks, embedding: NDArray[np.float32], points: NDArray[np.float32], frame: Frame, chosen: Grid
) -> Iterator[Cut]:
    """The three masks of each point that are good enough."""
    asked = np.stack([points, np.zeros_like(points)], 1)
    labels = np.tile(np.array([POSITIVE, PAD], np.float32), (len(points), 1))
    logits, expected = segmenter.decode(embedding, asked, labels)
    for one, quality in zip(logits, expected, strict=True):
        for place in np.flatnonzero(quality[1:] >= chosen.predicted_iou) + 1:
            cut = segmenter.cut(Decoded(one, quality, int(place)), frame)
            if cut.terms["stability"] >= chosen.stability and len(cut.mask.runs):
                yield cut
