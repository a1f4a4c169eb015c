"""The registry: model versions on disk, and the line of those that served."""

from groundlook.learning.registry.files import file_sha256
from groundlook.learning.registry.lineage import find_card, licence_of, version_of
from groundlook.learning.registry.registry import FileRegistry

__all__ = ["FileRegistry", "file_sha256", "find_card", "licence_of", "version_of"]
