"""Champion against challenger on the same held-out tiles: promoted, refused, or a person has to look."""

from groundlook.learning.gate.judging import judge
from groundlook.learning.gate.limits import LIMITS, STRICT, USUAL, Limits
from groundlook.learning.gate.names import measure
from groundlook.learning.gate.verdict import Finding, Measured, Verdict

__all__ = ["LIMITS", "STRICT", "USUAL", "Finding", "Limits", "Measured", "Verdict", "judge", "measure"]
