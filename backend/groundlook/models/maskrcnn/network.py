"""Mask R-CNN out of torchvision (He 2017), slim enough to learn on a CPU; random weights, nothing downloaded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from groundlook.core.errors import InvalidInput

if TYPE_CHECKING:
    import torch

_NAME = re.compile(r"maskrcnn-(resnet(?:18|34|50|101|152))-fpn")
_WIDTH = 128
"""Channels of the feature pyramid and of the mask head; torchvision's own has 256 and takes four times as long."""
_HEAD = 256
_ANCHORS = (16, 32, 64, 128, 256)
"""Sides of the anchors in px, a pyramid level each: half of torchvision's, things are small from above."""
_REMEDY = "install the extra: pip install 'groundlook[segmentation]'"


def build(arch: str, classes: int) -> torch.nn.Module:
    """The network `arch`, "maskrcnn-resnet18-fpn" or with another ResNet, for the background and `classes` classes.

    It sees pictures at their own resolution: nothing is resized. Its backbone's tensors have torchvision's names, its
    heads are slimmer than torchvision's. Raises InvalidInput for a name that is none, or without torchvision.
    """
    match = _NAME.fullmatch(arch)
    if not match:
        raise InvalidInput(f"network {arch!r} is no Mask R-CNN that we know; try 'maskrcnn-resnet18-fpn'")
    try:
        from torchvision import models
        from torchvision.models import detection
        from torchvision.models.detection.anchor_utils import AnchorGenerator
        from torchvision.models.detection.backbone_utils import BackboneWithFPN
        from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
    except ImportError as error:
        raise InvalidInput(f"torchvision can't be imported ({error}); {_REMEDY}") from error
    net = getattr(models, match[1])(weights=None)
    first = net.inplanes // 8
    levels = {f"layer{i}": str(i - 1) for i in range(1, 5)}
    backbone = BackboneWithFPN(net, levels, [first * 2**i for i in range(4)], _WIDTH)
    model: Any = detection.MaskRCNN(
        backbone,
        rpn_anchor_generator=AnchorGenerator(tuple((s,) for s in _ANCHORS), ((0.5, 1.0, 2.0),) * len(_ANCHORS)),
        rpn_pre_nms_top_n_train=1000,
        rpn_post_nms_top_n_train=500,
        rpn_post_nms_top_n_test=500,
        box_batch_size_per_image=128,
        box_head=detection.faster_rcnn.TwoMLPHead(_WIDTH * 49, _HEAD),
        box_predictor=detection.faster_rcnn.FastRCNNPredictor(_HEAD, classes + 1),
        mask_head=MaskRCNNHeads(_WIDTH, (_WIDTH,) * 4, 1),
        mask_predictor=MaskRCNNPredictor(_WIDTH, _WIDTH, classes + 1),
    )
    model.transform.resize = _as_it_is
    module: torch.nn.Module = model
    return module


def _as_it_is(image: Any, target: Any = None) -> tuple[Any, Any]:
    """In place of torchvision's resizing to 800 px: one pixel stays the same length on the ground."""
    return image, target
