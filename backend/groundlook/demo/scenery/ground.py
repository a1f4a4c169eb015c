"""The ground: fields with rows, meadows, yards, woods' floors, roads with sidewalks, flat look-alikes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from groundlook.demo.scenery.brush import local, noise, stamp
from groundlook.demo.scenery.land import ZONES
from groundlook.demo.scenery.things import Array, Patch, Plan, Road

_GRASS = np.array([(104, 114, 72), (122, 122, 84), (92, 106, 64)], np.float32)


def paint_ground(plan: Plan, rng: np.random.Generator) -> Array:
    """Float32 (H, W, 3), 0…255: everything that has no height."""
    image = _base(plan, rng)
    fields = np.isin(plan.zones, [ZONES.index("field")])
    for block in np.unique(plan.fields[fields]):
        _crop(image, (plan.fields == block) & fields, rng)
    for road in plan.roads:
        _verge(image, plan, road)
    for road in plan.roads:
        _asphalt(image, plan, road, rng)
    for patch in plan.patches:
        _patch(image, plan, patch, rng)
    return image


def _base(plan: Plan, rng: np.random.Generator) -> Array:
    size = plan.size
    broad, middle, fine = (noise(rng, size, cell) for cell in (260, 40, 5))
    mix = np.clip(0.5 + 0.35 * broad + 0.3 * middle, 0, 1)[..., None]
    image = _GRASS[0] * (1 - mix) + _GRASS[1] * mix
    lush = np.clip(noise(rng, size, 120) * 1.5, 0, 1)[..., None]
    image = image * (1 - lush) + _GRASS[2] * lush
    dirt = np.clip(noise(rng, size, 55) + noise(rng, size, 14) * 0.5 - 0.55, 0, 0.5)[..., None] * 1.6
    image = image * (1 - dirt) + np.array((150, 132, 104), np.float32) * dirt
    works = cv2.GaussianBlur((plan.zones == ZONES.index("works")).astype(np.float32), (0, 0), 2)[..., None]
    yard = np.array((146, 142, 134), np.float32) + (5 * middle + 5 * broad)[..., None]
    image = image * (1 - 0.8 * works) + yard * 0.8 * works
    wood = (plan.zones == ZONES.index("wood")).astype(np.float32)[..., None]
    image = image * (1 - 0.35 * wood)
    rough = 6 + 5 * (plan.zones == ZONES.index("meadow"))
    return np.asarray(image + (fine * rough)[..., None] + (middle * 4)[..., None], np.float32)


def _crop(image: Array, mask: NDArray[np.bool_], rng: np.random.Generator) -> None:
    """One field: rows at one angle, patchy growth, tramlines where the tractor drives."""
    ys, xs = np.nonzero(mask)
    angle = rng.uniform(0, np.pi)
    along = xs * np.float32(np.sin(angle)) + ys * np.float32(np.cos(angle))
    colours = np.array([(148, 126, 84), (118, 94, 70), (110, 124, 66), (88, 110, 58), (176, 158, 104)], np.float32)
    colour = colours[rng.integers(len(colours))] * rng.uniform(0.9, 1.1)
    rows = np.sin(along * np.float32(2 * np.pi / rng.uniform(4.5, 9.0))) * rng.uniform(4, 13)
    tram = (np.mod(along, rng.uniform(60, 90)) < 3) * 14.0
    growth = noise(rng, image.shape[0], 90)[ys, xs] * 12 + noise(rng, image.shape[0], 4)[ys, xs] * 4
    image[ys, xs] = colour + (rows + tram + growth)[:, None].astype(np.float32)


def _across(plan: Plan, road: Road) -> tuple[NDArray[np.intp], NDArray[np.intp], Array, Array]:
    """(rows, columns, signed distance from the middle, place along) of the pixels near a road."""
    t = np.arange(plan.size, dtype=np.float32)
    middle, slope = road.at(t), road.slope(t)
    reach = int(road.half + 4 / plan.gsd)
    offsets = np.arange(-reach, reach + 1)
    other = np.round(middle).astype(int)[:, None] + offsets[None, :]
    distance = (other - middle[:, None]) / np.sqrt(1 + slope**2)[:, None]
    place = np.broadcast_to(t[:, None], other.shape)
    inside = (other >= 0) & (other < plan.size)
    first, second = place[inside].astype(np.intp), other[inside].astype(np.intp)
    rows, columns = (first, second) if road.upright else (second, first)
    return rows, columns, distance[inside].astype(np.float32), place[inside].astype(np.float32)


def _verge(image: Array, plan: Plan, road: Road) -> None:
    rows, columns, distance, place = _across(plan, road)
    beyond = np.abs(distance) - road.half
    built = np.isin(plan.zones[rows, columns], [ZONES.index("homes"), ZONES.index("works")])
    walk = built & (beyond < 1.8 / plan.gsd)
    slabs = 4.0 * (np.mod(place, 7) < 1)
    image[rows[walk], columns[walk]] = np.array((166, 162, 154), np.float32) - slabs[walk][:, None]
    dirt = ~built & (beyond < 1.0 / plan.gsd)
    image[rows[dirt], columns[dirt]] = image[rows[dirt], columns[dirt]] * 0.4 + np.array((150, 134, 108)) * 0.6


def _asphalt(image: Array, plan: Plan, road: Road, rng: np.random.Generator) -> None:
    rows, columns, distance, place = _across(plan, road)
    on = np.abs(distance) < road.half
    rows, columns, distance, place = rows[on], columns[on], distance[on], place[on]
    grey = float(rng.uniform(88, 122))
    worn = noise(rng, plan.size, 60)[rows, columns] * 7 + noise(rng, plan.size, 3)[rows, columns] * 4
    tracks = 5 * np.cos(distance / road.half * 2 * np.pi)
    image[rows, columns] = (grey + worn + tracks)[:, None] + np.array((0, 0, 3), np.float32)
    wide = road.half * plan.gsd > 2.8
    edge = np.abs(np.abs(distance) - road.half + 2.0) < 0.6
    middle = (np.abs(distance) < 0.7) & (np.mod(place, 40) < 20)
    lines = (edge | middle) if wide else middle & False
    image[rows[lines], columns[lines]] = image[rows[lines], columns[lines]] * 0.35 + 215 * 0.65


def _patch(image: Array, plan: Plan, patch: Patch, rng: np.random.Generator) -> None:
    frame = local(plan.size, patch.slab)
    if frame is None:
        return
    area, u, v, alpha = frame
    width, height = patch.slab.width, patch.slab.height
    colour = np.broadcast_to(np.array(patch.colour, np.float32), (*u.shape, 3)).copy()
    colour += rng.normal(0, 4, u.shape)[..., None].astype(np.float32)
    if patch.kind == "parking":
        bay = np.mod(u + width / 2, 2.6 / plan.gsd) < 1
        colour[bay & (np.abs(v) > height / 2 - 5 / plan.gsd)] = 200
    elif patch.kind == "ploughed":
        colour += (8 * np.sin(v * 2 * np.pi / rng.uniform(3, 6)))[..., None]
        alpha = alpha * 0.9
    elif patch.kind == "court":
        ring = np.minimum(width / 2 - np.abs(u), height / 2 - np.abs(v))
        colour[(np.abs(ring - 6) < 0.7) | (np.abs(u) < 0.7)] = 220
    elif patch.kind == "pool":
        colour[np.minimum(width / 2 - np.abs(u), height / 2 - np.abs(v)) < 2] = 205
    elif patch.kind == "tarpaulin":
        colour += (noise(rng, max(u.shape), 8)[: u.shape[0], : u.shape[1]] * 12)[..., None]
    stamp(image, area, colour, alpha)
