"""Compiled loops over boxes that several windows show: which two show one thing, and which are one. Imported on first
use only, numba is slow to import."""

from __future__ import annotations

import numpy as np

from groundlook_adapters.vectors.seams.boxes_kernels import Flags, Floats, Ints, _compiled, grid

Rules = tuple[float, float, float, float, float]
"""(edge, same, covered, slack in px, slack as a share): see `views`."""


@_compiled
def _reach(boxes: Floats, windows: Ints, inner: Flags, i: int, edge: float, sides: Flags) -> bool:
    """Fill `sides` (4,) with the inner sides of its window that box `i` reaches; whether there is one."""
    cut = False
    for c in range(4):
        off = boxes[i, c] - windows[i, c] if c < 2 else windows[i, c] - boxes[i, c]
        sides[c] = inner[i, c] and off <= edge
        cut |= sides[c]
    return cut


@_compiled
def cut(boxes: Floats, windows: Ints, inner: Flags, edge: float) -> Flags:
    """(N,): boxes that reach an inner side of their window."""
    found, sides = np.empty(len(boxes), np.bool_), np.empty(4, np.bool_)
    for i in range(len(boxes)):
        found[i] = _reach(boxes, windows, inner, i, edge, sides)
    return found


@_compiled
def _goes_on(boxes: Floats, windows: Ints, part: int, whole: int, sides: Flags, slack: float) -> bool:
    """Whether `whole` goes on beyond a side at which its window cut `part` off, and at all such sides that the other
    window sees beyond."""
    beyond = False
    for c in range(4):
        if not sides[c]:
            continue
        sign = -1.0 if c < 2 else 1.0
        if (windows[whole, c] - windows[part, c]) * sign <= 0:
            continue
        if (boxes[whole, c] - windows[part, c]) * sign < -slack:
            return False
        beyond = True
    return beyond


@_compiled
def _seam(boxes: Floats, windows: Ints, i: int, j: int, a: Flags, b: Flags, slack: float) -> float:
    """How much two boxes share along the line where their windows meet without overlapping by more than `slack`, where
    both are cut there: IoU of the two intervals, 0 elsewhere."""
    for c in range(2):
        low, high = max(windows[i, c], windows[j, c]), min(windows[i, c + 2], windows[j, c + 2])
        if not 0 <= high - low <= slack:
            continue
        facing = (a[c + 2] and b[c]) if windows[i, c] < windows[j, c] else (a[c] and b[c + 2])
        if not facing:
            continue
        d = 1 - c
        both = min(boxes[i, d + 2], boxes[j, d + 2]) - max(boxes[i, d], boxes[j, d])
        either = max(boxes[i, d + 2], boxes[j, d + 2]) - min(boxes[i, d], boxes[j, d])
        if both > 0:
            return float(both / either)
    return 0.0


@_compiled
def _agree(
    boxes: Floats, windows: Ints, i: int, j: int, a: Flags, b: Flags, cut_a: bool, cut_b: bool, rules: Rules
) -> float:
    """How surely two boxes of different windows show one thing: from `same` on they cover the same of what both windows
    see, below it one is a part of the other that its window cut off; 0 for neither."""
    _, same, covered, slack_px, slack_share = rules
    low_x, low_y = max(windows[i, 0], windows[j, 0]), max(windows[i, 1], windows[j, 1])
    high_x, high_y = min(windows[i, 2], windows[j, 2]), min(windows[i, 3], windows[j, 3])
    if high_x < low_x or high_y < low_y:
        return 0.0
    along = _seam(boxes, windows, i, j, a, b, slack_px)
    if along >= same:
        return float(along)
    ax0, ay0 = max(boxes[i, 0], low_x), max(boxes[i, 1], low_y)
    ax1, ay1 = min(boxes[i, 2], high_x), min(boxes[i, 3], high_y)
    bx0, by0 = max(boxes[j, 0], low_x), max(boxes[j, 1], low_y)
    bx1, by1 = min(boxes[j, 2], high_x), min(boxes[j, 3], high_y)
    area_a, area_b = max(ax1 - ax0, 0.0) * max(ay1 - ay0, 0.0), max(bx1 - bx0, 0.0) * max(by1 - by0, 0.0)
    both = max(min(ax1, bx1) - max(ax0, bx0), 0.0) * max(min(ay1, by1) - max(ay0, by0), 0.0)
    if area_a > 0 and area_b > 0 and both / (area_a + area_b - both) >= same:
        return float(both / (area_a + area_b - both))
    best = 0.0
    for turn in range(2):
        part, whole, is_cut, sides = (i, j, cut_a, a) if turn == 0 else (j, i, cut_b, b)
        area = area_a if turn == 0 else area_b
        if not is_cut or area <= 0 or (area_b if turn == 0 else area_a) < area:
            continue
        least = min(boxes[whole, 2] - boxes[whole, 0], boxes[whole, 3] - boxes[whole, 1])
        slack = max(slack_px, slack_share * least)
        if not _goes_on(boxes, windows, part, whole, sides, slack):
            continue
        px0, py0, px1, py1 = (ax0, ay0, ax1, ay1) if turn == 0 else (bx0, by0, bx1, by1)
        wide = min(px1, boxes[whole, 2] + slack) - max(px0, boxes[whole, 0] - slack)
        high = min(py1, boxes[whole, 3] + slack) - max(py0, boxes[whole, 1] - slack)
        share = max(wide, 0.0) * max(high, 0.0) / area
        if share >= covered:
            best = max(best, min(share, 1.0) * 0.99 * same)
    return best


@_compiled
def links(
    boxes: Floats, windows: Ints, window: Ints, inner: Flags, labels: Ints, rules: Rules
) -> tuple[Ints, Ints, Floats]:
    """Pairs of boxes of different windows and one label that show one thing, first < second, and how surely.

    `windows` int64 (N, 4): left, top, right, bottom of the window that shows each box; `window` (N,): its number.
    """
    count = len(boxes)
    first: Ints = np.empty(16, np.int64)
    second: Ints = np.empty(16, np.int64)
    sure: Floats = np.empty(16)
    found = 0
    if count == 0:
        return first[:0], second[:0], sure[:0]
    # Boxes that meet at a line only must meet in a cell, too
    grown = boxes.copy()
    grown[:, :2] -= rules[3]
    grown[:, 2:] += rules[3]
    place, shape, starts, lists = grid(grown)
    left, top, scale = place[0], place[1], place[2]
    a, b = np.empty(4, np.bool_), np.empty(4, np.bool_)
    for i in range(count):
        cut_a = _reach(boxes, windows, inner, i, rules[0], a)
        for r in range(int((grown[i, 1] - top) * scale), int((grown[i, 3] - top) * scale) + 1):
            for c in range(int((grown[i, 0] - left) * scale), int((grown[i, 2] - left) * scale) + 1):
                cell = r * shape[0] + c
                for k in range(starts[cell], starts[cell + 1]):
                    j = lists[k]
                    if j <= i or window[j] == window[i] or labels[j] != labels[i]:
                        continue
                    x, y = max(grown[i, 0], grown[j, 0]), max(grown[i, 1], grown[j, 1])
                    if x > min(grown[i, 2], grown[j, 2]) or y > min(grown[i, 3], grown[j, 3]):
                        continue
                    if int((x - left) * scale) != c or int((y - top) * scale) != r:
                        continue  # another cell compares them
                    cut_b = _reach(boxes, windows, inner, j, rules[0], b)
                    how = _agree(boxes, windows, i, j, a, b, cut_a, cut_b, rules)
                    if how <= 0:
                        continue
                    if found == len(first):
                        first = np.concatenate((first, np.empty(found, np.int64)))
                        second = np.concatenate((second, np.empty(found, np.int64)))
                        sure = np.concatenate((sure, np.empty(found)))
                    first[found], second[found], sure[found] = i, j, how
                    found += 1
    return first[:found].copy(), second[:found].copy(), sure[:found].copy()


@_compiled
def things(
    boxes: Floats, window: Ints, is_cut: Flags, first: Ints, second: Ints, sure: Floats, same: float, apart: float
) -> Ints:
    """(N,): the thing of each box, named by its first box. `first`, `second`, `sure`: links, the surest first.

    Two boxes of one window stay two things, unless both are parts, cut off, of one box of another window, and share
    less than `apart` of the smaller."""
    count = len(boxes)
    name = np.arange(count)
    following = np.full(count, -1, np.int64)  # the next member of the same thing
    last = np.arange(count)
    a_part = np.zeros(count, np.bool_)
    for k in range(len(first)):
        one, other = name[first[k]], name[second[k]]
        if one == other:
            continue
        if one > other:
            one, other = other, one
        part = sure[k] < same
        fits = True
        x = one
        while x >= 0 and fits:
            y = other
            while y >= 0 and fits:
                if window[x] == window[y]:
                    fits = part and _fragments(boxes, is_cut, a_part, first[k], second[k], x, y, apart)
                y = following[y]
            x = following[x]
        if not fits:
            continue
        if part:
            a, b = first[k], second[k]
            small = a if _area(boxes, a) <= _area(boxes, b) else b
            a_part[small] = True
        following[last[one]] = other
        last[one] = last[other]
        x = other
        while x >= 0:
            name[x] = one
            x = following[x]
    return name


@_compiled
def _area(boxes: Floats, i: int) -> float:
    return float((boxes[i, 2] - boxes[i, 0]) * (boxes[i, 3] - boxes[i, 1]))


@_compiled
def _fragments(boxes: Floats, is_cut: Flags, a_part: Flags, a: int, b: int, x: int, y: int, apart: float) -> bool:
    """Whether `x` and `y`, of one window, are two parts of a thing: one is the part that the link `a`–`b` adds, the
    other was added as a part before."""
    new, old = (x, y) if x in (a, b) else (y, x)
    if new not in (a, b) or not (is_cut[new] and is_cut[old] and a_part[old]):
        return False
    wide = min(boxes[x, 2], boxes[y, 2]) - max(boxes[x, 0], boxes[y, 0])
    high = min(boxes[x, 3], boxes[y, 3]) - max(boxes[x, 1], boxes[y, 1])
    both = max(wide, 0.0) * max(high, 0.0)
    return bool(both <= apart * min(_area(boxes, x), _area(boxes, y)))
