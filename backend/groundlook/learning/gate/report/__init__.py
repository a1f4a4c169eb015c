"""The gate's report: what was found, for people and for machines."""

from groundlook.learning.gate.report.write import write_report

__all__ = ["write_report"]
