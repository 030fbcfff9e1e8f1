"""The joint loss of FakeReasoning (section 4.4, Eq. 10 and 11), of the terms of its other equations."""

import torch

from .classification_probability import ClassificationProbabilityMapper, classification_loss
from .image_language_model import ImageLanguageModelOutput, ImageLanguagePreTrainedModel, mean_token_loss
from .loss_forgery_alignment import ForgeryAlignedContrast


class JointLossModel(ImageLanguagePreTrainedModel):
    """A model with `probability_mapper`, and `forgery_contrast` where contrastive learning is switched on."""

    probability_mapper: ClassificationProbabilityMapper
    forgery_contrast: ForgeryAlignedContrast

    def _language_and_verdict(
        self, logits: torch.Tensor, labels: torch.Tensor, forgery_labels: torch.Tensor | None
    ) -> dict[str, torch.Tensor]:
        """Eq. 10, and Eq. 6 to 9."""
        parts = {"loss_lm": mean_token_loss(logits, labels)}
        verdict = self.probability_mapper(logits, labels)
        parts |= {"fake_probability": verdict.fake_probability, "classification_index": verdict.index}
        if forgery_labels is not None:
            parts["loss_cpm"] = classification_loss(verdict.fake_logit, verdict.index, forgery_labels)
        return parts

    def _contrast(
        self,
        input_ids: torch.Tensor,
        outputs: ImageLanguageModelOutput,
        forgery_labels: torch.Tensor,
        text_mask: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Eq. 1 to 5; nothing where contrastive learning is switched off or a row has several images."""
        images = outputs.image_hidden_states
        if self.config.contrastive_loss_weight == 0 or images is None or len(images) != len(text_mask):
            return {}
        tokens = outputs.last_hidden_state
        if self.config.contrastive_text_source == "embeddings":
            tokens = self.get_input_embeddings()(input_ids.masked_fill(~text_mask, 0))
        weight = text_mask.to(tokens.dtype).unsqueeze(-1)
        text = (tokens * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
        losses = self.forgery_contrast(images.mean(dim=1), text, forgery_labels, text_mask.any(dim=1))
        return {
            "loss_facl": losses.loss,
            "loss_image_to_text": losses.image_to_text,
            "loss_text_to_image": losses.text_to_image,
            "loss_image_to_image": losses.image_to_image,
            "loss_text_to_text": losses.text_to_text,
        }

    def _joint_loss(self, parts: dict[str, torch.Tensor]) -> torch.Tensor:
        """Eq. 11."""
        config = self.config
        weights = {
            "loss_lm": config.language_loss_weight,
            "loss_cpm": config.classification_loss_weight,
            "loss_facl": config.contrastive_loss_weight,
        }
        return sum(weight * parts[name] for name, weight in weights.items() if name in parts)


__all__ = ["JointLossModel"]
