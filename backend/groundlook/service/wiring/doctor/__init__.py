"""`groundlook doctor`: looks at each thing that breaks in practice. One file per area, pure check functions."""

from groundlook.service.wiring.doctor.examine import examine

__all__ = ["examine"]
