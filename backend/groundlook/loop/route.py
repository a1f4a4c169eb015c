"""Route: what models found, in the shapes that the project's controls take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from groundlook.core.geo import Tile
from groundlook.core.plan import Plan
from groundlook.core.ports import Shapes
from groundlook.core.types import Control, Prediction, Project, Region


def plan_of(project: Project) -> Plan:
    """The project's plan; one without models and routes where nobody made any."""
    return Plan.of(project.settings.get("plan") or {})


def shaped(shapes: Shapes, project: Project, controls: Sequence[Control], tile: Tile, found: Prediction) -> Prediction:
    """`found` with every region in the shape that its control takes. A region that names its control goes there; the
    others go where their shape and label fit, but to no control that the plan gives an answer of its own. One that no
    control takes stays as it is: it is logged and left out where predictions are written."""
    plan = plan_of(project)
    free = [c for c in controls if c.name not in plan.routes]
    named = {c.name: c for c in controls}
    regions: list[Region] = []
    for region in found.regions:
        control = named.get(region.control) if region.control else shapes.target(free, region)
        if control is None:
            regions.append(region)
        else:
            regions += shapes.fit(region, control, plan.route(control.name), tile.ref, tile.size)
    return replace(found, regions=tuple(regions), size=tile.size)
