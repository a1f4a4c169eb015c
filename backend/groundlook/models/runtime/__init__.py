"""Networks through the fastest runtime that is installed and computes the same (`select.compiled`)."""

from groundlook.models.runtime.network import Compiled, Network
from groundlook.models.runtime.record import describe
from groundlook.models.runtime.select import compiled

__all__ = ["Compiled", "Network", "compiled", "describe"]
