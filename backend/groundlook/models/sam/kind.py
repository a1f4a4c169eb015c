"""The kind "sam": answers prompts, and proposes what looks like one object."""

from __future__ import annotations

from groundlook.models.sam.proposer import Proposer
from groundlook.models.sam.segment import SamSegmenter


class Sam:
    """What the service asks of a kind that answers prompts: see `service.kinds`."""

    segmenter = SamSegmenter.load
    proposer = Proposer
