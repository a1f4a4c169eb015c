"""`groundlook bench models`: encoders, clicks and sliced inference, each against the peer that it names."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from groundlook.service.bench import Result

sys.path.insert(0, str(Path(__file__).parent))
import models_clicks
import models_encoder
import models_slices


def run(quick: bool) -> Iterator[Result]:
    """The cases, one part after the other: none runs beside another."""
    for part in (models_encoder, models_clicks, models_slices):
        yield from part.run(quick)
