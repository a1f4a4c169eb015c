"""Which class of a network stands for which label of a project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from groundlook.core.errors import InvalidConfig


def map_classes(
    classes: Sequence[str], labels: Sequence[str], mapping: Mapping[str, str] | None = None
) -> tuple[int | None, ...]:
    """For every network class, in order, the index of its project label, or None where it has none.

    With `mapping` ({"model class": "Project label"}) it alone decides; else names decide, whatever their case; else,
    where no name is shared and both sides have equally many, their order does. Several classes may share a label.
    Raises InvalidConfig, with both sides, when nothing maps or `mapping` names what does not exist.
    """
    places = _places(labels)
    if mapping:
        found = _by_mapping(classes, places, mapping, labels)
    else:
        found = tuple(places.get(_key(name)) for name in classes)
        if not any(place is not None for place in found) and len(classes) == len(labels):
            found = tuple(range(len(labels)))
    if not any(place is not None for place in found):
        raise InvalidConfig(_both("no class of the model is a label of the project", classes, labels))
    return found


def _by_mapping(
    classes: Sequence[str], places: Mapping[str, int], mapping: Mapping[str, str], labels: Sequence[str]
) -> tuple[int | None, ...]:
    known = {_key(name) for name in classes}
    for name, label in mapping.items():
        if _key(name) not in known or _key(label) not in places:
            raise InvalidConfig(_both(f"the label map's {name!r} → {label!r} names what isn't there", classes, labels))
    wanted = {_key(name): places[_key(label)] for name, label in mapping.items()}
    return tuple(wanted.get(_key(name)) for name in classes)


def _places(labels: Sequence[str]) -> dict[str, int]:
    # The first of two labels that differ in case only: an exact label config is the project's own affair.
    places: dict[str, int] = {}
    for index, label in enumerate(labels):
        places.setdefault(_key(label), index)
    return places


def _key(name: str) -> str:
    return name.strip().casefold()


def _both(problem: str, classes: Sequence[str], labels: Sequence[str]) -> str:
    remedy = 'give a label map {"model class": "Project label"}'
    return f"{problem}; {remedy}. Model: {_some(classes)}. Project: {_some(labels)}."


def _some(names: Sequence[str], most: int = 100) -> str:
    shown = ", ".join(repr(n) for n in names[:most]) or "none"
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
