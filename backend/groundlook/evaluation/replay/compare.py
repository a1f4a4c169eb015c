"""Paired comparison of strategies: the same seeds, so the same start and the same model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_SAME = 1e-9


@dataclass(frozen=True, slots=True)
class Paired:
    """Of n seeds: `wins` where ours was better, `losses` where worse. `gain`: the mean difference. `p`: of Wilcoxon's
    two-sided signed-rank test; `holm`: corrected for all strategies compared."""

    wins: int
    ties: int
    losses: int
    gain: float
    p: float
    holm: float


def signed_rank(differences: Floats, alternative: str = "two-sided") -> float:
    """p of Wilcoxon's signed-rank test (Biometrics Bulletin 1945) of float64 (n,) differences, zeros left out; exact up
    to 50 seeds without ties. 1 where nothing differs. With n seeds it can't fall below 2 / 2ⁿ (1 / 2ⁿ one-sided)."""
    from scipy.stats import wilcoxon

    found = np.round(differences[np.abs(differences) > _SAME], 12)
    if len(found) == 0:
        return 1.0
    exact = len(found) <= 50 and len(np.unique(np.abs(found))) == len(found)
    return float(wilcoxon(found, alternative=alternative, method="exact" if exact else "approx").pvalue)


def holm(p: Floats) -> Floats:
    """Holm's step-down correction (Scandinavian Journal of Statistics 1979) of float64 (m,) p-values: the chance of one
    false alarm among all m stays below the level."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def paired(areas: dict[str, Floats], reference: str) -> dict[str, Paired]:
    """Every other strategy against `reference`, by float64 (n,) per seed, higher is better."""
    others = [name for name in areas if name != reference]
    gaps = {name: areas[name] - areas[reference] for name in others}
    raw = np.array([signed_rank(gaps[name]) for name in others])
    return {
        name: Paired(
            int((gaps[name] > _SAME).sum()),
            int((np.abs(gaps[name]) <= _SAME).sum()),
            int((gaps[name] < -_SAME).sum()),
            float(gaps[name].mean()),
            float(p),
            float(corrected),
        )
        for name, p, corrected in zip(others, raw, holm(raw), strict=True)
    }


def worse_at(ours: Floats, reference: Floats, level: float = 0.05) -> NDArray[np.int64] | None:
    """The rounds at which `ours` (S, R) is worse than `reference` (S, R), seed by seed: one-sided signed-rank tests,
    Holm's correction over the rounds. None where S seeds can't tell, however it comes: R / 2ˢ is not below `level`."""
    seeds, rounds = ours.shape
    if rounds / 2**seeds >= level:
        return None
    p = np.array([signed_rank(ours[:, r] - reference[:, r], "less") for r in range(rounds)])
    return np.flatnonzero(holm(p) < level).astype(np.int64)
