"""Interact: what an annotator points at, answered while the hand is still on the mouse."""

from __future__ import annotations

from collections.abc import Sequence

from groundlook.core.errors import InvalidWeights
from groundlook.core.geo import TileRef
from groundlook.core.ports import Segmenter
from groundlook.core.prompts import Cut, Picture, Prompts
from groundlook.core.types import Control, Prediction, Project, Region
from groundlook.loop.parts import Loop
from groundlook.loop.route import plan_of

NO_SEGMENTER = (
    "smart tools have no model: set GROUNDLOOK_SAM to a file of SAM weights (sam_vit_b_01ec64.pth, for one), or to an "
    "https URL together with GROUNDLOOK_SAM_SHA256, and start the service again"
)


def segmenter_of(loop: Loop, project: Project) -> Segmenter:
    """The model behind the project's smart tools. Raises InvalidWeights that says what to do where there is none."""
    found = loop.segmenters.interactive(project)
    if found is None:
        raise InvalidWeights(NO_SEGMENTER)
    return found


def interact(
    loop: Loop, project: Project, picture: Picture, place: TileRef | None, prompts: Sequence[Prompts], control: Control
) -> Prediction:
    """The object behind each of `prompts` in the shape that `control` takes, with the label that was chosen."""
    segmenter = segmenter_of(loop, project)
    route = plan_of(project).route(control.name)
    regions: list[Region] = []
    for asked, cut in zip(prompts, segmenter.segment(picture, prompts), strict=True):
        region = Region(cut.mask, asked.label, cut.score, origin="prediction", note=reason(cut))
        regions += loop.shapes.fit(region, control, route, place, picture.size)
    return Prediction(segmenter.version, tuple(regions), size=picture.size)


def reason(cut: Cut) -> str:
    """How sure a mask is, and why, in a line: "mask .91 (predicted_iou .93, stability .97)"."""
    terms = ", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in cut.terms.items())
    return f"mask {cut.score:.2f}" + (f" ({terms})" if terms else "")
