"""Their Python, and a service of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ml_base.environment import ensure
from tests.service.conftest import house

__all__ = ["house"]


@pytest.fixture(scope="session")
def their_python() -> Path:
    """Of an environment with label-studio-ml 1.0.9."""
    return ensure()
