"""SAM's prompt encoder and mask decoder as one module that can be exported. It needs torch: import it late."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from groundlook.models.sam.asked import PAD


class Decoder(nn.Module):  # type: ignore[misc]
    """Computes what `Sam.prompt_encoder` and `Sam.mask_decoder` compute, without writing in place and for any number of
    points, as `segment_anything.utils.onnx.SamOnnxModel` does; but it takes several objects at once and leaves choosing
    and enlarging masks to its caller.

    embedding: float32 (1 or N, C, h, w). points: (N, K, 2), x then y in pixels of the encoder's input. labels: (N, K)
    float32, see `asked`. mask: (N, 1, 4h, 4w) logits; has_mask: (N, 1, 1, 1), 1 where it counts, else 0.
    Answers: logits (N, 4, 4h, 4w) and the IoU expected of each (N, 4): first the single mask, then the three of an
    ambiguous prompt.
    """

    def __init__(self, sam: Any) -> None:
        super().__init__()
        self.prompts, self.masks = sam.prompt_encoder, sam.mask_decoder
        self.size = float(sam.prompt_encoder.input_image_size[0])
        self.register_buffer("place", sam.prompt_encoder.get_dense_pe(), persistent=False)

    def forward(
        self,
        embedding: torch.Tensor,
        points: torch.Tensor,
        labels: torch.Tensor,
        mask: torch.Tensor,
        has_mask: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        none = self.prompts.no_mask_embed.weight.reshape(1, -1, 1, 1)
        dense = has_mask * self.prompts.mask_downscaling(mask) + (1 - has_mask) * none
        return self._decode(embedding + dense, self._embed(points, labels))

    def _embed(self, points: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(N, K, C): where each point is, and what it is. Half a pixel on: to the pixel's middle, as SAM does."""
        waves = 2 * torch.pi * self.prompts.pe_layer.positional_encoding_gaussian_matrix
        along = 2 * (points + 0.5) / self.size - 1
        angles = along[..., :1] * waves[0] + along[..., 1:] * waves[1]  # no product of matrices: those lose digits
        place = torch.cat([angles.sin(), angles.cos()], -1)
        kind = labels.unsqueeze(-1)
        found = place * (kind != PAD) + self.prompts.not_a_point_embed.weight * (kind == PAD)
        for i, embedding in enumerate(self.prompts.point_embeddings):
            found = found + embedding.weight * (kind == i)
        return found

    def _decode(self, cells: torch.Tensor, sparse: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`MaskDecoder.predict_masks` for cells (N, C, h, w) that go with sparse (N, K, C), one to one."""
        masks = self.masks
        own = torch.cat([masks.iou_token.weight, masks.mask_tokens.weight]).unsqueeze(0)
        tokens = torch.cat([own.expand(sparse.shape[0], -1, -1), sparse], 1)
        answers, flat = masks.transformer(cells, self.place, tokens)
        height, width = self.prompts.image_embedding_size
        up = masks.output_upscaling(flat.transpose(1, 2).reshape(-1, masks.transformer_dim, height, width))
        weights = torch.stack([mlp(answers[:, i + 1]) for i, mlp in enumerate(masks.output_hypernetworks_mlps)], 1)
        logits = (weights @ up.flatten(2)).reshape(-1, masks.num_mask_tokens, 4 * height, 4 * width)
        return logits, masks.iou_prediction_head(answers[:, 0])
