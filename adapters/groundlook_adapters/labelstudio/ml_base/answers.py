"""What a LabelStudioMLBase subclass answers → regions. Nothing of it is trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from groundlook.core.errors import InvalidInput
from groundlook.core.types import LabelConfig, Region
from groundlook_adapters.labelstudio.wire import decode_regions


def regions_of(answer: Any, config: LabelConfig, size: tuple[int, int]) -> tuple[Region, ...] | None:
    """The regions of the answer for one task, in pixels of `size`, (width, height); None where it says nothing of it
    (null, {} or []). Of several predictions for it the first counts.

    A region without the size that it was drawn on was drawn on ours; one without a score, in 0…1, has the prediction's
    own. Raises InvalidInput for what is no prediction, and where nothing of it can be read: "empty" would be a lie.
    """
    if isinstance(answer, list):
        answer = answer[0] if answer else None
    if answer is None or answer == {}:
        return None
    result = answer.get("result") if isinstance(answer, Mapping) else None
    if not isinstance(result, list):
        raise InvalidInput(
            f'the model answered {str(answer)[:200]!r}, which is no prediction {{"result": […], "score"}}'
        )
    items = [_whole(item, size) for item in result if isinstance(item, Mapping)]
    found = decode_regions(items, config, size)
    if result and not found:
        names = ", ".join(c.name for c in config.controls)
        raise InvalidInput(
            f"of {len(result)} regions that the model answered none can be read; the first is {str(result[0])[:300]}; "
            f"its label config has the controls {names}: give it the one that it was written for"
        )
    usual = _share(answer.get("score"))
    scored = ((r, _share(r.score)) for r in found)
    return tuple(
        replace(r, uid="", origin="prediction", score=usual if score is None else score) for r, score in scored
    )


def _whole(item: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    drawn = {"original_width": size[0], "original_height": size[1]}
    return {**drawn, **{key: value for key, value in item.items() if value is not None}}


def _share(score: Any) -> float | None:
    """A number in 0…1; None for everything else, unknown."""
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        return None
    return float(score) if 0 <= score <= 1 else None
