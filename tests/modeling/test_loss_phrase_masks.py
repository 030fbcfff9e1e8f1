"""Mask losses of LEGION against loops, and their gradients."""

import math

import pytest
import torch

from forgescope.modeling.loss_phrase_masks import dice_loss, phrase_mask_losses


def slow_losses(logits, masks, scale, eps):
    """The same by loops over pixels."""
    cross_entropies, dices = [], []
    for of_image, given in zip(logits, masks, strict=True):
        for one, mask in zip(of_image.tolist(), given.tolist(), strict=True):
            pixels = [(value, target) for row, line in zip(one, mask, strict=True) for value, target in zip(row, line)]  # noqa: B905
            probabilities = [1 / (1 + math.exp(-value)) for value, _ in pixels]
            terms = [
                -(target * math.log(p) + (1 - target) * math.log(1 - p))
                for p, (_, target) in zip(probabilities, pixels, strict=True)
            ]
            cross_entropies.append(sum(terms) / len(terms))
            overlap = 2 * sum(p / scale * target for p, (_, target) in zip(probabilities, pixels, strict=True))
            total = sum(probabilities) / scale + sum(target for _, target in pixels) / scale
            dices.append(1 - (overlap + eps) / (total + eps))
    return sum(cross_entropies) / len(cross_entropies), sum(dices) / len(dices)


@pytest.fixture
def batch():
    """Two masks of 5 x 7 pixels, none of 3 x 3, one of 4 x 2."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 5, 7), (0, 3, 3), (1, 4, 2)]
    logits = [3 * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    masks = [(torch.rand(shape, generator=generator) > 0.6).to(torch.uint8) for shape in shapes]
    return logits, masks


@pytest.mark.parametrize(("scale", "eps"), [(1000.0, 1e-6), (1.0, 0.5)])
def test_losses_equal_loops(batch, scale, eps):
    found = phrase_mask_losses(*batch, scale, eps)
    expected = slow_losses(*batch, scale, eps)
    assert [one.item() for one in found] == pytest.approx(list(expected), rel=1e-7)


def test_gradients(batch):
    logits, masks = batch
    logits = [one.requires_grad_() for one in logits]
    assert torch.autograd.gradcheck(lambda *given: phrase_mask_losses(given, masks), tuple(logits))


def test_every_mask_counts_the_same_whatever_its_image(batch):
    logits, masks = batch
    single = [
        phrase_mask_losses([one[None]], [mask[None]])
        for of_image, given in zip(logits, masks, strict=True)
        for one, mask in zip(of_image, given, strict=True)
    ]
    together = phrase_mask_losses(logits, masks)
    for index in range(2):
        mean = torch.stack([pair[index] for pair in single]).mean()
        torch.testing.assert_close(together[index], mean, rtol=1e-6, atol=0)


def test_perfect_and_disjoint_masks():
    mask = torch.zeros(1, 4, 4)
    mask[0, :2] = 1
    certain = 100 * (2 * mask - 1)
    assert dice_loss(certain, mask).item() == pytest.approx(0, abs=1e-5)
    assert dice_loss(-certain, mask).item() == pytest.approx(1, abs=1e-3)
    assert phrase_mask_losses([certain], [mask])[0].item() == pytest.approx(0, abs=1e-12)


def test_no_mask_at_all():
    logits = [torch.zeros(0, 4, 4, requires_grad=True)]
    cross_entropy, dice = phrase_mask_losses(logits, [torch.zeros(0, 4, 4)])
    assert cross_entropy == dice == 0
    (cross_entropy + dice).backward()


def test_bfloat16_is_computed_in_float32(batch):
    logits, masks = [one.bfloat16() for one in batch[0]], batch[1]
    found = phrase_mask_losses(logits, masks)
    expected = phrase_mask_losses([one.float() for one in logits], masks)
    assert [one.dtype for one in found] == [torch.float32, torch.float32]
    assert torch.equal(torch.stack(found), torch.stack(expected))


def test_masks_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"expected masks of shape \(1, 4, 4\), got \(1, 4, 5\)"):
        phrase_mask_losses([torch.zeros(1, 4, 4)], [torch.zeros(1, 4, 5)])
