"""Attention with decomposed relative positions, one head at a time where there are many tokens.

segment-anything's `Attention` (image_encoder.py; positions as in MViTv2, eq. 4, arXiv 2112.01526) holds the scores of
all heads at once, twice and more: 12 × 4096² floats are 0.8 GB. The same sums, head by head, need a twelfth.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

_MANY = 1024
_PARTS = ("qkv", "proj", "num_heads", "scale", "use_rel_pos")


class LeanAttention(nn.Module):  # type: ignore[misc]
    """Takes the place of `attention`, whose tensors it holds under the same names. (B, H, W, C) → (B, H, W, C)."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.num_heads, self.scale = attention.num_heads, attention.scale
        self.qkv, self.proj = attention.qkv, attention.proj
        self.use_rel_pos = attention.use_rel_pos
        if self.use_rel_pos:
            self.rel_pos_h, self.rel_pos_w = attention.rel_pos_h, attention.rel_pos_w

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, height, width, _ = x.shape
        tokens = height * width
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, -1).permute(2, 3, 0, 1, 4)
        q, k, v = qkv.unbind(0)  # each (heads, B, tokens, C)
        step = 1 if tokens >= _MANY else self.num_heads
        parts = [slice(i, i + step) for i in range(0, self.num_heads, step)]
        heads = [self._heads(q[part], k[part], v[part], height, width) for part in parts]
        mixed = torch.cat(heads) if len(heads) > 1 else heads[0]
        mixed = mixed.permute(1, 2, 0, 3).reshape(batch, height, width, -1)
        return self.proj(mixed)

    def _heads(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Attention of some heads, each argument (heads, B, tokens, C)."""
        heads, batch, tokens, depth = q.shape
        scores = (q * self.scale) @ k.transpose(-2, -1)
        if self.use_rel_pos:
            grid = q.reshape(heads * batch, height, width, depth)
            down = torch.einsum("bhwc,hkc->bhwk", grid, _table(height, self.rel_pos_h))
            along = torch.einsum("bhwc,wkc->bhwk", grid, _table(width, self.rel_pos_w))
            cells = scores.view(heads * batch, height, width, height, width)
            scores = (cells + down[..., None] + along[..., None, :]).view(heads, batch, tokens, tokens)
        return scores.softmax(dim=-1) @ v


def _table(size: int, positions: torch.Tensor) -> torch.Tensor:
    """(size, size, C): the entry of `positions` (L, C) for every pair, resampled where L is not 2 · size − 1."""
    length = 2 * size - 1
    if positions.shape[0] != length:
        given = positions.reshape(1, positions.shape[0], -1).permute(0, 2, 1)
        positions = functional.interpolate(given, size=length, mode="linear").reshape(-1, length).permute(1, 0)
    steps = torch.arange(size, device=positions.device)
    return positions[steps[:, None] - steps[None, :] + size - 1]


def lighten(module: nn.Module) -> int:
    """Replace every such attention inside `module`; how many there were."""
    found = [
        (parent, name)
        for parent in module.modules()
        for name, child in parent.named_children()
        if all(hasattr(child, part) for part in _PARTS)
    ]
    for parent, name in found:
        setattr(parent, name, LeanAttention(getattr(parent, name)))
    return len(found)
