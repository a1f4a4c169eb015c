"""Yes or no: the entropy of a single question."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def binary_entropy(p: NDArray[np.floating]) -> NDArray[np.float64]:
    """Of each probability, in bits, of the same shape: 0 = sure either way, 1 = a toss-up; NaN stays NaN."""
    q = np.clip(np.asarray(p, np.float64), 1e-9, 1 - 1e-9)
    bits: NDArray[np.float64] = -(q * np.log2(q) + (1 - q) * np.log2(1 - q))
    return bits
