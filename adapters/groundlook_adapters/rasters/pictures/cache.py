"""Pictures kept on disk and in memory."""

from __future__ import annotations

from pathlib import Path

from groundlook_adapters.store.blobs import BlobCache

MEMORY_BYTES = 64 * 2**20


class PictureCache(BlobCache):
    """Encoded pictures (PNG, JPEG) by key; see BlobCache."""

    def __init__(self, folder: Path, limit_bytes: int, memory_bytes: int = MEMORY_BYTES) -> None:
        super().__init__(folder, limit_bytes, memory_bytes, suffix=".picture", what="pictures")
