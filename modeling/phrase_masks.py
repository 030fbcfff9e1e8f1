"""Masks of phrases: SAM, whose prompts are states of a language model (LEGION, section 4.1, Eq. 3)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedConfig, SamModel

from .offloaded_weights import weights_at_hand


class PhraseMasksMixin:
    """A model with `grounding` (SAM), `prompt_projector` and a configuration that has `grounding_config`."""

    config: PreTrainedConfig
    grounding: SamModel
    prompt_projector: nn.Module

    def decode_masks(
        self,
        seg_states: Sequence[torch.Tensor],
        grounding_pixel_values: torch.Tensor,
        grounding_sizes: torch.Tensor | None,
        sizes: Sequence[tuple[int, int]] | torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """Eq. 3: masks of phrases, at the images' sizes.

        Args:
            seg_states: One tensor (n_i, C) an image; SAM does not see an image without any.
            grounding_pixel_values: (B, 3, S, S).
            grounding_sizes: (B, 2) height and width of the image within them; None: all of it.
            sizes: (B, 2) height and width of the masks.

        Returns:
            One tensor (n_i, H_i, W_i) of logits an image, float32.
        """
        wanted = [index for index, states in enumerate(seg_states) if len(states)]
        embeddings: dict[int, torch.Tensor] = {}
        if wanted:
            with torch.no_grad():
                pixels = grounding_pixel_values[wanted].to(self.grounding.dtype)
                encoded = self.grounding.vision_encoder(pixels).last_hidden_state
            embeddings = dict(zip(wanted, encoded, strict=True))
        found = []
        for index, states in enumerate(seg_states):
            height, width = (int(side) for side in sizes[index])
            if index not in embeddings:
                found.append(states.new_zeros((0, height, width), dtype=torch.float32))
                continue
            low = self.low_resolution_masks(states, embeddings[index])
            within = None if grounding_sizes is None else [int(side) for side in grounding_sizes[index]]
            found.append(self.resize_masks(low, within, (height, width)))
        return tuple(found)

    def low_resolution_masks(self, seg_states: torch.Tensor, image_embedding: torch.Tensor) -> torch.Tensor:
        """Mask logits (n, S / 4, S / 4) of states (n, C) in one image with SAM's embedding (256, S / 16, S / 16)."""
        sam, prompts = self.grounding, self.prompt_projector(seg_states)
        first = torch.zeros(1, dtype=torch.long, device=image_embedding.device)
        dense = sam.prompt_encoder.no_mask_embed(first).reshape(1, -1, 1, 1)
        positions = sam.shared_image_embedding(cell_centres(image_embedding.shape[-1], image_embedding.device))
        with weights_at_hand(sam.mask_decoder.iou_token, sam.mask_decoder.mask_tokens):
            masks, _ = sam.mask_decoder(
                image_embeddings=image_embedding[None],
                image_positional_embeddings=positions.permute(2, 0, 1)[None],
                sparse_prompt_embeddings=prompts[None, :, None],
                dense_prompt_embeddings=dense.expand_as(image_embedding[None]),
                multimask_output=False,
            )
        return masks[0, :, 0]

    def resize_masks(self, masks: torch.Tensor, within: Sequence[int] | None, size: tuple[int, int]) -> torch.Tensor:
        """Mask logits (n, h, w) at SAM's size, without its padding, at the image's size: (n, H, W) float32."""
        side = self.config.grounding_config.vision_config.image_size
        resized = F.interpolate(masks[:, None].float(), (side, side), mode="bilinear", align_corners=False)
        if within is not None:
            resized = resized[..., : within[0], : within[1]]
        return F.interpolate(resized, size, mode="bilinear", align_corners=False)[:, 0]


def cell_centres(side: int, device: torch.device) -> torch.Tensor:
    """Places (side, side, 2) of the cells of a square grid, x and y, 0 to 1."""
    centres = (torch.arange(side, device=device) + 0.5) / side
    return torch.stack(torch.meshgrid(centres, centres, indexing="xy"), dim=-1)


__all__ = ["PhraseMasksMixin", "cell_centres"]
