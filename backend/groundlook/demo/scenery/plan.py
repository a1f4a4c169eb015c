"""Where things stand: roads, blocks of land between them, and what is built, grown and parked there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from groundlook.demo.scenery.land import ZONES, NearBy, Occupancy, blocks
from groundlook.demo.scenery.things import Building, Colour, Patch, Plan, Road, Roof, Slab, Sun, Tree, Vehicle, Zone

_SIDEWALK_M = 1.8

_ROOFS: dict[Roof, tuple[Colour, ...]] = {
    "gable": ((168, 92, 70), (139, 74, 60), (92, 88, 90), (70, 66, 68), (124, 100, 80), (186, 128, 98)),
    "hip": ((156, 84, 66), (84, 82, 88), (112, 96, 86), (150, 140, 128), (104, 70, 58)),
    "flat": ((150, 148, 144), (186, 184, 178), (98, 98, 100), (128, 122, 112), (206, 202, 196)),
    "metal": ((176, 184, 190), (92, 120, 134), (146, 152, 150), (116, 60, 52), (84, 108, 92)),
}
_CARS: tuple[Colour, ...] = (
    (225, 226, 228),
    (32, 33, 36),
    (120, 124, 128),
    (172, 176, 180),
    (138, 30, 28),
    (36, 62, 112),
    (82, 90, 84),
    (176, 158, 122),
)
_LEAVES: tuple[Colour, ...] = ((70, 96, 48), (86, 108, 56), (58, 84, 50), (104, 112, 62), (92, 94, 54), (120, 110, 64))
_NEEDLES: tuple[Colour, ...] = ((44, 68, 46), (52, 72, 54), (40, 60, 50))


class Planner:
    """Fills a Plan step by step; all randomness is `rng`'s."""

    def __init__(self, size: int, gsd: float, rng: np.random.Generator) -> None:
        turn = rng.uniform(0, 2 * np.pi)
        sun = Sun((float(np.cos(turn)), float(np.sin(turn))), float(rng.uniform(0.8, 1.3)) / gsd)
        self.rng, self.m = rng, 1.0 / gsd
        roads = [*self._roads(size, True), *self._roads(size, False)]
        zones, fields = blocks(size, roads, rng)
        self.plan = Plan(size, gsd, sun, roads, zones, fields)
        self.free, self.wheels = Occupancy(size), Occupancy(size)
        for road in roads:
            for t in range(-40, size + 40, 20):
                x, y, angle = road.spot(float(t), 0.0)
                self.free.take(Slab(x, y, 26, 2 * road.half + 2 * _SIDEWALK_M * self.m, angle).corners())

    def fill(self) -> Plan:
        """Build, park and plant."""
        self._homes_along_roads()
        self._scattered("homes", 900)
        self._look_alikes("parking", ("works",), 420)
        self._scattered("works", 900)
        self._scattered("field", 40)
        self._look_alikes("ploughed", ("homes", "meadow", "field"), 260)
        self._look_alikes("court", ("meadow", "homes"), 50)
        self._look_alikes("pool", ("homes",), 120)
        self._look_alikes("tarpaulin", ("homes", "works", "field", "meadow"), 240)
        self._traffic()
        self._trees()
        return self.plan

    def zone(self, x: float, y: float) -> Zone:
        """The kind of land at a pixel (the nearest one inside)."""
        last = self.plan.size - 1
        return ZONES[int(self.plan.zones[int(np.clip(y, 0, last)), int(np.clip(x, 0, last))])]

    def _roads(self, size: int, upright: bool) -> Iterator[Road]:
        rng, at = self.rng, float(self.rng.uniform(30, 90)) * self.m
        while at < size - 15 * self.m:
            wave, half = float(rng.uniform(350, 900)) * self.m, float(rng.choice([2.6, 3.0, 3.6, 4.6])) * self.m
            yield Road(upright, at, float(rng.uniform(2, 12)) * self.m, wave, float(rng.uniform(0, 6.28)), half)
            at += float(rng.uniform(75, 170)) * self.m

    def _homes_along_roads(self) -> None:
        for road in self.plan.roads:
            for sign in (-1.0, 1.0):
                t = float(self.rng.uniform(0, 20)) * self.m
                while t < self.plan.size:
                    width, depth = self._home_size()
                    setback = road.half + (_SIDEWALK_M + float(self.rng.choice([2.0, 4.0, 7.0, 10.0]))) * self.m
                    x, y, angle = road.spot(t, sign * (setback + depth / 2))
                    slab = Slab(x, y, width, depth, angle + float(self.rng.normal(0, 1.5)))
                    if self.zone(x, y) == "homes" and self.rng.random() < 0.85 and self._build(slab, 2.0):
                        self._drive(road, t + width * 0.36, sign, setback + depth * 0.3)
                    t += width + float(self.rng.choice([3.0, 6.0, 10.0, 18.0])) * self.m

    def _home_size(self) -> tuple[float, float]:
        return float(self.rng.uniform(8, 17)) * self.m, float(self.rng.uniform(7, 12)) * self.m

    def _drive(self, road: Road, t: float, sign: float, reach: float) -> None:
        if self.rng.random() < 0.4:
            return
        start = road.half + _SIDEWALK_M * self.m
        x, y, angle = road.spot(t, sign * (start + reach) / 2)
        slab = Slab(x, y, reach - start + 4, 3.0 * self.m, angle + 90)
        self.plan.patches.append(Patch(slab, "drive", (148, 144, 138) if self.rng.random() < 0.6 else (150, 132, 108)))
        if self.rng.random() < 0.5:
            x, y, _ = road.spot(t, sign * (start + 3.0 * self.m))
            car = Slab(x, y, *self._car_size(), angle + 90 + float(self.rng.normal(0, 2)))
            if self.free.claim(car.corners(-1), car.corners()):
                self._park(car)

    def _scattered(self, zone: Zone, tries: int) -> None:
        scale = (self.plan.size * self.plan.gsd / 768) ** 2
        for _ in range(int(tries * scale) + 1):
            x, y = self.rng.uniform(0, self.plan.size, 2)
            if self.zone(x, y) != zone:
                continue
            width, depth = self._home_size()
            if zone == "works" and self.rng.random() < 0.7:
                width, depth = float(self.rng.uniform(18, 46)) * self.m, float(self.rng.uniform(12, 26)) * self.m
            slab = Slab(float(x), float(y), width, depth, self._street_angle(float(x), float(y)))
            self._build(slab, 3.5)

    def _street_angle(self, x: float, y: float) -> float:
        """The angle of the nearest road, more or less: people build to the street."""
        best = min(self.plan.roads, key=lambda r: abs(float(r.at(y)) - x) if r.upright else abs(float(r.at(x)) - y))
        return best.spot(y if best.upright else x, 0.0)[2] + float(self.rng.normal(0, 4))

    def _build(self, slab: Slab, gap_m: float) -> bool:
        if not self.free.claim(slab.corners(gap_m * self.m), slab.corners(1.0 * self.m)):
            return False
        big = slab.width * slab.height > (18 * self.m) ** 2
        roof: Roof = self.rng.choice(["flat", "metal"] if big else ["gable", "gable", "hip", "hip", "flat", "metal"])
        colours = _ROOFS[roof]
        base = np.array(colours[self.rng.integers(len(colours))]) * self.rng.uniform(0.82, 1.15)
        colour = _colour(base + self.rng.normal(0, 5, 3))
        parts = (slab,) if self.rng.random() < 0.65 else self._wings(slab)
        metres = float(self.rng.uniform(5, 9) if big else self.rng.uniform(3, 7))
        self.plan.buildings.append(Building(slab, parts, roof, colour, metres))
        return True

    def _wings(self, slab: Slab) -> tuple[Slab, ...]:
        bar = slab.height * float(self.rng.uniform(0.5, 0.65))
        wing = slab.width * float(self.rng.uniform(0.3, 0.5))
        side = float(self.rng.choice([-1.0, 1.0]))
        end = float(self.rng.choice([-1.0, 1.0]))
        main = slab.moved(0, side * (slab.height - bar) / 2, slab.width, bar)
        return main, slab.moved(end * (slab.width - wing) / 2, 0, wing, slab.height)

    def _look_alikes(self, kind: str, zones: tuple[Zone, ...], tries: int) -> None:
        """Flat things as big and as rectangular as roofs, but without height."""
        scale = (self.plan.size * self.plan.gsd / 768) ** 2
        for _ in range(int(tries * scale)):
            x, y = (float(c) for c in self.rng.uniform(0, self.plan.size, 2))
            if self.zone(x, y) in zones:
                self._look_alike(kind, x, y)

    def _look_alike(self, kind: str, x: float, y: float) -> None:
        rng, m = self.rng, self.m
        angle = self._street_angle(x, y)
        width, height = float(rng.uniform(8, 18)) * m, float(rng.uniform(6, 12)) * m
        if kind == "parking":
            slab = Slab(x, y, float(rng.integers(8, 18)) * 2.6 * m, 15.5 * m, angle)
            if self.free.claim(slab.corners(m), slab.corners(m)):
                grey = float(rng.uniform(78, 128))
                self.plan.patches.append(Patch(slab, "parking", (grey, grey, grey + 3)))
                self._fill_parking(slab)
        elif kind == "ploughed":
            self._lay(Patch(Slab(x, y, width, height, angle), "ploughed", _colour(rng.normal((124, 98, 74), 12))))
        elif kind == "court":
            colours: tuple[Colour, ...] = ((150, 84, 66), (84, 112, 92), (96, 112, 134))
            court = Slab(x, y, 24 * m, 11 * m, angle)
            self._lay(Patch(court, "court", colours[rng.integers(len(colours))]))
        elif kind == "pool":
            self._lay(Patch(Slab(x, y, 8 * m, 4 * m, angle), "pool", (84, 164, 184)))
        else:
            slab = Slab(x, y, width * 0.7, height * 0.7, float(rng.uniform(0, 180)))
            self._lay(Patch(slab, "tarpaulin", _colour(rng.uniform(80, 215, 3) * 0.5 + rng.uniform(70, 215) * 0.5)))

    def _lay(self, patch: Patch) -> None:
        if self.free.claim(patch.slab.corners(self.m), patch.slab.corners(self.m)):
            self.plan.patches.append(patch)

    def _fill_parking(self, lot: Slab) -> None:
        fullness = self.rng.uniform(0.1, 0.8)
        bays = int(lot.width / (2.6 * self.m))
        for row in (-1.0, 1.0):
            for bay in range(bays):
                if self.rng.random() < fullness:
                    along = (bay + 0.5 - bays / 2) * 2.6 * self.m + float(self.rng.normal(0, 0.6))
                    spot = lot.moved(along, row * 5.0 * self.m, 1, 1)
                    turn = lot.angle + 90 + float(self.rng.normal(0, 2))
                    self._park(Slab(spot.x, spot.y, *self._car_size(), turn))

    def _car_size(self) -> tuple[float, float]:
        return float(self.rng.uniform(4.0, 5.1)) * self.m, float(self.rng.uniform(1.75, 2.05)) * self.m

    def _park(self, slab: Slab, lorry: bool = False) -> None:
        if not self.wheels.claim(slab.corners(), slab.corners()):
            return
        colour = _CARS[self.rng.integers(len(_CARS))] if not lorry else (222, 222, 216)
        self.plan.vehicles.append(Vehicle(slab, _colour(np.array(colour) + self.rng.normal(0, 6, 3)), lorry))

    def _traffic(self) -> None:
        for road in self.plan.roads:
            t = float(self.rng.uniform(0, 60)) * self.m
            while t < self.plan.size:
                lorry, kerb = self.rng.random() < 0.1, self.rng.random() < 0.35
                side = (road.half - 1.1 * self.m if kerb else road.half * 0.5) * float(self.rng.choice([-1.0, 1.0]))
                x, y, angle = road.spot(t, side)
                length, width = self._car_size()
                if lorry:
                    length, width = float(self.rng.uniform(6.5, 10)) * self.m, 2.45 * self.m
                self._park(Slab(x, y, length, width, angle), bool(lorry))
                t += length + float(self.rng.exponential(26) + 2) * self.m

    def _trees(self) -> None:
        tries = {"homes": 0.5, "works": 0.12, "field": 0.04, "meadow": 0.25, "wood": 1.0}
        spots: list[tuple[float, float, float]] = []
        near = NearBy(self.plan.size)
        for x, y in self.rng.uniform(0, self.plan.size, (int(7000 * (self.plan.size * self.plan.gsd / 768) ** 2), 2)):
            if self.rng.random() > tries[self.zone(x, y)]:
                continue
            radius = float(np.clip(self.rng.lognormal(0.95, 0.33), 1.6, 5.5)) * self.m
            # Crowns may reach over roofs and roads; trunks stand on free ground.
            trunk = Slab(float(x), float(y), radius, radius, 0).corners()
            if near.too_close(float(x), float(y), radius) or not self.free.is_free(trunk):
                continue
            near.add(float(x), float(y), radius)
            spots.append((float(x), float(y), radius))
        for x, y, radius in spots:
            conifer = self.rng.random() < (0.5 if self.zone(x, y) == "wood" else 0.15)
            colours = _NEEDLES if conifer else _LEAVES
            base = np.array(colours[self.rng.integers(len(colours))]) * self.rng.uniform(0.85, 1.2)
            self.plan.trees.append(Tree(x, y, radius, bool(conifer), _colour(base + self.rng.normal(0, 4, 3))))


def _colour(values: NDArray[np.floating]) -> Colour:
    r, g, b = np.clip(values, 8, 246)
    return float(r), float(g), float(b)
