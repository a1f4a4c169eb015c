"""How much worse a challenger may be, and how sure that must be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Limits:
    """What the gate asks of a challenger; qualities are 0…1.

    `proof`: it has to be shown that a challenger is not worse; else it is enough that nothing shows that it is. With
    few labels only the second can be had: twenty tiles tell a difference of .1, rarely one of .05.
    `whole`, `each`: with `proof`, the interval of the difference overall ends above −.05, that of each class, site or
    sensor above −.10. Two trainings on the same data differ by .01–.03, so nearer nobody comes; parts are smaller, so
    their intervals are wider.
    `part`: a class, site or sensor that is worse by more, beyond noise, goes to a person. .05 is what people notice.
    How closely boxes fit (mAP75) has the same limit; but labels that are off hurt everywhere, so that is refused.
    `forgotten`: a part that lost this much, and more than the noise of its objects, is lost, whatever the overall gain:
    refused. Neither blocks nor an interval are asked for: a site may be a single block.
    `ece`: of the calibration error. .05 is its noise with a few hundred answers.
    `slower`: times the champion's median seconds a tile. Twice is another network; with `proof` 1.25, the noise of a
    shared machine. Under `prompt` seconds nobody waits: .1 s feels like at once (Miller, AFIPS 1968).
    `mislaid`: the chance below which labels are taken for off (labels.py). .01: on OAM buildings four trainings with a
    fifth of the boxes moved came to .003 or less, nine honest ones to .17 or more. Chosen on these; held on a fifth.
    `blocks`: map blocks that an interval takes: with five, five losses out of five are noise in one of 32 cases.
    `objects`: truths that a part needs to be tested for noise. `answers`: what a calibration error takes.
    """

    name: str
    proof: bool
    whole: float = 0.05
    each: float = 0.1
    part: float = 0.05
    forgotten: float = 0.3
    ece: float = 0.05
    slower: float = 2.0
    prompt: float = 0.1
    mislaid: float = 0.01
    blocks: int = 5
    objects: int = 30
    answers: int = 200

    def lost(self, objects: int, parts: int) -> float:
        """How much one of `parts` has to lose to be forgotten. Between two unrelated detectors of the same skill the
        mAP50 of n objects differs with a standard deviation of .8 to 1 / √n (4 to 100 objects, simulated exams of
        tests/learning/exams.py; versions of one model are more alike); Bonferroni's correction over the parts."""
        return max(self.forgotten, NormalDist().inv_cdf(1 - 0.05 / max(parts, 1)) / math.sqrt(max(objects, 1)))


USUAL = Limits("usual", proof=False)
STRICT = Limits("strict", proof=True, slower=1.25)
LIMITS: Mapping[str, Limits] = MappingProxyType({limits.name: limits for limits in (USUAL, STRICT)})
