"""A small convolutional image encoder: what a SAM for tests sees with. It needs torch: import it late."""

from __future__ import annotations

import torch
from segment_anything.modeling.common import LayerNorm2d
from torch import nn


class ConvEncoder(nn.Module):  # type: ignore[misc]
    """float32 (N, 3, S, S) → (N, `out`, S / 8, S / 8), S = `img_size`. About 0.4 million parameters.

    A tiny ViT does not learn from scratch in minutes; convolutions do.
    """

    def __init__(self, img_size: int, out: int) -> None:
        super().__init__()
        self.img_size = img_size
        self.layers = nn.Sequential(
            _convolution(3, 24, 2),
            _convolution(24, 48, 2),
            _Residual(48, 1),
            _convolution(48, 96, 2),
            _Residual(96, 1),
            _Residual(96, 2),
        )
        self.neck = nn.Sequential(nn.Conv2d(96, out, 1, bias=False), LayerNorm2d(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.neck(self.layers(x))
        return found


def _convolution(inside: int, outside: int, stride: int = 1, dilation: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, dilation, dilation, bias=False), nn.BatchNorm2d(outside), nn.ReLU()
    )


class _Residual(nn.Module):  # type: ignore[misc]
    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels, 1, dilation)
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, dilation, dilation, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.second(self.first(x)))
