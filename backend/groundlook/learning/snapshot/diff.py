"""Diff: what happened between two snapshots of one project."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from groundlook.core.types import Example, Region, Snapshot


@dataclass(slots=True)
class ClassDiff:
    """Regions of one class that came, went, or have another shape. A relabelled one is told apart, and in none."""

    added: int = 0
    removed: int = 0
    changed: int = 0


@dataclass(frozen=True, slots=True)
class Diff:
    """From one snapshot to another. `added`, `removed`, `changed`: task ids; `moved`: (task, split before, split
    after). `classes`: by label, where something happened. `relabelled`: (before, after, how many regions)."""

    added: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()
    changed: tuple[int, ...] = ()
    moved: tuple[tuple[int, str, str], ...] = ()
    classes: dict[str, ClassDiff] = field(default_factory=dict)
    relabelled: tuple[tuple[str, str, int], ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing happened to what is learned from."""
        return self == Diff()


def diff(before: Snapshot, after: Snapshot) -> Diff:
    """The other way round, added is removed. Regions are the same thing where they have the same id, or else where they
    are equal. Ids of annotations are no part of it: the same thing said again is no change."""
    old, new = ({e.task.id: e for e in snapshot.examples} for snapshot in (before, after))
    both = sorted(old.keys() & new.keys())
    tally = _Tally()
    touched = {task for task in both if old[task].regions != new[task].regions}
    for task in sorted(touched | (old.keys() ^ new.keys())):
        one, other = old.get(task), new.get(task)
        tally.add(one.regions if one else (), other.regions if other else ())
    return Diff(
        added=tuple(sorted(new.keys() - old.keys())),
        removed=tuple(sorted(old.keys() - new.keys())),
        changed=tuple(task for task in sorted(touched) if _said(old[task]) != _said(new[task])),
        moved=tuple(
            (task, old[task].task.split, new[task].task.split)
            for task in both
            if old[task].task.split != new[task].task.split
        ),
        classes=dict(sorted(tally.classes.items())),
        relabelled=tuple((*names, count) for names, count in sorted(tally.relabelled.items())),
    )


@dataclass(slots=True)
class _Tally:
    classes: dict[str, ClassDiff] = field(default_factory=dict)
    relabelled: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, before: Sequence[Region], after: Sequence[Region]) -> None:
        """One task."""
        equal = Counter(_key(r) for r in before) & Counter(_key(r) for r in after)
        gone, come = _without(before, equal), _without(after, equal)
        same = _by_uid(gone).keys() & _by_uid(come).keys()
        for uid in same:
            self._changed(_by_uid(gone)[uid], _by_uid(come)[uid])
        for region in gone:
            if region.uid not in same:
                self._of(region.label).removed += 1
        for region in come:
            if region.uid not in same:
                self._of(region.label).added += 1

    def _changed(self, before: Region, after: Region) -> None:
        if before.label != after.label:
            self.relabelled[before.label, after.label] += 1
        else:
            self._of(before.label).changed += 1

    def _of(self, label: str) -> ClassDiff:
        return self.classes.setdefault(label, ClassDiff())


def _said(example: Example) -> Counter[tuple[object, ...]]:
    return Counter(_key(region) for region in example.regions)


def _key(region: Region) -> tuple[object, ...]:
    return region.label, region.shape


def _by_uid(regions: Sequence[Region]) -> dict[str, Region]:
    """Those whose id is theirs alone."""
    times = Counter(region.uid for region in regions)
    return {region.uid: region for region in regions if region.uid and times[region.uid] == 1}


def _without(regions: Sequence[Region], equal: Counter[tuple[object, ...]]) -> list[Region]:
    """The regions less those of `equal`, as often as they are there; those are taken from the front."""
    left = Counter(equal)
    found = []
    for region in regions:
        key = _key(region)
        if left[key]:
            left[key] -= 1
        else:
            found.append(region)
    return found
