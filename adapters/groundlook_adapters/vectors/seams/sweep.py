"""A sweep down one scene that holds only the pieces that a later tile can still touch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Protocol

import numpy as np

from groundlook.core.errors import InvalidInput
from groundlook_adapters.vectors.seams.links import Links, beyond, no_links
from groundlook_adapters.vectors.seams.pieces import Flags, Ints, Merged, Piece, Table, groups


class Rule(Protocol):
    """How pieces become things."""

    def rows(self, pieces: list[Piece]) -> Table:
        """Pieces as columns."""

    def links(self, rows: Table, new: int) -> Links:
        """The links whose second piece is one of rows[new:]."""

    def closed(self, rows: Table, top: int) -> Flags:
        """The rows that no piece of a window that begins at `top` or further down can be linked to."""

    def things(self, rows: Table, links: Links) -> list[Merged]:
        """What a set of pieces comes to that is linked to no other."""


@dataclass(slots=True)
class Sweep:
    """Bands of pieces in, finished things out."""

    rule: Rule
    held: Table
    links: Links
    windows: Ints

    @classmethod
    def of(cls, rule: Rule) -> Sweep:
        """A sweep that has seen nothing."""
        return cls(rule, rule.rows([]), no_links(), np.zeros((0, 4), dtype=np.int64))

    def add(self, band: list[Piece]) -> None:
        """The pieces of the next windows."""
        new, rows = len(self.held), self.held.join(self.rule.rows(band))
        fresh = np.unique(rows.window[new:], axis=0)
        self.windows = np.unique(np.concatenate([self.windows, fresh]), axis=0)
        for which, others in ((slice(0, new), fresh), (slice(new, None), self.windows)):
            windows, back = np.unique(rows.window[which], axis=0, return_inverse=True)
            rows.inner[which] |= beyond(windows, others)[back.reshape(-1)]
        self.held, self.links = rows, self.links.join(self.rule.links(rows, new))

    def finished(self, top: int | None) -> list[Merged]:
        """What can't change any more once all windows begin at `top` or further down; all that is left without."""
        rows, links = self.held, self.links
        still = np.zeros(len(rows), dtype=bool) if top is None else ~self.rule.closed(rows, top)
        group = groups(len(rows), links.first, links.second)
        open_groups = np.zeros(len(rows), dtype=bool)
        open_groups[group[still]] = True
        keep = open_groups[group]
        self.held, self.links = _part(rows, links, keep)
        if top is not None:
            self.windows = self.windows[self.windows[:, 3] > top]
        return self.rule.things(*_part(rows, links, ~keep))


def swept(pieces: Iterable[Piece], rule: Rule) -> list[Merged]:
    """All at once."""
    sweep = Sweep.of(rule)
    sweep.add(sorted(pieces, key=place))
    return sweep.finished(None)


def bands(pieces: Iterable[Piece]) -> Iterator[tuple[int, list[Piece]]]:
    """Pieces by the row of their windows. Raises InvalidInput where they are not in order."""
    last = None
    for row, band in groupby(pieces, key=lambda p: p.window[1]):
        found = list(band)
        for a, b in pairwise(found if last is None else [last, *found]):
            if place(a) > place(b):
                raise InvalidInput(
                    f"window {b.window} comes after {a.window}: sort pieces by row, then column of their windows"
                )
        last = found[-1]
        yield row, found


def place(piece: Piece) -> tuple[int, int]:
    """(row, column) of a piece's window."""
    return piece.window[1], piece.window[0]


def _part(rows: Table, links: Links, keep: Flags) -> tuple[Table, Links]:
    """Some rows with the links among them; links never lead out of a part."""
    place = np.cumsum(keep) - 1
    inside = links.take(keep[links.first])
    return rows.take(keep), Links(place[inside.first], place[inside.second], inside.iou, inside.inside)
