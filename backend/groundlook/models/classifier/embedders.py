"""Which Embedder a classifier's name means."""

from __future__ import annotations

from collections.abc import Callable

from groundlook.core.errors import InvalidInput
from groundlook.core.ports import Embedder
from groundlook.models.thumbnail import Thumbnail

EMBEDDERS: dict[str, Callable[[], Embedder]] = {"thumbnail-1": Thumbnail}
"""By name. What is not here is given, or registered."""
_SINGLE, _SEVERAL = "classifier-", "classifier-multiple-"


def register(embedder: Embedder) -> None:
    """Let classifiers stand on `embedder` by its name: the one that an admin chose."""
    EMBEDDERS[embedder.name] = lambda: embedder


def parse(arch: str, given: Embedder | None = None) -> tuple[Embedder, bool]:
    """The embedder of "classifier-<embedder>" (`given`, where it has that name), and whether several classes of a tile
    may hold, as those of "classifier-multiple-<embedder>". Raises InvalidInput for a name that is none."""
    several = arch.startswith(_SEVERAL)
    wanted = arch.removeprefix(_SEVERAL if several else _SINGLE)
    if given is not None and given.name == wanted:
        return given, several
    if not arch.startswith(_SINGLE) or wanted not in EMBEDDERS:
        known = ", ".join(prefix + n for n in EMBEDDERS for prefix in (_SINGLE, _SEVERAL))
        raise InvalidInput(f"network {arch!r} is no classifier on an embedder that we have: {known}")
    return EMBEDDERS[wanted](), several
