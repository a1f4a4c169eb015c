"""MobileSAM's image encoder, a TinyViT. It needs torch: import it late.

Wu et al., TinyViT: Fast Pretraining Distillation for Small Vision Transformers, ECCV 2022 (5 million parameters); Zhang
et al., Faster Segment Anything, 2023, which keeps 64 × 64 cells to the end. Tensors are named as in its weights.
"""

from __future__ import annotations

import torch
from segment_anything.modeling.common import LayerNorm2d
from torch import nn
from torch.nn import functional as F  # noqa: N812

_WIDTHS, _DEPTHS, _HEADS, _WINDOWS = (64, 128, 160, 320), (2, 2, 6, 2), (2, 4, 5, 10), (7, 7, 14, 7)


class MobileEncoder(nn.Module):  # type: ignore[misc]
    """float32 (N, 3, S, S) → (N, 256, S / 16, S / 16), S = `img_size`."""

    def __init__(self, img_size: int) -> None:
        super().__init__()
        self.img_size = img_size
        first = _WIDTHS[0]
        self.patch_embed = nn.Module()
        self.patch_embed.seq = nn.Sequential(_Conv(3, first // 2, 3, 2), nn.GELU(), _Conv(first // 2, first, 3, 2))
        self.layers = nn.ModuleList(_Stage(place) for place in range(len(_WIDTHS)))
        # The classifier that it was pretrained with: in the weights, of no use here.
        self.norm_head, self.head = nn.LayerNorm(_WIDTHS[-1]), nn.Linear(_WIDTHS[-1], 1000)
        self.neck = nn.Sequential(
            nn.Conv2d(_WIDTHS[-1], 256, 1, bias=False),
            LayerNorm2d(256),
            nn.Conv2d(256, 256, 3, padding=1, bias=False),
            LayerNorm2d(256),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch_embed.seq(x)
        for layer in self.layers:
            x = layer(x)
        found: torch.Tensor = self.neck(x)
        return found


class _Conv(nn.Sequential):  # type: ignore[misc]
    """A convolution that keeps the size (at stride 1), normalised."""

    def __init__(self, inside: int, outside: int, size: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.add_module("c", nn.Conv2d(inside, outside, size, stride, size // 2, groups=groups, bias=False))
        self.add_module("bn", nn.BatchNorm2d(outside))


class _Stage(nn.Module):  # type: ignore[misc]
    """Blocks of one width, then the step to the next: half the cells, but not before the last."""

    def __init__(self, place: int) -> None:
        super().__init__()
        width, last = _WIDTHS[place], place == len(_WIDTHS) - 1
        self.blocks = nn.ModuleList(
            _Inverted(width) if place == 0 else _Block(width, _HEADS[place], _WINDOWS[place])
            for _ in range(_DEPTHS[place])
        )
        self.downsample = None if last else _Step(width, _WIDTHS[place + 1], 1 if place == len(_WIDTHS) - 2 else 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class _Inverted(nn.Module):  # type: ignore[misc]
    """MobileNet's inverted bottleneck: four times as wide in between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv3 = _Conv(width, 4 * width), _Conv(4 * width, width)
        self.conv2 = _Conv(4 * width, 4 * width, 3, groups=4 * width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.gelu(x + self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x))))))


class _Step(nn.Module):  # type: ignore[misc]
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.conv3 = _Conv(inside, outside), _Conv(outside, outside)
        self.conv2 = _Conv(outside, outside, 3, stride, groups=outside)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))
        return found


class _Block(nn.Module):  # type: ignore[misc]
    """Attention within windows, a convolution across them, and a perceptron."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn, self.mlp = _Attention(width, heads, window), _Perceptron(width)
        self.local_conv = _Conv(width, width, 3, groups=width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count, width, rows, columns = x.shape
        side = self.window
        below, right = -rows % side, -columns % side
        cells = F.pad(x, (0, right, 0, below))
        down, across = (rows + below) // side, (columns + right) // side
        cells = cells.reshape(count, width, down, side, across, side).permute(0, 2, 4, 3, 5, 1)
        seen = self.attn(cells.reshape(-1, side * side, width))
        seen = seen.reshape(count, down, across, side, side, width).permute(0, 5, 1, 3, 2, 4)
        seen = seen.reshape(count, width, rows + below, columns + right)[:, :, :rows, :columns]
        x = self.local_conv(x + seen)
        return x + self.mlp(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Attention(nn.Module):  # type: ignore[misc]
    """Each head learns how much each distance, right and down, counts."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        y, x = torch.arange(window * window) // window, torch.arange(window * window) % window
        apart = (y[:, None] - y).abs() * window + (x[:, None] - x).abs()
        self.register_buffer("apart", apart, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count, cells, width = x.shape
        # Of each head: its query, its key, its value, one after the other.
        mixed = self.qkv(self.norm(x)).reshape(count, cells, self.heads, 3, width // self.heads)
        query, key, value = mixed.permute(3, 0, 2, 1, 4)
        near = query @ key.transpose(-2, -1) * (width // self.heads) ** -0.5 + self.attention_biases[:, self.apart]
        found: torch.Tensor = self.proj((near.softmax(-1) @ value).transpose(1, 2).reshape(count, cells, width))
        return found


class _Perceptron(nn.Module):  # type: ignore[misc]
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.fc2(F.gelu(self.fc1(self.norm(x))))
        return found
