import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import SegformerConfig, SegformerModel

from forgescope.trainers.high_pass_start import StartConfig, first_convolution, start_with_high_pass


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return SegformerModel(
        SegformerConfig(depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 16, 16], num_attention_heads=[1, 1, 1, 1])
    )


def first_filters(encoder):
    return encoder.stages[0].patch_embeddings.proj.weight.detach().clone()


def test_share_and_norm(encoder):
    before = first_filters(encoder)
    start_with_high_pass(first_convolution(encoder), StartConfig(high_pass_gain=30.0, high_pass_share=0.75))
    after = first_filters(encoder)
    assert torch.equal(after[:2], before[:2])
    torch.testing.assert_close(after[2:].flatten(1).norm(dim=1), torch.full((6,), 30.0))


def test_blind_to_constants_and_ramps(encoder):
    start_with_high_pass(first_convolution(encoder), StartConfig(high_pass_gain=1.0, high_pass_share=1.0))
    rows, columns = torch.meshgrid(torch.arange(7.0), torch.arange(7.0), indexing="ij")
    for plane in (torch.ones(7, 7), rows, columns, 3 - rows + 0.5 * columns):
        answer = F.conv2d(plane.expand(1, 3, 7, 7), first_filters(encoder))
        assert answer.abs().max() < 1e-4
    answer = F.conv2d(torch.randn(1, 3, 7, 7), first_filters(encoder))
    assert answer.abs().max() > 0.1


def test_no_gain_changes_nothing(encoder):
    before = first_filters(encoder)
    start_with_high_pass(first_convolution(encoder), StartConfig())
    assert torch.equal(first_filters(encoder), before)


def test_follows_the_global_seed(encoder):
    config = StartConfig(high_pass_gain=30.0)
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        start_with_high_pass(first_convolution(encoder), config)
        drawn.append(first_filters(encoder))
    assert torch.equal(*drawn)


@pytest.mark.parametrize("size", [3, 4, 11])
def test_any_convolution_will_do(size):
    convolution = nn.Conv2d(3, 8, size, bias=False)
    start_with_high_pass(convolution, StartConfig(high_pass_gain=2.0, high_pass_share=1.0))
    torch.testing.assert_close(convolution.weight.detach().flatten(1).norm(dim=1), torch.full((8,), 2.0))
    ramp = torch.arange(float(size)).expand(1, 3, size, size)
    assert convolution(ramp).abs().max() < 1e-4


def test_filters_that_are_too_small_are_refused():
    with pytest.raises(ValueError, match="filters of at least 3 x 3 pixels, got 2 x 2: leave it out"):
        start_with_high_pass(nn.Conv2d(3, 8, 2), StartConfig(high_pass_gain=2.0))


@pytest.mark.parametrize(
    ("settings", "message"), [({"high_pass_gain": 0.0}, "gain"), ({"high_pass_share": 0.0}, "share")]
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=f"start.high_pass_{message} must"):
        StartConfig(**settings)
