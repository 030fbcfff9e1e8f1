"""Trainer for FakeReasoning (sections 4.4 and 5.1)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from torch import nn
from transformers import EvalPrediction

from forgescope.evaluation.ranking import roc_auc
from forgescope.modeling.classification_probability import find_pattern

from .adapters import AdapterTrainer
from .adapters_fakereasoning import projector_parameters
from .data_fakereasoning import LengthGroupSampler
from .trainer_diffseg import give_own_learning_rate
from .trainer_loss_parts import mean_parts

LOSS_PARTS = (
    "loss_lm",
    "loss_cpm",
    "loss_facl",
    "loss_image_to_text",
    "loss_text_to_image",
    "loss_image_to_image",
    "loss_text_to_text",
)


@dataclass(frozen=True)
class OptimizerConfig:
    """What the optimizer has beyond the fields of `TrainingArguments`.

    Args:
        projector_learning_rate: Learning rate of the projectors; None: `training.learning_rate`.
    """

    projector_learning_rate: float | None = None

    def __post_init__(self) -> None:
        if self.projector_learning_rate is not None and self.projector_learning_rate <= 0:
            raise ValueError(
                f"optimizer.projector_learning_rate must be above 0 (or null), got {self.projector_learning_rate}"
            )


def verdict_logits(logits: torch.Tensor, labels: torch.Tensor, real_token_id: int, fake_token_id: int) -> torch.Tensor:
    """How much likelier "fake" than "real" is where the answer that is taught gives its verdict.

    Args:
        logits: (B, L, V), teacher-forced.
        labels: (B, L), -100 = not taught. The verdict is its last token real or fake.
        real_token_id: Of "real".
        fake_token_id: Of "fake".

    Returns:
        (B,) float32 z_fake - z_real, above 0 = fake; NaN where an answer has no verdict. Eq. 8 divides it by tau,
        which changes neither its sign nor its order.
    """
    ids = labels.new_tensor([real_token_id, fake_token_id])
    steps = torch.arange(labels.shape[1], device=labels.device)
    last = torch.where(torch.isin(labels, ids), steps, 0).amax(dim=1)  # token 0 begins the prompt
    at_verdict = logits[torch.arange(len(labels), device=labels.device), (last - 1).clamp(min=0)]
    real, fake = at_verdict[:, ids].float().unbind(-1)
    return (fake - real).where(last > 0, torch.nan)


def verdict_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """Scores of verdicts.

    Args:
        prediction: `predictions` = (`verdict_logits` (N,), whether the conclusion was found in the predicted tokens
            (N,), loss parts (N, 7)), `label_ids` (N,), as `FakeReasoningTrainer.prediction_step` gives them.

    Returns:
        `accuracy` and `auc` of the verdicts (without `auc` where one of the classes is absent), `conclusion_found`
        (the share of answers), and the parts of the loss.
    """
    scores, found, parts = prediction.predictions
    labels = np.asarray(prediction.label_ids)
    given = np.isfinite(scores)
    metrics = {"conclusion_found": float(np.mean(found))}
    if given.any():
        metrics["accuracy"] = float(((scores[given] >= 0) == labels[given]).mean())
        metrics["auc"] = roc_auc(scores[given], labels[given])
    metrics |= mean_parts(parts, LOSS_PARTS)
    return {name: value for name, value in metrics.items() if np.isfinite(value)}


class FakeReasoningTrainer(AdapterTrainer):
    """A `Trainer` that logs every part of Eq. 11, and evaluates verdicts on answers that are given (no generation).

    Logged beside `loss`: `loss_lm` (Eq. 10), `loss_cpm` (Eq. 9), `loss_facl` (Eq. 5) and its four terms, unweighted
    means since the last log, over all processes. Evaluated: see `verdict_metrics`; 9 numbers an image are kept.

    Every loss is a mean over its batch: over tokens (Eq. 10), over answers whose conclusion was found (Eq. 9), over
    images (Eq. 5). A step with gradient accumulation, or of several processes, is the mean of its batches' losses. It
    equals one large batch where these have as many tokens and found conclusions each. Processes share the batch of
    Eq. 5, accumulated batches its queues.

    Args:
        model: What `add_adapters` gives.
        *args: As `Trainer`.
        optimizer_config: Learning rate of the projectors.
        **kwargs: As `AdapterTrainer`; the training set is a `FakeReasoningDataset`.
    """

    loss_parts = LOSS_PARTS

    def __init__(
        self,
        model: PeftModel,
        *args: Any,
        optimizer_config: OptimizerConfig | None = None,
        **kwargs: Any,
    ):
        kwargs.setdefault("compute_metrics", verdict_metrics)
        super().__init__(model, *args, **kwargs)
        self.optimizer_config = optimizer_config or OptimizerConfig()

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """The optimizer of the `TrainingArguments`, with a group of its own for the projectors."""
        if self.optimizer is None:
            optimizer = super().create_optimizer(model)
            rate = self.optimizer_config.projector_learning_rate
            if rate is not None:
                unwrapped = self.accelerator.unwrap_model(self.model if model is None else model)
                give_own_learning_rate(optimizer, projector_parameters(unwrapped), rate / self.args.learning_rate)
        return self.optimizer

    def _get_train_sampler(self, train_dataset: Any = None) -> torch.utils.data.Sampler | None:
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(train_dataset)
        dataset = self.train_dataset if train_dataset is None else train_dataset
        return LengthGroupSampler(dataset, self.get_total_train_batch_size(self.args), self.args.seed)

    def _get_eval_sampler(self, eval_dataset: Any) -> torch.utils.data.Sampler | None:
        # in the order of the data, also where training batches are grouped by length
        return torch.utils.data.SequentialSampler(eval_dataset) if self.args.world_size <= 1 else None

    def image_results(
        self, outputs: Any, inputs: dict[str, torch.Tensor], config: Any
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """`verdict_logits` (B,) and whether the conclusion was found in the predicted tokens (B,)."""
        scores = verdict_logits(outputs.logits, inputs["labels"], config.real_token_id, config.fake_token_id)
        found = find_pattern(outputs.logits.argmax(dim=-1), config.conclusion_pattern_ids) >= 0
        return (scores, found.float()), inputs["forgery_labels"]
