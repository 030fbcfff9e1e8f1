import math

import pytest
import torch
import torch.nn.functional as F

from forgescope.modeling.loss_segmentation import binary_dice_loss, binary_focal_loss, binary_mask_cross_entropy

every_loss = pytest.mark.parametrize("loss", [binary_focal_loss, binary_dice_loss, binary_mask_cross_entropy])


def focal_twin(logits, target, gamma, alpha, ignore_index=255):
    """Lin et al., Eq. 5, pixel by pixel."""
    images = []
    for scores, truth in zip(logits, target, strict=True):
        pixels = []
        for score, value in zip(scores.flatten().tolist(), truth.flatten().tolist(), strict=True):
            if value == ignore_index:
                continue
            probability = 1 / (1 + math.exp(-score))
            right = probability if value == 1 else 1 - probability
            weight = 1.0 if alpha is None else alpha if value == 1 else 1 - alpha
            pixels.append(-weight * (1 - right) ** gamma * math.log(right))
        images.append(sum(pixels) / max(len(pixels), 1))
    return sum(images) / len(images)


def dice_twin(logits, target, smooth, ignore_index=255):
    """1 - (2 sum(p m) + s) / (sum(p) + sum(m) + s), pixel by pixel."""
    images = []
    for scores, truth in zip(logits, target, strict=True):
        overlap = predicted = marked = 0.0
        for score, value in zip(scores.flatten().tolist(), truth.flatten().tolist(), strict=True):
            if value != ignore_index:
                probability = 1 / (1 + math.exp(-score))
                overlap += probability * (value == 1)
                predicted += probability
                marked += value == 1
        images.append(1 - (2 * overlap + smooth) / (predicted + marked + smooth))
    return sum(images) / len(images)


@pytest.fixture
def logits():
    return 3 * torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def target():
    target = torch.zeros(2, 4, 5, dtype=torch.long)
    target[0, 1:3, 1:4] = 1
    target[1, :, 0] = 255
    target[1, 2:, 3:] = 1
    return target


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("alpha", [None, 0.25, 0.75])
def test_focal_equals_loop(logits, target, gamma, alpha):
    loss = binary_focal_loss(logits, target, gamma, alpha)
    assert loss.item() == pytest.approx(focal_twin(logits, target, gamma, alpha), rel=1e-9)


def test_focal_without_focusing_is_cross_entropy(logits, target):
    target[target == 255] = 0
    expected = F.binary_cross_entropy_with_logits(logits, target.double())
    assert binary_focal_loss(logits, target, gamma=0, alpha=None).item() == pytest.approx(expected.item(), rel=1e-12)


def test_cross_entropy_equals_the_loop_and_torchs_own(logits, target):
    loss = binary_mask_cross_entropy(logits, target).item()
    assert loss == pytest.approx(focal_twin(logits, target, 0, None), rel=1e-9)
    target[target == 255] = 0
    expected = F.binary_cross_entropy_with_logits(logits, target.double())
    assert binary_mask_cross_entropy(logits, target).item() == pytest.approx(expected.item(), rel=1e-12)


def test_focal_at_one_half_has_a_closed_form():
    loss = binary_focal_loss(torch.zeros(1, 2, 2), torch.tensor([[[1, 1], [1, 1]]]), gamma=2, alpha=0.25)
    assert loss.item() == pytest.approx(0.25 * 0.25 * math.log(2), rel=1e-6)


@pytest.mark.parametrize("smooth", [1.0, 0.1])
def test_dice_equals_loop(logits, target, smooth):
    assert binary_dice_loss(logits, target, smooth).item() == pytest.approx(
        dice_twin(logits, target, smooth), rel=1e-9
    )


def test_dice_by_hand():
    target = torch.tensor([[[1, 1], [0, 0]]])
    right, wrong = torch.tensor([[[40.0, 40], [-40, -40]]]), torch.tensor([[[-40.0, -40], [40, 40]]])
    assert binary_dice_loss(right, target).item() == pytest.approx(0, abs=1e-6)
    # no overlap, two predicted, two marked: 1 - 1 / (2 + 2 + 1)
    assert binary_dice_loss(wrong, target).item() == pytest.approx(0.8, rel=1e-6)
    # half everywhere: 1 - (2 * 1 + 1) / (2 + 2 + 1)
    assert binary_dice_loss(torch.zeros(1, 2, 2), target).item() == pytest.approx(0.4, rel=1e-6)
    # nothing marked and nothing predicted is right
    assert binary_dice_loss(torch.full((1, 2, 2), -40.0), 0 * target).item() == pytest.approx(0, abs=1e-6)


@every_loss
def test_ignored_pixels_change_nothing(loss, logits, target):
    wide = F.pad(logits, (0, 3), value=9.0)
    padded = F.pad(target, (0, 3), value=255)
    assert loss(wide, padded).item() == pytest.approx(loss(logits, target).item(), rel=1e-12)


@every_loss
def test_an_image_of_ignored_pixels_contributes_nothing(loss):
    logits = torch.randn(1, 3, 3, requires_grad=True)
    result = loss(logits, torch.full((1, 3, 3), 255))
    result.backward()
    assert result.item() == 0
    assert logits.grad.abs().max() == 0


@every_loss
def test_channel_axis_is_optional(loss, logits, target):
    assert torch.equal(loss(logits[:, None], target), loss(logits, target))


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_finite_for_extreme_logits(loss, dtype):
    logits = torch.tensor([[[-1000.0, 1000.0], [1000.0, -1000.0]]], dtype=dtype, requires_grad=True)
    result = loss(logits, torch.tensor([[[1, 0], [1, 0]]]))
    result.backward()
    assert result.dtype == torch.float32
    assert torch.isfinite(result)
    assert torch.isfinite(logits.grad).all()


@every_loss
def test_gradient(loss, logits, target):
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda inputs: loss(inputs, target), logits)
