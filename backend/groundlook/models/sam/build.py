"""The two halves of a SAM as `runtime.Network`s, which any process can build."""

from __future__ import annotations

from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from groundlook.models.runtime import Network
from groundlook.models.sam.architectures import ARCHS
from groundlook.models.sam.checkpoint import read_fitting

if TYPE_CHECKING:
    import torch

CODE = "sam-1"
"""Changes when the same weights begin to give other embeddings or masks."""
_HERE = "groundlook.models.sam.build"


def encoder_network(arch: str, weights: Path, digest: str) -> Network:
    """ "image" float32 (1, 3, S, S), normalised and padded → "embedding" float32 (1, C, h, w)."""
    return Network(
        f"{_HERE}:encoder",
        {"arch": arch, "weights": str(weights)},
        _key("encoder", arch, digest),
        ("image",),
        ("embedding",),
    )


def decoder_network(arch: str, weights: Path, digest: str) -> Network:
    """See `decoder.Decoder`; the numbers of objects and of points vary."""
    inputs = ("embedding", "points", "labels", "mask", "has_mask")
    outputs = ("logits", "quality")
    dynamic = {"points": (0, 1), "labels": (0, 1), **dict.fromkeys(("mask", "has_mask", *outputs), (0,))}
    arguments = {"arch": arch, "weights": str(weights)}
    return Network(f"{_HERE}:decoder", arguments, _key("decoder", arch, digest), inputs, outputs, dynamic)


def encoder(arch: str, weights: str) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """The image encoder with an example. Raises InvalidWeights."""
    import torch

    from groundlook.models.runtime.attention import lighten

    noise = np.random.default_rng(0).normal(0, 1, (1, 3, 16, 16)).astype(np.float32)
    side = ARCHS[arch].size
    # Blobs with grain, at the scale of a normalised photograph.
    example = torch.nn.functional.interpolate(torch.from_numpy(noise), (side, side), mode="bilinear")
    example = example + 0.2 * torch.randn(example.shape, generator=torch.Generator().manual_seed(0))
    module = _sam(arch, weights).image_encoder
    lighten(module)  # a ViT's attention over all cells, a head at a time: less memory, and quicker
    return module, (example,)


def decoder(arch: str, weights: str) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """The prompt encoder and mask decoder with an example of two objects. Raises InvalidWeights."""
    import torch

    from groundlook.models.sam.asked import BOTTOM_RIGHT, NEGATIVE, PAD, POSITIVE, TOP_LEFT
    from groundlook.models.sam.decoder import Decoder

    about = ARCHS[arch]
    draw = torch.Generator().manual_seed(0)
    example = (
        torch.randn(1, about.channels, about.cells, about.cells, generator=draw),
        torch.rand(2, 3, 2, generator=draw) * about.size,
        torch.tensor([[POSITIVE, NEGATIVE, POSITIVE], [TOP_LEFT, BOTTOM_RIGHT, PAD]], dtype=torch.float32),
        torch.randn(2, 1, about.low, about.low, generator=draw),
        torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1),
    )
    return Decoder(_sam(arch, weights)).eval(), example


def _sam(arch: str, weights: str) -> Any:
    _, state = read_fitting(Path(weights), arch)
    sam = ARCHS[arch].build()
    sam.load_state_dict(state)
    return sam.eval().requires_grad_(False)


def _key(part: str, arch: str, digest: str) -> str:
    """What the network computes: its weights, and the code that builds it."""
    made_with = f"{CODE}|{metadata.version('segment-anything')}"
    return sha256(f"{part}|{arch}|{digest}|{made_with}".encode()).hexdigest()
