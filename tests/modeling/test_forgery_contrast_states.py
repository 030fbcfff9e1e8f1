"""The contrastive loss in checkpoints, in adapters and in two processes."""

import copy
import math

import pytest
import torch
import torch.multiprocessing as mp
from contrast_processes import BATCH, ProjectedContrast, batches, run_process, run_steps
from peft.utils import ModulesToSaveWrapper
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from forgescope.modeling.loss_forgery_alignment import ForgeryAlignedContrast

SIZE = 5


def samples(count):
    images, texts = torch.randn(2, count, SIZE, generator=torch.Generator().manual_seed(0))
    return images, texts, torch.arange(count) % 2


class TinyModel(PreTrainedModel):
    """A network that holds the loss as FakeReasoning does."""

    config: PreTrainedConfig

    def __init__(self, config):
        super().__init__(config)
        self.head = nn.Linear(SIZE, SIZE)
        self.contrast = ForgeryAlignedContrast(SIZE, 8, save_queue=config.save_queue)
        self.post_init()

    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, ForgeryAlignedContrast):
            module.reset_parameters()


@pytest.mark.parametrize("save_queue", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_save_and_load(tmp_path, save_queue, dtype):
    config = PreTrainedConfig(save_queue=save_queue)
    model = TinyModel(config).train()
    model.contrast(*samples(3))
    nn.init.constant_(model.contrast.log_temperature, -1.2345)
    model.to(dtype).save_pretrained(tmp_path)
    loaded = TinyModel.from_pretrained(tmp_path, config=config, dtype=dtype).contrast
    assert loaded.log_temperature.dtype == loaded.image_queue.dtype == torch.float32
    assert torch.equal(loaded.log_temperature, model.contrast.log_temperature)
    assert loaded.queue_filled == (3 if save_queue else 0)
    for mine, theirs in zip(loaded.queue(), model.contrast.queue(), strict=True):
        assert torch.equal(mine, theirs[: loaded.queue_filled.item()])
    loaded.reset_queue()
    assert loaded.queue_filled == 0


def test_a_checkpoint_without_the_loss_leaves_the_initial_state(tmp_path):
    config = PreTrainedConfig(save_queue=True)
    model = TinyModel(config)
    kept = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("head.")}
    model.save_pretrained(tmp_path, state_dict=kept)
    loaded = TinyModel.from_pretrained(tmp_path, config=config).contrast
    assert loaded.log_temperature.item() == pytest.approx(math.log(0.07))
    assert loaded.queue_filled == 0


def test_works_where_an_adapter_saves_it():
    contrast = ForgeryAlignedContrast(SIZE, 8)
    twin = copy.deepcopy(contrast)
    wrapped = ModulesToSaveWrapper(contrast, "default")
    batch = samples(4)
    for _ in range(2):
        loss = wrapped(*batch).loss
        assert loss == twin(*batch).loss
    loss.backward()
    assert wrapped.modules_to_save["default"].log_temperature.grad.abs() > 0
    assert wrapped.modules_to_save["default"].queue_filled == 8


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("contrast")
    mp.spawn(run_process, args=(folder / "store", folder / "result"), nprocs=2)
    return [torch.load(folder / f"result{rank}") for rank in range(2)]


def test_two_processes_equal_one(two_processes):
    """Also with different numbers of valid rows, none in one process, none at all."""
    whole = run_steps(ProjectedContrast(), slice(None))
    assert [len(step["queue"][2]) for step in whole] == [6, 8, 8, 8, 8]
    for steps in two_processes:
        for step, expected in zip(steps, whole, strict=False):  # the first process has an evaluation at the end
            torch.testing.assert_close(step["losses"], expected["losses"], rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(step["gradients"], expected["gradients"], rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(step["queue"], expected["queue"], rtol=1e-9, atol=1e-12)


def test_queues_of_two_processes_are_the_same(two_processes):
    for first, second in zip(*two_processes, strict=False):
        for mine, theirs in zip(first["queue"], second["queue"], strict=True):
            assert torch.equal(mine, theirs)


def test_one_of_two_processes_can_evaluate_alone(two_processes):
    model = ProjectedContrast()
    run_steps(model, slice(None))
    images, texts, labels, _ = next(batches())
    expected = model.eval()(images[:BATCH], texts[:BATCH], labels[:BATCH], None).loss.item()
    assert two_processes[0][-1]["evaluated"] == pytest.approx(expected, rel=1e-9)
