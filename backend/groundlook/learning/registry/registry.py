"""Model versions on disk: one folder each, and the line of those that served.

Any number of processes and machines may share the folder. What is kept is never changed, every change is a folder that
appears whole, so whoever is killed leaves the old state or the new one. Only what the gate said of a version is written
anew, whole as well, when it is judged again.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from groundlook.core.errors import Conflict, InvalidWeights, NotFound
from groundlook.core.types import ModelCard, ModelVersion
from groundlook.learning.registry.files import appear, file_sha256, renewed
from groundlook.learning.registry.line import Line, Lines
from groundlook.learning.registry.lineage import ancestors

log = logging.getLogger("groundlook.learning")

_CARD, _WEIGHTS = "card.json", "weights"
_BEFORE = "serving.json"
"""What served, of homes that are older than the line."""
_SETTLED_S = 2.0
"""A file that was changed just now may be changed again within one tick of its clock."""
_AGAIN_S = 0.02

Mark = tuple[int, int, int]


class FileRegistry:
    """Implements `core.ports.Registry` under `root`/<project>/<version>/."""

    def __init__(self, root: Path, clock: Callable[[], float] = time.time) -> None:
        self._root, self._clock = root, clock
        self._lines = Lines(root)
        self._cards: dict[Path, tuple[Mark, ModelCard | None]] = {}
        self._hashes: dict[Path, tuple[Mark, str]] = {}

    def save(self, project: int, card: ModelCard, weights: Path) -> None:
        """See `core.ports.Registry`. Raises InvalidWeights where `weights` are not what the card says, Busy where the
        disk is full: then nothing is kept."""
        folder = self._folder(project, card.version)
        if folder.exists():
            return

        def fill(begun: Path) -> None:
            copy = begun / f"{_WEIGHTS}{weights.suffix}"
            shutil.copyfile(weights, copy)
            _check(card, file_sha256(copy))
            (begun / _CARD).write_text(_card_text(card))

        appear(folder, fill)  # or somebody else saved the same

    def judged(self, project: int, card: ModelCard) -> None:
        """See `core.ports.Registry`. Raises Busy where the disk is full: then the judgement before stands."""
        kept = self._known(project, card.version)
        told = replace(kept, verdict=card.verdict, metrics=card.metrics, judged=card.judged)
        if told != kept:
            renewed(self._folder(project, card.version) / _CARD, _card_text(told))

    def cards(self, project: int) -> list[ModelCard]:
        """See `core.ports.Registry`. A damaged card is left out and logged."""
        paths = (self._root / str(project)).glob(f"[!.]*/{_CARD}")
        found = [card for path in paths if (card := self._card(path)) is not None]
        return sorted(found, key=lambda c: (c.created, str(c.version)))

    def weights(self, project: int, card: ModelCard) -> Path:
        """See `core.ports.Registry`. A file is hashed again when it has changed."""
        path = next(self._folder(project, card.version).glob(f"{_WEIGHTS}.*"), None)
        if path is None:
            raise InvalidWeights(f"the weights of {card.version} are gone; promote another version")
        mark, kept = _mark(path), self._hashes.get(path)
        actual = kept[1] if kept is not None and kept[0] == mark else file_sha256(path)
        if time.time() - mark[1] / 1e9 > _SETTLED_S:
            self._hashes[path] = (mark, actual)
        _check(card, actual)
        return path

    def serving(self, project: int) -> ModelCard | None:
        """See `core.ports.Registry`. Raises NotFound where its card is gone."""
        version = self._line(project).serving
        return None if version is None else self._known(project, version)

    def promote(self, project: int, version: ModelVersion, over: ModelVersion | None) -> None:
        """See `core.ports.Registry`. Raises InvalidWeights where the weights are not what the card says. What serves
        already is left as it is."""
        self._proved(project, version)
        while (line := self._line(project)).serving != version:
            if line.serving != over:
                raise Conflict(
                    f"{line.serving or 'no model'} serves project {project} by now, not {over or 'none'}: "
                    f"{version} was not promoted; compare it with what serves and try again"
                )
            if self._lines.add(project, line.promoted(version), self._clock(), f"{version} promoted over {over}"):
                return
            time.sleep(_AGAIN_S)  # a network file system may need a moment to show what somebody else wrote

    def rollback(self, project: int, version: ModelVersion | None = None) -> ModelCard:
        """See `core.ports.Registry`. All that came after `version` are withdrawn. Raises Conflict where somebody
        promotes at the same time, InvalidWeights where the earlier one is damaged."""
        line = self._line(project)
        target = line.before if version is None else version
        if target is None:
            raise NotFound(f"no version served project {project} before {line.serving or 'any'}; promote one instead")
        if target not in line.served:
            there = ", ".join(str(v) for v in line.served[:-1]) or "none"
            raise NotFound(f"{target} did not serve before {line.serving} ({there} did); promote it instead")
        card = self._proved(project, target)
        what = f"{line.serving} rolled back to {target}"
        if target != line.serving and not self._lines.add(project, line.back_to(target), self._clock(), what):
            raise Conflict(f"somebody promoted a version of project {project} just now; look again")
        return card

    def served(self, project: int) -> frozenset[ModelVersion]:
        """See `core.ports.Registry`."""
        line = self._line(project)
        return frozenset(line.served) | line.withdrawn

    def withdrawn(self, project: int, version: ModelVersion) -> bool:
        """See `core.ports.Registry`."""
        return version in self._line(project).withdrawn

    def _line(self, project: int) -> Line:
        found = self._lines.now(project)
        return self._line_before(project) if found is None else found

    def _line_before(self, project: int) -> Line:
        """Of a home that is older than the line: what it served, and what that was trained from."""
        pointer = self._root / str(project) / _BEFORE
        if not pointer.exists():
            return Line()
        version = ModelVersion.parse(json.loads(pointer.read_text())["version"])
        return Line(0, ancestors(self.cards(project), version) or (version,))

    def _proved(self, project: int, version: ModelVersion) -> ModelCard:
        """The card of a version whose weights are what it says, whatever was found before."""
        card = self._known(project, version)
        for path in self._folder(project, version).glob(f"{_WEIGHTS}.*"):
            self._hashes.pop(path, None)
        self.weights(project, card)
        return card

    def _known(self, project: int, version: ModelVersion) -> ModelCard:
        card = self._card(self._folder(project, version) / _CARD)
        if card is None:
            raise NotFound(f"model {version} is not in the registry of project {project}")
        return card

    def _card(self, path: Path) -> ModelCard | None:
        """None where there is none, or none that can be read."""
        try:
            mark = _mark(path)
            kept = self._cards.get(path)
            if kept is None or kept[0] != mark:
                kept = self._cards[path] = (mark, _read_card(path))
        except FileNotFoundError:
            return None
        return kept[1]

    def _folder(self, project: int, version: ModelVersion) -> Path:
        return self._root / str(project) / str(version)


def _mark(path: Path) -> Mark:
    """Changes when the file does."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def _check(card: ModelCard, actual: str) -> None:
    if actual != card.sha256:
        raise InvalidWeights(f"the weights of {card.version} were changed: sha256 {actual}, expected {card.sha256}")


def _card_text(card: ModelCard) -> str:
    return json.dumps({**asdict(card), "version": str(card.version)}, indent=2)


def _read_card(path: Path) -> ModelCard | None:
    try:
        body: dict[str, Any] = json.loads(path.read_text())
        body["labels"] = tuple(body["labels"])
        return replace(ModelCard(**body), version=ModelVersion.parse(body["version"]))
    except (ValueError, KeyError, TypeError) as error:
        log.warning("%s is damaged and left out: %s", path, error)
        return None
