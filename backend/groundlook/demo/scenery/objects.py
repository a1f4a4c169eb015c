"""Things with height: roofs lit by the sun, crowns, vehicles, and the shadows they cast."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from groundlook.demo.scenery.brush import clip_area, local, noise, stamp
from groundlook.demo.scenery.things import Array, Building, Plan, Slab, Sun, Tree, Vehicle

_TREE_METRES_PER_RADIUS_M = 1.4


def paint_objects(image: Array, plan: Plan, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Paint everything with height onto `image` in place; where crowns are (H, W)."""
    for vehicle in plan.vehicles:
        _vehicle(image, plan, vehicle)
    _shade(image, _building_shadows(plan), 0.5)
    for building in plan.buildings:
        for part in building.parts:
            _roof(image, plan, building, part, rng)
    _shade(image, _tree_shadows(plan), 0.55)
    crowns = np.zeros((plan.size, plan.size), bool)
    for tree in sorted(plan.trees, key=lambda t: t.radius):
        _crown(image, crowns, plan, tree, rng)
    return crowns


def _shade(image: Array, shadow: Array, depth: float) -> None:
    """Darken, and tint towards the blue of the sky that lights what the sun does not."""
    soft = cv2.GaussianBlur(shadow, (0, 0), 0.8)[..., None]
    image *= 1 - soft * np.array((depth + 0.06, depth + 0.02, depth - 0.06), np.float32)


def _building_shadows(plan: Plan) -> Array:
    mask = np.zeros((plan.size, plan.size), np.float32)
    for building in plan.buildings:
        reach = np.array(plan.sun.shadow) * plan.sun.per_metre * building.metres
        for part in building.parts:
            corners = part.corners()
            hull = cv2.convexHull(np.concatenate([corners, corners + reach]).astype(np.float32))
            cv2.fillConvexPoly(mask, np.round(hull * 8).astype(np.int32), 1.0, shift=3)
    return mask


def _tree_shadows(plan: Plan) -> Array:
    mask = np.zeros((plan.size, plan.size), np.float32)
    for tree in plan.trees:
        metres = tree.radius * plan.gsd * _TREE_METRES_PER_RADIUS_M
        dx, dy = np.array(plan.sun.shadow) * plan.sun.per_metre * metres
        centre = (round((tree.x + dx * 0.6) * 8), round((tree.y + dy * 0.6) * 8))
        angle = float(np.degrees(np.arctan2(dy, dx)))
        axes = (round((tree.radius + np.hypot(dx, dy) * 0.4) * 8), round(tree.radius * 0.95 * 8))
        cv2.ellipse(mask, centre, axes, angle, 0, 360, 1.0, -1, shift=3)
    return mask


def _roof(image: Array, plan: Plan, building: Building, part: Slab, rng: np.random.Generator) -> None:
    frame = local(plan.size, part)
    if frame is None:
        return
    area, u, v, alpha = frame
    light = _facets(building, part, u, v, plan.sun)
    rough = noise(rng, max(u.shape), 12)[: u.shape[0], : u.shape[1]] * 5 + rng.normal(0, 4, u.shape)
    colour = np.array(building.colour, np.float32) * light[..., None] + rough[..., None].astype(np.float32)
    edge = np.minimum(part.width / 2 - np.abs(u), part.height / 2 - np.abs(v))
    if building.roof == "flat":
        colour[edge < 2.2] *= 1.14
        colour[(edge >= 2.2) & (edge < 3.4)] *= 0.84
    else:
        colour[edge < 1.2] *= 0.86
    stamp(image, area, colour, alpha)
    if building.roof in ("flat", "metal"):
        _rooftop(image, plan, part, rng)


def _facets(building: Building, part: Slab, u: Array, v: Array, sun: Sun) -> Array:
    """Brightness by the slope of the roof: facets that face the sun are lit, the ridge runs along the long side."""
    t = np.radians(part.angle)
    towards = -np.array(sun.shadow)
    to_u, to_v = float(towards @ (np.cos(t), np.sin(t))), float(towards @ (-np.sin(t), np.cos(t)))
    if part.width < part.height:  # the ridge runs along v
        u, v, to_u, to_v = v, u, to_v, to_u
    half_u, half_v = max(part.width, part.height) / 2, min(part.width, part.height) / 2
    if building.roof == "flat":
        return np.ones_like(u)
    if building.roof == "metal":
        pitch = 1 + 0.1 * to_v * np.sign(v)
        return np.asarray(pitch + 0.07 * np.sign(np.sin(u * 2 * np.pi / 3.7)), np.float32)
    light = 1 + 0.3 * to_v * np.sign(v) + 0.035 * np.sin(np.abs(v) * 2 * np.pi / 2.9)
    if building.roof == "hip":
        ends = half_u - np.abs(u) < half_v - np.abs(v)
        light = np.where(ends, 1 + 0.3 * to_u * np.sign(u), light)
    ridge = (np.abs(v) < 0.8) & (half_u - np.abs(u) > (half_v if building.roof == "hip" else 0))
    return np.asarray(np.where(ridge, light + 0.1, light), np.float32)


def _rooftop(image: Array, plan: Plan, part: Slab, rng: np.random.Generator) -> None:
    """Skylights and machines on big flat roofs."""
    for _ in range(int(part.width * part.height * plan.gsd**2 / 90)):
        along, across = rng.uniform(-0.38, 0.38, 2) * (part.width, part.height)
        box = part.moved(float(along), float(across), *(rng.uniform(1.0, 2.6, 2) / plan.gsd))
        frame = local(plan.size, box)
        if frame is None:
            continue
        shadow = local(plan.size, box.moved(0, 0, box.width + 2, box.height + 2))
        if shadow is not None:
            image[shadow[0]] *= 1 - 0.25 * shadow[3][..., None]
        stamp(image, frame[0], np.full((*frame[1].shape, 3), rng.uniform(90, 225), np.float32), frame[3])


def _crown(image: Array, crowns: NDArray[np.bool_], plan: Plan, tree: Tree, rng: np.random.Generator) -> None:
    reach = tree.radius + 2
    area = clip_area(plan.size, tree.x - reach, tree.y - reach, tree.x + reach, tree.y + reach)
    if area is None:
        return
    ys, xs = np.mgrid[area].astype(np.float32)
    dx, dy = xs + 0.5 - tree.x, ys + 0.5 - tree.y
    far, turn = np.hypot(dx, dy), np.arctan2(dy, dx)
    rim = np.full_like(far, 0.93)
    for k in (2, 3, 5, 8):
        rim += np.float32(rng.uniform(0, 0.035)) * np.cos(k * turn + rng.uniform(0, 6.28), dtype=np.float32)
    rim = np.minimum(rim, 1.0) * tree.radius
    lumps = noise(rng, max(far.shape), 2.2 if tree.conifer else 3.2)[: far.shape[0], : far.shape[1]]
    if tree.conifer:
        lumps = lumps * 0.6 + np.cos(turn * rng.integers(6, 10)) * 0.7
    sunny = -(dx * plan.sun.shadow[0] + dy * plan.sun.shadow[1]) / tree.radius
    dome = 1 - 0.35 * (far / tree.radius) ** 2
    light = dome + 0.28 * sunny + 0.13 * lumps
    colour = np.array(tree.colour, np.float32) * np.clip(light, 0.35, 1.6)[..., None]
    alpha = np.clip(rim - far + 0.5, 0, 1) * np.clip(1.02 + 0.1 * lumps, 0.75, 1)
    stamp(image, area, colour.astype(np.float32), alpha.astype(np.float32))
    crowns[area] |= alpha > 0.5


def _vehicle(image: Array, plan: Plan, vehicle: Vehicle) -> None:
    slab, tall = vehicle.slab, 2.8 if vehicle.lorry else 1.4
    dx, dy = np.array(plan.sun.shadow) * plan.sun.per_metre * tall * 0.6
    shadow = local(plan.size, Slab(slab.x + float(dx), slab.y + float(dy), slab.width, slab.height, slab.angle))
    if shadow is not None:
        image[shadow[0]] *= 1 - 0.45 * shadow[3][..., None]
    frame = local(plan.size, slab)
    if frame is None:
        return
    area, u, v, alpha = frame
    rounded = np.clip(slab.width / 2 - np.abs(u) - 0.12 * (np.abs(v) / slab.height * 2) ** 4 * slab.height, 0, 1)
    colour = np.broadcast_to(np.array(vehicle.colour, np.float32), (*u.shape, 3)).copy()
    along = u / slab.width
    if vehicle.lorry:
        colour[along > 0.28] = np.array((96, 104, 120), np.float32)
        colour[np.abs(along - 0.28) < 0.02] = 40
    else:
        inside = np.abs(v) < slab.height * 0.4
        colour[inside & (along > 0.12) & (along < 0.26)] = np.array((38, 44, 52), np.float32)
        colour[inside & (along < -0.24) & (along > -0.36)] = np.array((46, 52, 58), np.float32)
        colour[(np.abs(v) > slab.height * 0.36) & (np.abs(along) < 0.22)] *= 0.6
    stamp(image, area, colour, (alpha * rounded).astype(np.float32))
