"""What the trainers of the papers share: evaluation without keeping masks, and a log of every part of the loss."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn
from transformers import Trainer
from transformers.trainer_utils import TrainOutput


class ImageResultsTrainer(Trainer):
    """A `Trainer` whose evaluation keeps some numbers of each image; a subclass says which."""

    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        """Train; the thresholds stay, but the images that they were chosen on were judged by other weights."""
        config = self.accelerator.unwrap_model(self.model).config
        config.false_alarm_rate, config.calibration_images = None, 0
        return super().train(*args, **kwargs)

    def image_results(
        self, outputs: Any, inputs: dict[str, torch.Tensor], config: Any
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """Reduce a batch to what evaluation keeps.

        Args:
            outputs: Of the model.
            inputs: Of the model.
            config: Of the model.

        Returns:
            Tensors (B, ...) for `compute_metrics`, and the labels that it gets.
        """
        raise NotImplementedError

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[torch.Tensor | None, tuple[torch.Tensor, ...] | None, torch.Tensor | None]:
        """Reduce each image to some numbers at once, so that the size of a validation set does not matter."""
        inputs = self._prepare_inputs(inputs)
        config = self.accelerator.unwrap_model(model).config
        with torch.no_grad(), self.compute_loss_context_manager():
            loss, outputs = self.compute_loss(model, inputs, return_outputs=True)
        if prediction_loss_only:
            return loss, None, None
        results, labels = self.image_results(outputs, inputs, config)
        return loss.detach(), (*results, *self.batch_results(outputs, len(labels))), labels

    def batch_results(self, outputs: Any, images: int) -> tuple[torch.Tensor, ...]:
        """What evaluation keeps of a batch as a whole, repeated for each of its images."""
        return ()


class LossPartsTrainer(ImageResultsTrainer):
    """The same for a model whose loss has several parts.

    Logged beside `loss`: the outputs named in `loss_parts`, unweighted means since the last log, over all processes.
    `compute_metrics` gets them behind what `image_results` returns.
    """

    loss_parts: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._parts: list[torch.Tensor] = []

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, torch.Tensor], return_outputs: bool = False, **kwargs: Any
    ):
        """The model's loss; its parts are kept for the next log."""
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **kwargs)
        if model.training:
            self._parts.append(self._parts_of(outputs).detach())
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the parts of the loss to a training log."""
        if "loss" in logs and self._parts:
            means = self.accelerator.gather(torch.stack(self._parts).mean(dim=0)[None]).mean(dim=0)
            logs |= mean_parts(means[None].cpu(), self.loss_parts)
            self._parts.clear()
        super().log(logs, start_time)

    def batch_results(self, outputs: Any, images: int) -> tuple[torch.Tensor, ...]:
        """The parts of the loss (images, parts)."""
        return (self._parts_of(outputs).expand(images, -1),)

    def _parts_of(self, outputs: Any) -> torch.Tensor:
        """The parts of the loss, float32; NaN for a part that is switched off.

        Where one process has several GPUs, a part is given for each of them.
        """
        parts = [outputs.get(name) for name in self.loss_parts]
        off = outputs.loss.new_full((), float("nan"))
        return torch.stack([off if part is None else part.mean() for part in parts])


def mean_parts(parts: ArrayLike, names: tuple[str, ...]) -> dict[str, float]:
    """Means of the parts of the loss (N, parts) by name; a part that is switched off is left out."""
    means = np.asarray(parts, dtype=np.float64).mean(axis=0)
    return {name: float(mean) for name, mean in zip(names, means, strict=True) if np.isfinite(mean)}
