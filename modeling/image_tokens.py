"""Image features in the place of image tokens: what the models that read a prompt with an image share."""

import torch
from torch import nn


def embed_with_images(
    input_ids: torch.Tensor, embedding: nn.Embedding, image_token_id: int, image_features: torch.Tensor | None
) -> torch.Tensor:
    """Look up a prompt and put image features where its image tokens stand.

    Args:
        input_ids: (B, L) int64.
        embedding: table of the language model.
        image_token_id: may lie outside the table, which is never asked for it.
        image_features: (images, N, C) in the order of the image tokens; None where the prompt has none.

    Returns:
        (B, L, C).

    Raises:
        ValueError: If the prompt has another number of image tokens than there are features.
    """
    places = input_ids == image_token_id
    embeddings = embedding(input_ids.masked_fill(places, 0))
    if image_features is None:
        return embeddings
    check_image_tokens(places, image_features)
    features = image_features.to(embeddings.device, embeddings.dtype)
    return embeddings.masked_scatter(places.unsqueeze(-1), features)


def check_image_tokens(places: torch.Tensor, image_features: torch.Tensor) -> None:
    """Refuse a prompt whose image tokens are not as many as the image features.

    Args:
        places: (B, L) bool, where image tokens stand.
        image_features: (images, N, C).
    """
    found, (images, each) = int(places.sum()), image_features.shape[:2]
    if found != images * each:
        raise ValueError(
            f"expected {images} x {each} image tokens for {images} images, got {found}: make the inputs with the "
            "model's processor, with a max_length that cuts no image tokens off"
        )


__all__ = ["check_image_tokens", "embed_with_images"]
