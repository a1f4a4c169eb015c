"""Networks by name, out of segmentation-models-pytorch: random weights, nothing downloaded."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput

if TYPE_CHECKING:
    import torch

DECODERS = {"unet": "Unet", "deeplabv3plus": "DeepLabV3Plus"}
_REMEDY = "install the extra: pip install 'groundlook[segmentation]'"
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, which encoders that somebody trained elsewhere expect."""


def build(arch: str, classes: int) -> torch.nn.Module:
    """The network `arch`, "<decoder>-<encoder>" as in "unet-resnet18" or "deeplabv3plus-mobilenet_v2", for the
    background and `classes` classes: float32 (N, 3, H, W) as `normal` makes it → logits (N, 1 + classes, H, W), H and W
    multiples of 32. Raises InvalidInput for a name that is none, and where the `segmentation` extra is missing."""
    decoder, _, encoder = arch.partition("-")
    if decoder not in DECODERS:
        raise InvalidInput(f"network {arch!r}: it begins with none of {', '.join(DECODERS)}; try 'unet-resnet18'")
    package = _package()
    known = sorted(n for n in package.encoders.encoders if not n.startswith("timm-"))
    if encoder not in known and not encoder.startswith("tu-"):
        raise InvalidInput(f"network {arch!r}: encoder {encoder!r} is none of {', '.join(known)}, nor a 'tu-' of timm")
    maker = getattr(package, DECODERS[decoder])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module: torch.nn.Module = maker(encoder_name=encoder, encoder_weights=None, classes=classes + 1)
    except (KeyError, ValueError, RuntimeError, AttributeError) as error:
        raise InvalidInput(f"network {arch!r} can't be built ({error}): choose another encoder") from error
    return module


def normal(pictures: NDArray[np.floating | np.uint8]) -> NDArray[np.float32]:
    """(…, H, W, 3) 0…255 → float32 (…, 3, H, W), of about mean 0 and deviation 1."""
    scaled = (np.asarray(pictures, np.float32) / 255 - np.array(_MEAN, np.float32)) / np.array(_DEVIATION, np.float32)
    return np.ascontiguousarray(np.moveaxis(scaled, -1, -3))


def _package() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what timm and torch say of each other is not for our users
            import segmentation_models_pytorch
    except ImportError as error:
        raise InvalidInput(f"segmentation_models_pytorch can't be imported ({error}); {_REMEDY}") from error
    return segmentation_models_pytorch
