import doctest
import math

import pytest
import torch
import torch.nn.functional as F

from forgescope.modeling import loss_contrastive
from forgescope.modeling.loss_contrastive import (
    intra_image_contrastive_loss,
    region_counts,
    sample_region,
    sampled_weights,
    weighted_contrastive_loss,
)


def loop_twin(features, mask, temperature, normalize_negatives=False, ignore_index=255):
    """Eq. 2 word for word: Python loops over the pixels of each image, features expanded to the mask (nearest)."""
    expanded = F.interpolate(features, size=mask.shape[-2:], mode="nearest")
    losses = []
    for image, truth in zip(expanded, mask, strict=True):
        forged, real = [], []
        for row in range(truth.shape[0]):
            for column in range(truth.shape[1]):
                if truth[row, column] != ignore_index:
                    (forged if truth[row, column] == 1 else real).append(image[:, row, column])
        if not forged or not real:
            losses.append(0.0)
            continue
        total = 0.0
        for anchor in forged:
            numerator = sum(math.exp(F.cosine_similarity(anchor, other, dim=0) / temperature) for other in forged)
            denominator = sum(math.exp(F.cosine_similarity(anchor, other, dim=0) / temperature) for other in real)
            if normalize_negatives:
                denominator /= len(real)
            total -= math.log(numerator / len(forged) / denominator)
        losses.append(total / len(forged))
    return sum(losses) / len(losses)


@pytest.fixture
def features():
    return torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def mask():
    mask = torch.zeros(2, 6, 8, dtype=torch.long)
    mask[0, 1:4, 2:5] = 1
    mask[1, 5, :] = 1
    mask[1, :2, 6:] = 255
    return mask


@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize("normalize_negatives", [False, True])
def test_grid_form_equals_loops_over_pixels(features, mask, temperature, normalize_negatives):
    loss = intra_image_contrastive_loss(features, mask, temperature, normalize_negatives=normalize_negatives)
    assert loss.item() == pytest.approx(loop_twin(features, mask, temperature, normalize_negatives), rel=1e-9)


@pytest.mark.parametrize("size", [(6, 8), (7, 9), (3, 4), (2, 3)])
def test_grid_form_equals_loops_for_any_mask_size(features, size):
    mask = torch.randint(0, 2, (2, *size), generator=torch.Generator().manual_seed(5))
    loss = intra_image_contrastive_loss(features, mask, 0.5)
    assert loss.item() == pytest.approx(loop_twin(features, mask, 0.5), rel=1e-9)


def test_region_counts_follow_nearest_upsampling(mask):
    counts = region_counts(mask, 3, 4)
    cells = torch.arange(12.0).reshape(1, 1, 3, 4)
    owner = F.interpolate(cells, size=(6, 8), mode="nearest")[0, 0].long()
    for image in range(2):
        for cell in range(12):
            assert counts[image, 0, cell] == ((owner == cell) & (mask[image] == 1)).sum()
            assert counts[image, 1, cell] == ((owner == cell) & (mask[image] == 0)).sum()
    assert counts.sum() == (mask != 255).sum()


def test_normalized_negatives_shift_by_the_logarithm_of_their_number(features, mask):
    literal = intra_image_contrastive_loss(features[:1], mask[:1], 0.1)
    normalized = intra_image_contrastive_loss(features[:1], mask[:1], 0.1, normalize_negatives=True)
    assert (literal - normalized).item() == pytest.approx(math.log(48 - 9), rel=1e-9)


def test_hand_value():
    # one forged vector, one real at a right angle: -log(e^(1/tau) / 1) = -1/tau
    features = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    loss = weighted_contrastive_loss(features, torch.tensor([3.0, 0.0]), torch.tensor([0.0, 1.0]), temperature=0.5)
    assert loss.item() == pytest.approx(-2.0, rel=1e-6)


def test_multiplicities_equal_repeated_vectors():
    vectors = torch.randn(3, 4, generator=torch.Generator().manual_seed(3))
    forged, real = torch.tensor([2.0, 1.0, 0.0]), torch.tensor([0.0, 3.0, 2.0])
    repeated = vectors[[0, 0, 1, 1, 1, 1, 2, 2]]
    ones = torch.tensor([1.0, 1.0, 1.0, 0, 0, 0, 0, 0])
    expected = weighted_contrastive_loss(repeated, ones, 1 - ones, 0.1)
    assert weighted_contrastive_loss(vectors, forged, real, 0.1).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("value", [0, 1, 255])
def test_an_image_with_one_region_contributes_zero(features, mask, value):
    expected = intra_image_contrastive_loss(features[:1], mask[:1], 0.1) / 2
    both = mask.clone()
    both[1] = value
    features.requires_grad_()
    loss = intra_image_contrastive_loss(features, both, 0.1)
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    assert features.grad[1].abs().max() == 0
    assert features.grad[0].abs().max() > 0


def test_ignored_pixels_change_nothing(features, mask):
    enlarged = F.pad(mask, (0, 8, 0, 6), value=255)
    wide = F.pad(features, (0, 4, 0, 3), value=7.0)
    loss = intra_image_contrastive_loss(wide, enlarged, 0.1)
    assert loss.item() == pytest.approx(intra_image_contrastive_loss(features, mask, 0.1).item(), rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("temperature", [0.005, 0.07])
def test_finite_where_exponentials_overflow(features, mask, dtype, temperature):
    # exp(1 / 0.07) overflows float16, exp(1 / 0.005) float64's sums in float32
    inputs = features.to(dtype).requires_grad_()
    loss = intra_image_contrastive_loss(inputs, mask, temperature)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(loop_twin(inputs.detach().double(), mask, temperature), rel=1e-4)
    assert torch.isfinite(inputs.grad).all()


def test_empty_region_is_zero_where_a_float16_sum_overflows():
    features = torch.full((1, 8, 16, 16), 60000.0, dtype=torch.float16, requires_grad=True)
    loss = intra_image_contrastive_loss(features, torch.zeros(1, 16, 16, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0
    assert features.grad.abs().max() == 0


def test_zero_vectors_stay_finite():
    loss = intra_image_contrastive_loss(torch.zeros(1, 4, 2, 2), torch.tensor([[[1, 1], [0, 0]]]), 1.0)
    assert loss.item() == pytest.approx(math.log(2), rel=1e-6)


@pytest.mark.parametrize("normalize_negatives", [False, True])
def test_gradient(features, mask, normalize_negatives):
    features.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda inputs: intra_image_contrastive_loss(inputs, mask, 0.3, normalize_negatives=normalize_negatives),
        features,
    )


def test_sampling_takes_everything_below_the_limit(features, mask):
    sampled = intra_image_contrastive_loss(features, mask, 0.1, mode="sampled", max_vectors=48)
    assert torch.equal(sampled, intra_image_contrastive_loss(features, mask, 0.1, mode="grid"))


def test_sampling_draws_the_limit_from_each_region_without_replacement(mask):
    torch.manual_seed(0)
    full = region_counts(mask[:1], 3, 4)[0]
    forged, real = sampled_weights(mask[0], 3, 4, limit=5)
    assert (forged.sum(), real.sum()) == (5, 5)
    assert (forged <= full[0]).all()
    assert (real <= full[1]).all()
    positions = sample_region(mask[0].flatten() == 1, 5)
    assert len(positions.unique()) == 5
    assert (mask[0].flatten()[positions] == 1).all()


def test_sampling_follows_the_seed_and_comes_close(features):
    mask = torch.zeros(2, 48, 64, dtype=torch.long)
    mask[:, :20, :30] = 1
    torch.manual_seed(7)
    first = intra_image_contrastive_loss(features, mask, 0.5, "sampled", 300, normalize_negatives=True)
    torch.manual_seed(7)
    again = intra_image_contrastive_loss(features, mask, 0.5, "sampled", 300, normalize_negatives=True)
    exact = intra_image_contrastive_loss(features, mask, 0.5, "grid", normalize_negatives=True)
    assert torch.equal(first, again)
    assert first.item() == pytest.approx(exact.item(), abs=0.05)
    assert first.item() != exact.item()


def test_docstring_examples():
    results = doctest.testmod(loss_contrastive, extraglobs={"torch": torch})
    assert results.attempted >= 3
    assert results.failed == 0
