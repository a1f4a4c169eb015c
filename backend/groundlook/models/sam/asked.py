"""Prompts of people as tokens of the decoder; what can't be meant is refused by name."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.geometry import envelope
from groundlook.core.prompts import Prompts

PAD, NEGATIVE, POSITIVE, TOP_LEFT, BOTTOM_RIGHT = -1, 0, 1, 2, 3
"""What a token is: no point, "not this", "this", or a box's corner (segment_anything's PromptEncoder)."""
MOST_POINTS = 64
"""Of one object: each costs a pass of the decoder when nothing of it is remembered."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """Prompts that were checked. `points`: float32 (K, 2) in picture px; `positive`: bool (K,); `box`: float32 (2, 2),
    its corners, or None. `mask`: bool (H, W) or None."""

    points: NDArray[np.float32]
    positive: NDArray[np.bool_]
    box: NDArray[np.float32] | None
    mask: NDArray[np.bool_] | None

    @property
    def start(self) -> int:
        """How many points the first answer goes by: none where there is a box, else up to the first positive one; all
        of them where there is a mask, which is the earlier answer."""
        if self.mask is not None:
            return len(self.points)
        return 0 if self.box is not None else int(np.argmax(self.positive)) + 1

    def ambiguous(self, count: int) -> bool:
        """Whether one click is all there is: then SAM's three masks (whole, part, sub-part) are the answer, of which
        the best is chosen; otherwise its single mask is the better one, as its authors advise."""
        return count == 1 and self.box is None and self.mask is None

    def tokens(self, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(1, K, 2) in picture px and (1, K) of the first `count` points and the box, in SamPredictor's order."""
        points, labels = self.points[:count], np.where(self.positive[:count], POSITIVE, NEGATIVE)
        more, kinds = (np.zeros((1, 2)), [PAD]) if self.box is None else (self.box, [TOP_LEFT, BOTTOM_RIGHT])
        found = np.concatenate([points, more])[None].astype(np.float32)
        return found, np.concatenate([labels, kinds])[None].astype(np.float32)

    def name(self, count: int) -> bytes:
        """Equal names, equal tokens and equal mask."""
        points, labels = self.tokens(count)
        seen = blake2b(points.tobytes() + labels.tobytes(), digest_size=16)
        if self.mask is not None:
            seen.update(np.packbits(self.mask).tobytes())
        return seen.digest()


def check(prompts: Prompts, size: tuple[int, int], which: str) -> Asked:
    """`size`: (width, height) of the picture. `which` names the prompt in what is raised. Raises InvalidInput."""
    if prompts.text:
        raise InvalidInput(f"{which}: SAM does not read; for {prompts.text!r} connect a model that takes text")
    points = np.asarray(prompts.points, np.float32).reshape(-1, 2)
    positive = np.asarray(prompts.positive, bool).reshape(-1)
    _check_points(points, positive, size, which)
    box = None if prompts.box is None else _box(prompts.box, size, which)
    mask = _mask(prompts, size, which)
    if mask is None and box is None and not positive.any():
        if len(points):
            raise InvalidInput(f"{which}: only negative points; point at the object itself first, or box it")
        empty = "a mask without a pixel" if prompts.mask is not None else "nothing"
        raise InvalidInput(f"{which} points at {empty}: give a point, a box or an earlier mask")
    if prompts.mask is not None and mask is not None and box is None and not positive.any():
        # SAM never learned from a mask alone: it always saw what had been asked first.
        box = np.array(envelope(prompts.mask), np.float32).reshape(2, 2)
    return Asked(points, positive, box, mask)


def _check_points(points: NDArray[np.float32], positive: NDArray[np.bool_], size: tuple[int, int], which: str) -> None:
    if len(points) != len(positive):
        raise InvalidInput(f"{which}: {len(points)} points, but {len(positive)} signs; give one for each")
    if len(points) > MOST_POINTS:
        raise InvalidInput(f"{which}: {len(points)} points; at most {MOST_POINTS} for one object")
    for x, y in points:
        if not (np.isfinite(x) and np.isfinite(y)):
            raise InvalidInput(f"{which}: the point ({x}, {y}) is no place; coordinates must be finite")
        if not (0 <= x <= size[0] and 0 <= y <= size[1]):
            raise InvalidInput(f"{which}: the point ({x:g}, {y:g}) is outside the picture of {size[0]} × {size[1]} px")


def _box(box: tuple[float, float, float, float], size: tuple[int, int], which: str) -> NDArray[np.float32]:
    """(2, 2), what of it lies in the picture."""
    corners = np.array(box, np.float64)
    said = f"the box ({', '.join(f'{v:g}' for v in corners)})"
    if not np.isfinite(corners).all():
        raise InvalidInput(f"{which}: {said} is no place; coordinates must be finite")
    if corners[2] <= corners[0] or corners[3] <= corners[1]:
        raise InvalidInput(f"{which}: {said} has no area; its second corner must be right of and below its first")
    inside = np.clip(corners.reshape(2, 2), 0, size)
    if (inside[1] <= inside[0]).any():
        raise InvalidInput(f"{which}: {said} is outside the picture of {size[0]} × {size[1]} px")
    return inside.astype(np.float32)


def _mask(prompts: Prompts, size: tuple[int, int], which: str) -> NDArray[np.bool_] | None:
    mask = prompts.mask
    if mask is None:
        return None
    if (mask.width, mask.height) != size:
        raise InvalidInput(
            f"{which}: the mask is of {mask.width} × {mask.height} px, the picture of {size[0]} × {size[1]} px"
        )
    return mask.pixels() if mask.area else None
