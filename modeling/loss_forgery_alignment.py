"""Forgery-aligned contrastive loss (FakeReasoning, section 4.2, Eq. 1-5)."""

import math
from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from .full_precision import FullPrecisionModule

NO_LABEL = -1  # label of rows that take no part
POOLS = ("batch_and_queue", "queue")


class AlignmentTerms(NamedTuple):
    """The four terms, scalars: Eq. 1, Eq. 2, Eq. 3 and Eq. 4."""

    image_to_text: torch.Tensor
    text_to_image: torch.Tensor
    image_to_image: torch.Tensor
    text_to_text: torch.Tensor


class ContrastiveLosses(NamedTuple):
    """Eq. 5, the mean of the four terms, and the terms."""

    loss: torch.Tensor
    image_to_text: torch.Tensor
    text_to_image: torch.Tensor
    image_to_image: torch.Tensor
    text_to_text: torch.Tensor


class Samples(NamedTuple):
    """Image features (n, C), text features (n, C) and labels (n,) of the same n samples."""

    image: torch.Tensor
    text: torch.Tensor
    labels: torch.Tensor


def instance_term(anchors: torch.Tensor, pool: torch.Tensor, temperature: torch.Tensor) -> torch.Tensor:
    """InfoNCE between the two modalities (Eq. 1 and 2), averaged over the anchors; row i of the pool fits anchor i.

    Args:
        anchors: (B, C) features of one modality.
        pool: (P, C) features of the other, P >= B.
        temperature: Tau, one value.

    Returns:
        Scalar; 0 with a graph where there is no anchor.
    """
    log_probability = (anchors @ pool.T / temperature).log_softmax(dim=1)
    return (-log_probability.diagonal()).sum() / max(len(anchors), 1)


def class_term(
    anchors: torch.Tensor,
    pool: torch.Tensor,
    candidates: torch.Tensor,
    positives: torch.Tensor,
    temperature: torch.Tensor,
) -> torch.Tensor:
    """Supervised contrastive term within a modality (Eq. 3 and 4), averaged over the anchors that have a positive.

    Args:
        anchors: (B, C).
        pool: (P, C).
        candidates: (B, P) bool, what an anchor is compared with.
        positives: (B, P) bool, the candidates of the anchor's class.
        temperature: Tau, one value.

    Returns:
        Scalar; 0 with a graph where no anchor has a positive.
    """
    kept = positives.any(dim=1)
    positives = positives[kept]
    scores = (anchors[kept] @ pool.T / temperature).masked_fill(~candidates[kept], -torch.inf)
    log_probability = scores.log_softmax(dim=1).masked_fill(~positives, 0.0)
    return (-log_probability.sum(dim=1) / positives.sum(dim=1)).sum() / max(len(positives), 1)


def forgery_alignment_terms(
    image_features: torch.Tensor,
    text_features: torch.Tensor,
    labels: torch.Tensor,
    temperature: torch.Tensor,
    queue: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None,
    normalize: bool = True,
    pool: str = "batch_and_queue",
) -> AlignmentTerms:
    """Evaluate Eq. 1-4 for a batch of image and text features and the queues of earlier ones.

    Between the modalities a sample is compared with the batch and the queue, and its own partner is the positive.
    Within a modality the positives are the samples of the same label. The paper leaves open whether the batch is in
    that comparison: with `pool="batch_and_queue"` it is, the anchor itself apart.

    Args:
        image_features: (B, C), mean of an image's tokens after the projector.
        text_features: (B, C), mean of the embeddings of its caption and reasoning.
        labels: (B,) int64, 1 = fake, 0 = real.
        temperature: Tau, one value > 0.
        queue: Image features (n, C), text features (n, C) and labels (n,) of earlier samples, or None.
        normalize: Compare unit vectors; False is the plain dot product of the paper, which saturates the softmax for
            wide features.
        pool: "batch_and_queue", or "queue" for Eq. 3 and 4 without the batch.

    Returns:
        The four terms in float32 (float64 for float64 features), each the mean over its anchors. An anchor without a
        positive does not count; a term without anchors is 0.

    Example:
        >>> vectors, labels = torch.eye(2), torch.tensor([0, 1])
        >>> terms = forgery_alignment_terms(vectors, vectors, labels, torch.tensor(1.0))
        >>> [round(term.item(), 4) for term in terms]  # 0.3133 = log(1 + 1 / e); no two samples of one label
        [0.3133, 0.3133, 0.0, 0.0]
    """
    precise = torch.promote_types(image_features.dtype, torch.float32)
    with torch.autocast(image_features.device.type, enabled=False):
        image, text, temperature = image_features.to(precise), text_features.to(precise), temperature.to(precise)
        earlier = queue or (image[:0], text[:0], labels[:0])
        images, texts = torch.cat([image, earlier[0].to(precise)]), torch.cat([text, earlier[1].to(precise)])
        if normalize:
            images, texts = F.normalize(images, dim=-1), F.normalize(texts, dim=-1)
        batch = len(labels)
        same_label = labels[:, None] == torch.cat([labels, earlier[2]])  # (B, B + n)
        candidates = ~torch.eye(batch, same_label.shape[1], dtype=torch.bool, device=labels.device)
        if pool == "queue":
            candidates[:, :batch] = False
        positives = candidates & same_label
        return AlignmentTerms(
            instance_term(images[:batch], texts, temperature),
            instance_term(texts[:batch], images, temperature),
            class_term(images[:batch], images, candidates, positives, temperature),
            class_term(texts[:batch], texts, candidates, positives, temperature),
        )


class GatherRanks(torch.autograd.Function):
    """Concatenate a tensor of every process along the first axis; gradients of all processes are added up."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, tensor: torch.Tensor) -> torch.Tensor:
        """(B, ...) of this process to (processes * B, ...), in the order of the ranks."""
        tensor = tensor.contiguous()
        parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, tensor)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: torch.Tensor) -> torch.Tensor:
        """Sum over the processes of the rows of this process."""
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()]


class ForgeryAlignedContrast(FullPrecisionModule):
    """Eq. 5 with its trainable temperature and its queues of earlier features.

    In training the features of all processes form one batch, so two processes compute what one does with both batches
    (each has the same loss, and the mean of the gradients over processes is that of one process). Their batch sizes
    must be equal; the numbers of valid rows may differ. In evaluation nothing is exchanged and the queues stay as
    they are.

    Parameters and buffers stay in float32 in 16-bit models. The parameter is (1,), not 0-d, which FSDP refuses.

    Args:
        feature_size: C.
        queue_size: n, samples that the queues hold; not given in the paper. 0 = no queue.
        temperature: Initial tau, 0.07 in the paper; its logarithm is trained, so it stays positive.
        normalize: See `forgery_alignment_terms`.
        pool: See `forgery_alignment_terms`.
        save_queue: Whether the state dict holds the queues.
    """

    def __init__(
        self,
        feature_size: int,
        queue_size: int,
        temperature: float = 0.07,
        normalize: bool = True,
        pool: str = "batch_and_queue",
        save_queue: bool = False,
    ):
        super().__init__()
        if pool not in POOLS:
            raise ValueError(f"pool must be one of {', '.join(POOLS)}, got {pool!r}")
        if queue_size < 0 or temperature <= 0:
            raise ValueError(f"expected queue_size >= 0 and temperature > 0, got {queue_size} and {temperature}")
        self.feature_size, self.queue_size = feature_size, queue_size
        self.temperature, self.normalize, self.pool = temperature, normalize, pool
        self.log_temperature = nn.Parameter(torch.empty(1, dtype=torch.float32))
        shape = (queue_size, feature_size)
        # oldest sample first; rows from queue_filled on are empty
        self.register_buffer("image_queue", torch.empty(shape, dtype=torch.float32), persistent=save_queue)
        self.register_buffer("text_queue", torch.empty(shape, dtype=torch.float32), persistent=save_queue)
        self.register_buffer("label_queue", torch.empty(queue_size, dtype=torch.int64), persistent=save_queue)
        self.register_buffer("queue_filled", torch.empty((), dtype=torch.int64), persistent=save_queue)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the initial temperature and empty the queues; what a checkpoint filled stays in `from_pretrained`."""
        nn.init.constant_(self.log_temperature, math.log(self.temperature))
        self.reset_queue()

    def reset_queue(self) -> None:
        """Empty the queues."""
        for queue in (self.image_queue, self.text_queue, self.label_queue, self.queue_filled):
            nn.init.zeros_(queue)

    def queue(self) -> Samples:
        """Copies of the filled part of the queues, oldest sample first."""
        filled = int(self.queue_filled)
        return Samples(*(rows[:filled].clone() for rows in (self.image_queue, self.text_queue, self.label_queue)))

    @torch.no_grad()
    def enqueue(self, samples: Samples) -> None:
        """Append samples; the oldest ones leave where there is no room."""
        earlier = self.queue()
        for buffer, old, new in zip(
            (self.image_queue, self.text_queue, self.label_queue), earlier, samples, strict=True
        ):
            rows = torch.cat([old, new.to(old)])
            rows = rows[max(len(rows) - self.queue_size, 0) :]
            buffer[: len(rows)] = rows
        self.queue_filled.fill_(min(len(earlier.labels) + len(samples.labels), self.queue_size))

    def valid_samples(
        self, image: torch.Tensor, text: torch.Tensor, labels: torch.Tensor, valid: torch.Tensor | None
    ) -> Samples:
        """Valid rows of this process's batch, in training of the batches of all processes."""
        precise = torch.promote_types(image.dtype, torch.float32)
        image, text, labels = image.to(precise), text.to(precise), labels.long()
        if valid is not None:
            labels = labels.masked_fill(~valid, NO_LABEL)
        if self.training and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            image, text = GatherRanks.apply(torch.stack([image, text], dim=1)).unbind(1)
            labels = GatherRanks.apply(labels)
        kept = labels != NO_LABEL
        return Samples(image[kept], text[kept], labels[kept])

    def forward(
        self,
        image_features: torch.Tensor,
        text_features: torch.Tensor,
        labels: torch.Tensor,
        valid: torch.Tensor | None = None,
    ) -> ContrastiveLosses:
        """Evaluate Eq. 5; in training, put the features into the queues afterwards.

        Args:
            image_features: (B, C), any float dtype.
            text_features: (B, C).
            labels: (B,) 1 = fake, 0 = real.
            valid: (B,) bool, rows that take part (those that have a caption or a reasoning); None = all.

        Returns:
            Five scalars, float32 (float64 for float64 features), 0 with a graph where no row is valid.

        Raises:
            ValueError: Features that are not (B, C).
        """
        expected = (len(labels), self.feature_size)
        if image_features.shape != expected or text_features.shape != expected:
            raise ValueError(
                f"expected image and text features of shape {expected}, got {tuple(image_features.shape)} and "
                f"{tuple(text_features.shape)}"
            )
        samples = self.valid_samples(image_features, text_features, labels, valid)
        temperature = self.log_temperature.to(samples.image.dtype).exp()
        terms = forgery_alignment_terms(*samples, temperature, self.queue(), self.normalize, self.pool)
        if self.training:
            self.enqueue(samples)
        return ContrastiveLosses(torch.stack(terms).mean(), *terms)


__all__ = ["AlignmentTerms", "ContrastiveLosses", "ForgeryAlignedContrast", "forgery_alignment_terms"]
