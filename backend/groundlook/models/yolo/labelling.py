"""Which of a network's classes, or keypoints, stands for which label, and how that is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from groundlook.core.errors import InvalidConfig
from groundlook.models.labels import map_classes
from groundlook.models.yolo.candidates import Floats

_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Labelling:
    """`members`: per label, the places of its classes. `points`: per keypoint the place of its label or None; None
    where keypoints take the label of their object. `told`: the mapping in words."""

    labels: tuple[str, ...]
    members: tuple[tuple[int, ...], ...]
    classes: int
    told: str
    points: tuple[int | None, ...] | None = None

    @property
    def plain(self) -> bool:
        """Class i stands for label i, for all of them."""
        return self.members == tuple((i,) for i in range(self.classes))

    def by_label(self, scores: Floats) -> Floats:
        """(A, C) logits or probabilities of classes → (A, L): of the likeliest class of each label, minus infinity
        where a label has none. Where keypoints have labels of their own, the classes stay."""
        if self.plain or self.points is not None:
            return scores
        none = np.full(len(scores), -np.inf, np.float32)
        return np.stack([scores[:, list(m)].max(1) if m else none for m in self.members], 1)

    def of_points(self, proba: Floats, keypoints: Floats) -> Floats:
        """(M, C) of objects and (M, 3 K) keypoints → (M, L): how likely each label's surest keypoint is seen."""
        table = np.zeros((len(proba), len(self.labels)), np.float32)
        for k, place in enumerate(self.points or ()):
            if place is not None:
                seen = proba.max(axis=1, initial=0) * keypoints[:, 3 * k + 2]
                table[:, place] = np.maximum(table[:, place], seen)
        return table


def labelling(
    classes: Sequence[str],
    labels: Sequence[str],
    mapping: Mapping[str, str] | None,
    keypoints: Sequence[str] = (),
) -> Labelling:
    """Match names as `labels.map_classes` says.

    `keypoints`: their names, of a -pose network that has any. Where one of them is a label, or in `mapping`, each
    keypoint is labelled by its own name, and those that are no label are left out; else all keypoints of an object
    take the object's label. Raises InvalidConfig.
    """
    if keypoints and _named(keypoints, labels, mapping):
        wanted = {n: v for n, v in (mapping or {}).items() if _key(n) in set(map(_key, keypoints))}
        points = map_classes(keypoints, labels, wanted or None)
        told = _told("keypoint", keypoints, points, labels)
        return Labelling(tuple(labels), ((),) * len(labels), len(classes), told, points)
    found = map_classes(classes, labels, mapping)
    members = tuple(tuple(c for c, place in enumerate(found) if place == i) for i in range(len(labels)))
    return Labelling(tuple(labels), members, len(classes), _told("class", classes, found, labels))


def _named(keypoints: Sequence[str], labels: Sequence[str], mapping: Mapping[str, str] | None) -> bool:
    names = set(map(_key, keypoints))
    return bool(names & set(map(_key, mapping if mapping else labels)))


def _key(name: str) -> str:
    return name.strip().casefold()


def _told(noun: str, names: Sequence[str], found: Sequence[int | None], labels: Sequence[str]) -> str:
    pairs = [f"{noun} {n!r} → label {labels[p]!r}" for n, p in zip(names, found, strict=True) if p is not None]
    if not pairs:
        raise InvalidConfig(f"no {noun} of the model is a label of the project")
    parts = pairs[:_SHOWN] + ([f"{len(pairs) - _SHOWN} more"] if len(pairs) > _SHOWN else [])
    unused = sum(p is None for p in found)
    if unused:
        parts.append(f"{unused} {noun}{'' if unused == 1 else 's' if noun == 'keypoint' else 'es'} unused")
    bare = [repr(label) for i, label in enumerate(labels) if i not in set(found)]
    if bare:
        parts.append(f"no {noun} for label {', '.join(bare)}")
    return ", ".join(parts)
