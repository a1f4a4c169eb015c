"""Several annotations of one task → the one that a dataset has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from groundlook.core.errors import InvalidInput
from groundlook.core.geometry import WholeTile
from groundlook.core.types import Annotation, Region
from groundlook.learning.snapshot.cluster import Cluster, cluster, common

Kind = Literal["newest", "majority", "consensus", "annotator"]
NEWEST: Kind = "newest"
_PLAIN: dict[str, Kind] = {"newest": "newest", "majority": "majority", "consensus": "consensus"}
RULES = (*_PLAIN, "annotator:NAME")


@dataclass(frozen=True, slots=True)
class Rule:
    """What stands where several people annotated a task. "newest": the last word. "majority": what at least half of
    them drew. "consensus": what all of them drew. "annotator": what `name` said; tasks without it are left out."""

    kind: Kind = NEWEST
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind


@dataclass(frozen=True, slots=True)
class Resolved:
    """What stands, and the annotations that went in, oldest first."""

    regions: tuple[Region, ...]
    behind: tuple[Annotation, ...]
    ground_truth: bool = False


def parse_rule(text: str) -> Rule:
    """Inverse of `str`. Raises InvalidInput that names the rules."""
    kind, _, name = text.partition(":")
    if kind == "annotator" and name:
        return Rule("annotator", name)
    if text in _PLAIN:
        return Rule(_PLAIN[text])
    raise InvalidInput(f"resolve={text!r} is no rule for several annotations of a task; use {', '.join(RULES)}")


def resolve(annotations: Sequence[Annotation], rule: Rule, several: bool = False) -> Resolved | None:
    """The one that stands for `annotations` of one task, in any order; None where nothing does. `several`: more than
    one class of a tile may hold.

    Skipped ones say nothing. One that is marked as ground truth stands whatever the rule; the newest of them. Of each
    annotator the newest counts.
    """
    said = sorted((a for a in annotations if not a.skipped), key=lambda a: (a.created, a.id))
    truth = [a for a in said if a.ground_truth]
    if truth:
        return Resolved(truth[-1].regions, (truth[-1],), True)
    if rule.kind == "annotator":
        said = [a for a in said if a.author == rule.name]
    if not said:
        return None
    last = {a.author: a for a in said}
    people = [a for a in said if last[a.author] is a]
    if rule.kind in (NEWEST, "annotator") or len(people) == 1:
        return Resolved(said[-1].regions, (said[-1],))
    return _voted(people, rule.kind, several)


def _voted(people: Sequence[Annotation], kind: Kind, several: bool) -> Resolved | None:
    """`people`: an annotation of each, oldest first."""
    everybody = kind == "consensus"
    least = len(people) if everybody else len(people) / 2
    whole = _classes(people, least, several)
    if whole is None:
        return None
    regions = []
    for found in cluster([[r for r in a.regions if not isinstance(r.shape, WholeTile)] for a in people]):
        agreed = _named(found)
        if len(agreed.members if everybody else found.members) >= least:
            regions.append(common(agreed))
    return Resolved((*whole, *regions), tuple(people))


def _named(found: Cluster) -> Cluster:
    """Those members that have the label that most have; of those that as many have, the newest's."""
    votes = Counter(region.label for _, region in found.members)
    most = max(votes.values())
    label = next(region.label for _, region in reversed(found.members) if votes[region.label] == most)
    return Cluster(tuple((who, region) for who, region in found.members if region.label == label))


def _classes(people: Sequence[Annotation], least: float, several: bool) -> list[Region] | None:
    """The classes of the tile that stand; None where people gave some, and agree on none of which one must hold."""
    given = [{r.label: r for r in a.regions if isinstance(r.shape, WholeTile)} for a in people]
    votes = Counter(label for one in given for label in one)
    if not votes:
        return []
    newest = {label: region for one in given for label, region in one.items()}
    if several:
        return [newest[label] for label in sorted(votes) if votes[label] >= least]
    if least == len(people):  # consensus
        return [newest[label] for label in votes if votes[label] >= least] or None
    most = max(votes.values())
    return [next(one[label] for one in reversed(given) for label in one if votes[label] == most)]
