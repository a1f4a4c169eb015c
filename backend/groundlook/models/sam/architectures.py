"""The networks of the family, by name. Building one needs no weights; reading this file needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Architecture:
    """`size`: the longest side, px, of what the encoder sees; pictures are scaled to it and padded to a square.
    `channels`, `cells`: its answer is float32 (1, channels, cells, cells). `build` gives a segment_anything `Sam` with
    random weights."""

    size: int
    channels: int
    cells: int
    build: Callable[[], torch.nn.Module]

    @property
    def low(self) -> int:
        """Side, px, of the decoder's logits and of its mask input."""
        return 4 * self.cells


def _official(name: str) -> torch.nn.Module:
    from segment_anything import sam_model_registry

    sam: torch.nn.Module = sam_model_registry[name]()
    return sam


def _assembled(encoder: torch.nn.Module, size: int, cells: int, channels: int, width: int, heads: int) -> Any:
    """`encoder` with segment_anything's prompt encoder and mask decoder. `width`: of the hidden layers."""
    from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    prompts = PromptEncoder(channels, (cells, cells), (size, size), mask_in_chans=16)
    transformer = TwoWayTransformer(depth=2, embedding_dim=channels, mlp_dim=width, num_heads=heads)
    masks = MaskDecoder(
        transformer_dim=channels,
        transformer=transformer,
        num_multimask_outputs=3,
        iou_head_depth=3,
        iou_head_hidden_dim=min(width, 256),
    )
    return Sam(encoder, prompts, masks).eval()


def _tiny() -> torch.nn.Module:
    from groundlook.models.sam.convolutional import ConvEncoder

    sam: torch.nn.Module = _assembled(ConvEncoder(256, 96), size=256, cells=32, channels=96, width=192, heads=4)
    return sam


def _mobile() -> torch.nn.Module:
    from groundlook.models.sam.mobile import MobileEncoder

    sam: torch.nn.Module = _assembled(MobileEncoder(1024), size=1024, cells=64, channels=256, width=2048, heads=8)
    return sam


def _decoder_only() -> torch.nn.Module:
    from torch import nn

    sam: torch.nn.Module = _assembled(nn.Identity(), size=1024, cells=64, channels=256, width=2048, heads=8)
    return sam


ONNX = "onnx"
"""The image encoder is a file of its own, see `given`; the weights are those of any of the large ones."""

ARCHS: Mapping[str, Architecture] = {
    "vit_b": Architecture(1024, 256, 64, lambda: _official("vit_b")),
    "vit_l": Architecture(1024, 256, 64, lambda: _official("vit_l")),
    "vit_h": Architecture(1024, 256, 64, lambda: _official("vit_h")),
    "mobile_sam": Architecture(1024, 256, 64, _mobile),
    ONNX: Architecture(1024, 256, 64, _decoder_only),
    "tiny": Architecture(256, 96, 32, _tiny),
}
"""vit_b, vit_l, vit_h: Kirillov et al., Segment Anything, ICCV 2023, as segment_anything builds them. mobile_sam: see
`mobile`. tiny: 0.8 million parameters, trained by tests/weights/make_sam.py: to test and to try out, not for work."""
