"""The gate's report: what was found, for people and for machines."""

from groundlook.learning.gate.report.write import report_folder, write_report

__all__ = ["report_folder", "write_report"]
