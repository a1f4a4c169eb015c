"""What a version is called, where it comes from and what may be done with it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from groundlook.core.errors import InvalidInput, NotFound
from groundlook.core.types import ModelCard, ModelVersion

_LICENCES: Mapping[str, str] = {"yolo": "AGPL-3.0"}
"""Of kinds whose training code has something to say of the weights: ultralytics claims its own licence for them."""


def version_of(name: str, parts: Sequence[str]) -> ModelVersion:
    """Name + hash of (snapshot, code, weights), whatever of these `parts` names."""
    return ModelVersion(name, hashlib.sha256("|".join(parts).encode()).hexdigest()[:12])


def licence_of(kind: str, parent: ModelCard | None, own: str = "") -> str:
    """The licence of weights trained here: that of the training code where it claims one, else that of the weights
    they were trained from, else the project's `own`; "" unknown."""
    inherited = parent.licence if parent is not None and parent.kind == kind else ""
    return _LICENCES.get(kind) or inherited or own


def find_card(cards: Sequence[ModelCard], text: str) -> ModelCard:
    """The one of `cards` whose version, or its part after the @, begins with `text`. Raises NotFound, and InvalidInput
    that lists them where several do."""
    exact = [c for c in cards if text in (str(c.version), c.version.digest)]
    found = exact or [
        c for c in cards if text and (str(c.version).startswith(text) or c.version.digest.startswith(text))
    ]
    if not found:
        there = ", ".join(str(c.version) for c in cards) or "none yet"
        raise NotFound(f"there is no model version {text!r}; there are: {there}")
    if len(found) > 1:
        raise InvalidInput(f"{text!r} may be any of {', '.join(str(c.version) for c in found)}; give more of it")
    return found[0]


def ancestors(cards: Sequence[ModelCard], version: ModelVersion) -> tuple[ModelVersion, ...]:
    """`version` and those that it was trained from, the oldest first, as far as they are among `cards`."""
    by_name = {str(c.version): c for c in cards}
    line: list[ModelVersion] = []
    card = by_name.get(str(version))
    while card is not None and card.version not in line:
        line.insert(0, card.version)
        card = by_name.get(card.parent)
    return tuple(line)
