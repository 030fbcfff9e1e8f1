"""Trainer for DiffSeg30k's baselines (section 4.1)."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import EvalPrediction, PreTrainedModel

from .pixel_counts import class_counts, pooled_class_scores
from .trainer_loss_parts import ImageResultsTrainer

# Modules of the three networks that hold weights which can be pre-trained; everything else is their head.
ENCODERS = ("encoder.", "backbone.")


@dataclass(frozen=True)
class OptimizerConfig:
    """What the optimizer has beyond the fields of `TrainingArguments`.

    Args:
        head_learning_rate_factor: Learning rate of everything behind the encoder or backbone, as a multiple of
            `training.learning_rate`. Not given in the paper.
    """

    head_learning_rate_factor: float = 1.0

    def __post_init__(self) -> None:
        if self.head_learning_rate_factor <= 0:
            raise ValueError(
                f"optimizer.head_learning_rate_factor must be above 0, got {self.head_learning_rate_factor}"
            )


def edit_metrics(prediction: EvalPrediction, names: tuple[str, ...]) -> dict[str, float]:
    """Scores of `pooled_class_scores` from the confusion matrices that `DiffSegTrainer.image_results` keeps.

    Args:
        prediction: `predictions` = (counts (N, C, C),).
        names: Of the classes 1 to C - 1.
    """
    (counts,) = prediction.predictions
    return pooled_class_scores(counts, names)


class DiffSegTrainer(ImageResultsTrainer):
    """A `Trainer` that can train the head faster than the encoder, and evaluates pixels without keeping masks.

    Evaluated: pixel accuracy, mean IoU without the background, and the IoU of each class (section 4.1), from counts
    pooled over the set; C x C numbers an image are kept. How the paper averages over images is not given.

    DeepLabv3+ and SegFormer's decoder normalise over the batch: see `GammaTrainer` on several processes and on
    gradient accumulation.

    Args:
        model: A `DiffSegForEditSegmentation`.
        *args: As `Trainer`.
        optimizer_config: Learning rate of the head.
        **kwargs: As `Trainer`.
    """

    def __init__(
        self, model: PreTrainedModel, *args: Any, optimizer_config: OptimizerConfig | None = None, **kwargs: Any
    ):
        names = tuple(name for index, name in sorted(model.config.id2label.items()) if index)
        kwargs.setdefault("compute_metrics", partial(edit_metrics, names=names))
        super().__init__(model, *args, **kwargs)
        self.optimizer_config = optimizer_config or OptimizerConfig()

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """The optimizer of the `TrainingArguments`, with groups of their own for the head's parameters."""
        if self.optimizer is None:
            optimizer = super().create_optimizer(model)
            segmenter = self.accelerator.unwrap_model(self.model if model is None else model).segmenter
            give_own_learning_rate(
                optimizer, head_parameters(segmenter), self.optimizer_config.head_learning_rate_factor
            )
        return self.optimizer

    def image_results(
        self, outputs: Any, inputs: dict[str, torch.Tensor], config: Any
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """Confusion matrices (B, C, C) at the resolution of the labels; image labels play no part."""
        labels = inputs["labels"]
        logits = outputs.logits.float()
        if logits.shape[-2:] != labels.shape[-2:]:
            logits = nn.functional.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
        counts = class_counts(logits, labels, config.label_ignore_index)
        return (counts,), torch.zeros(len(labels), device=labels.device)


def head_parameters(segmenter: nn.Module) -> list[nn.Parameter]:
    """Parameters of a network that lie behind its encoder or backbone."""
    return [parameter for name, parameter in segmenter.named_parameters() if not name.startswith(ENCODERS)]


def give_own_learning_rate(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], factor: float) -> None:
    """Move parameters of an optimizer that has made no step into groups whose learning rate is `factor` as high."""
    chosen = {id(parameter) for parameter in parameters}
    for group in list(optimizer.param_groups):
        own = [parameter for parameter in group["params"] if id(parameter) in chosen]
        group["params"] = [parameter for parameter in group["params"] if id(parameter) not in chosen]
        if own:
            optimizer.add_param_group({**group, "params": own, "lr": factor * group["lr"]})
