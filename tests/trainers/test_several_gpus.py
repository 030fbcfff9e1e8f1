"""One process that sees several GPUs: losses come back as one of each GPU, and large models are refused."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from transformers import PreTrainedConfig, TrainingArguments
from transformers.utils import ModelOutput

from forgescope.trainers.train_legion_detection import build_trainer, detection_recipe
from forgescope.trainers.trainer_loss_parts import LossPartsTrainer, mean_parts

VALUES = (1.0, 4.0)


@dataclass
class Output(ModelOutput):
    """What a network with two terms gives, of which the second is switched off."""

    loss: torch.Tensor | None = None
    loss_one: torch.Tensor | None = None
    loss_two: torch.Tensor | None = None


class TwoGpus(nn.Module):
    """What `DataParallel` gives where there are two GPUs: every scalar of the output became a vector of two."""

    def __init__(self):
        super().__init__()
        self.config = PreTrainedConfig()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x):
        values = self.weight * torch.tensor(VALUES)
        return Output(loss=2 * values, loss_one=values)


class Trainer(LossPartsTrainer):
    """Logs both terms."""

    loss_parts = ("loss_one", "loss_two")


def test_parts_are_means_over_the_gpus(tmp_path):
    arguments = TrainingArguments(
        str(tmp_path), use_cpu=True, max_steps=2, logging_steps=1, learning_rate=0.0, report_to="none"
    )
    arguments._n_gpu = 2  # as where there are two; without any, DataParallel is the module that it wraps
    trainer = Trainer(TwoGpus(), arguments, train_dataset=[{"x": 0.0}] * 8)
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert [(entry["loss"], entry["loss_one"]) for entry in logs] == [(5.0, 2.5)] * 2
    assert not any("loss_two" in entry for entry in logs)
    parts = trainer.batch_results(TwoGpus()(None), 3)[0].detach()
    assert parts.shape == (3, 2)
    assert mean_parts(np.asarray(parts), Trainer.loss_parts) == {"loss_one": 2.5}


def test_stage_two_of_legion_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(TrainingArguments, "n_gpu", 2)
    with pytest.raises(ValueError, match="sees 2 GPUs: .* -m forgescope train legion-detection ..., or show"):
        build_trainer({}, detection_recipe(), str(tmp_path), base=str(tmp_path))
