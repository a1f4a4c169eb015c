"""A step for matrices that moves all their directions alike: Muon (Jordan et al. 2024), at AdamW's pace (Moonlight,
Liu et al. 2025). torch.optim.Muon takes no convolutions; here they are matrices of one row per channel that comes out.
"""

from __future__ import annotations

import torch

KEEP, DECAY, TURNS = 0.95, 0.01, 5


class Muon(torch.optim.Optimizer):  # type: ignore[misc]
    """`parameters`: of two dimensions or more. The state of each is one mean of its gradients."""

    def __init__(self, parameters: list[torch.nn.Parameter], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for one in group["params"]:
                if one.grad is not None:
                    mean = self.state[one].setdefault("mean", torch.zeros_like(one.grad))
                    mean.lerp_(one.grad, 1 - KEEP)
                    move = even(one.grad.lerp(mean, KEEP).reshape(len(one), -1))
                    pace = group["lr"] * 0.2 * max(move.shape) ** 0.5
                    one.mul_(1 - group["lr"] * DECAY).add_(move.reshape(one.shape), alpha=-pace)


def even(matrix: torch.Tensor) -> torch.Tensor:
    """Nearly the nearest matrix whose singular values are all 1, by Newton-Schulz turns."""
    tall = matrix.shape[0] > matrix.shape[1]
    found = matrix.T if tall else matrix
    found = found / (found.norm() + 1e-7)
    for _ in range(TURNS):
        square = found @ found.T
        found = 3.4445 * found + (-4.775 * square + 2.0315 * square @ square) @ found
    return found.T if tall else found
