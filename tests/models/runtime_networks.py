"""Small networks that tests of the runtimes build, also in child processes."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import nn


def picture(seed: int = 0, built: str = "", width: int = 16) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """Convolutions over a picture. `built`: a folder in which every build leaves a file."""
    if built:
        (Path(built) / f"{os.getpid()}-{len(list(Path(built).iterdir()))}").touch()
    torch.manual_seed(seed)
    layers = (nn.Conv2d(3, width, 3, padding=1), nn.GELU(), nn.Conv2d(width, 8, 3, stride=2, padding=1), nn.ReLU())
    return nn.Sequential(*layers).eval(), (torch.randn(1, 3, 64, 48),)


class _Prompted(nn.Module):
    """As a mask decoder: a picture's features and any number of points in, a mask and a number for each out."""

    def __init__(self) -> None:
        super().__init__()
        self.lift = nn.Linear(2, 32)
        self.mix = nn.MultiheadAttention(32, 4, batch_first=True)
        self.rate = nn.Linear(32, 1)

    def forward(self, features: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = self.lift(points)
        seen = features.flatten(2).permute(0, 2, 1)
        mixed, _ = self.mix(tokens, seen, seen, need_weights=False)
        masks = (mixed @ features.flatten(2)).reshape(1, -1, 16, 16)
        return masks, self.rate(mixed)[..., 0]


def prompted() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """See `_Prompted`."""
    torch.manual_seed(1)
    return _Prompted().eval(), (torch.randn(1, 32, 16, 16), torch.randn(1, 3, 2))


class _Cancelling(nn.Module):
    """The small difference of large numbers: nothing of it is left in bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(64, 64), nn.Linear(64, 64)
        with torch.no_grad():
            self.two.weight.copy_(self.one.weight * 1.0001)
            self.two.bias.copy_(self.one.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(x) - self.one(x)


def cancelling() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """See `_Cancelling`."""
    torch.manual_seed(2)
    return _Cancelling().eval(), (torch.randn(1024, 64),)


class _NotExportable(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(x)


def not_exportable() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """An operation that ONNX does not have."""
    return _NotExportable().eval(), (torch.rand(4, 4),)


def dying(marker: str) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """Builds only in the process that wrote its id to `marker`: anywhere else, the process dies."""
    if Path(marker).read_text() != str(os.getpid()):
        os._exit(9)
    return picture()


def refused() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """Weights that can't be used."""
    from groundlook.core.errors import InvalidWeights

    raise InvalidWeights("weights x.pt are no weights: give others")


class _Many(nn.Module):
    """More points than are tokens of one head at a time."""

    def __init__(self) -> None:
        super().__init__()
        from segment_anything.modeling.image_encoder import Attention

        self.attention = Attention(24, num_heads=3, use_rel_pos=True, input_size=(36, 34))
        with torch.no_grad():
            for table in (self.attention.rel_pos_h, self.attention.rel_pos_w):
                table.normal_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(x)


def many(lean: bool) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """segment-anything's attention, as it is or one head at a time."""
    from groundlook.models.runtime.attention import lighten

    torch.manual_seed(3)
    module = _Many().eval()
    if lean:
        lighten(module)
    return module, (torch.randn(1, 36, 34, 24),)
