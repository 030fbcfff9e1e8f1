import itertools
import math

import pytest
import torch
import torch.nn.functional as F

# Table 7: weights of classification, AI mask and manipulation mask
TABLE_7 = [(2, 1, 1), (2, 3, 1), (2, 1, 2), (2, 2, 1)]
WEIGHT_NAMES = ("classification_loss_weight", "ai_loss_weight", "manipulation_loss_weight")


def cross_entropy(logit: float, target: float) -> float:
    probability = 1 / (1 + math.exp(-logit))
    return -math.log(probability if target == 1 else 1 - probability)


def upsample_twin(image: list[list[float]], height: int, width: int) -> list[list[float]]:
    """Bilinear interpolation at pixel centres (Eq. 4), one output pixel after the other."""

    def sources(index, count, wanted):
        position = min(max((index + 0.5) * count / wanted - 0.5, 0), count - 1)
        low = int(position)
        return low, min(low + 1, count - 1), position - low

    rows = []
    for row in range(height):
        top, bottom, down = sources(row, len(image), height)
        line = []
        for column in range(width):
            left, right, across = sources(column, len(image[0]), width)
            upper = image[top][left] * (1 - across) + image[top][right] * across
            lower = image[bottom][left] * (1 - across) + image[bottom][right] * across
            line.append(upper * (1 - down) + lower * down)
        rows.append(line)
    return rows


def mask_twin(logits: torch.Tensor, masks: torch.Tensor) -> float:
    """Mean over the valid pixels of an image, then over images; 0 for an image without any."""
    images = []
    for scores, mask in zip(logits[:, 0].tolist(), masks.tolist(), strict=True):
        scores = upsample_twin(scores, len(mask), len(mask[0]))
        pixels = [
            cross_entropy(score, value)
            for score_row, row in zip(scores, mask, strict=True)
            for score, value in zip(score_row, row, strict=True)
            if value != 255
        ]
        images.append(sum(pixels) / max(len(pixels), 1))
    return sum(images) / len(images)


def masks_of(size: tuple[int, int], seed: int, padding: bool = True) -> torch.Tensor:
    """(2, h, w) random masks; the last rows of the first image do not count."""
    masks = torch.randint(0, 2, (2, *size), generator=torch.Generator().manual_seed(seed))
    if padding:
        masks[0, -size[0] // 4 :] = 255
    return masks


@pytest.mark.parametrize("size", [(16, 16), (64, 64), (23, 37)])
def test_every_part_equals_the_slow_twin(tiny_gamma, pixel_values, size):
    masks = {"manipulation_mask": masks_of(size, 0), "ai_mask": masks_of(size, 1)}
    with torch.no_grad():
        outputs = tiny_gamma()(pixel_values, labels=torch.tensor([1, 0]), **masks)
    verdict = [cross_entropy(z, label) for z, label in zip(outputs.logits[:, 1].tolist(), (1, 0), strict=True)]
    expected = {
        "loss_classification": sum(verdict) / 2,
        "loss_ai": mask_twin(outputs.ai_logits, masks["ai_mask"]),
        "loss_manipulation": mask_twin(outputs.manipulation_logits, masks["manipulation_mask"]),
    }
    for name, value in expected.items():
        assert outputs[name].item() == pytest.approx(value, rel=1e-5), name
    # Eq. 6 with alpha 2
    total = 2 * (expected["loss_classification"] + expected["loss_ai"]) + expected["loss_manipulation"]
    assert outputs.loss.item() == pytest.approx(total, rel=1e-5)


def test_full_resolution_masks_are_compared_with_upsampled_logits(tiny_gamma, pixel_values):
    masks = masks_of((64, 64), 0, padding=False)
    with torch.no_grad():
        outputs = tiny_gamma()(pixel_values, labels=torch.tensor([1, 0]), ai_mask=masks)
        enlarged = F.interpolate(outputs.ai_logits, scale_factor=4, mode="bilinear", align_corners=False)
    twin = torch.tensor([upsample_twin(image, 64, 64) for image in outputs.ai_logits[:, 0].tolist()])
    torch.testing.assert_close(enlarged[:, 0], twin, rtol=1e-5, atol=1e-6)
    expected = F.binary_cross_entropy_with_logits(enlarged[:, 0], masks.float())
    torch.testing.assert_close(outputs.loss_ai, expected)


@pytest.mark.parametrize("weights", TABLE_7)
def test_weights_of_table_7(tiny_gamma, pixel_values, gamma_targets, weights):
    outputs = tiny_gamma(**dict(zip(WEIGHT_NAMES, map(float, weights), strict=True)))(pixel_values, **gamma_targets)
    parts = (outputs.loss_classification, outputs.loss_ai, outputs.loss_manipulation)
    expected = sum(weight * part for weight, part in zip(weights, parts, strict=True))
    torch.testing.assert_close(outputs.loss, expected)


@pytest.mark.parametrize("given", list(itertools.product([False, True], repeat=2)))
def test_missing_masks_leave_their_term_out(tiny_gamma, pixel_values, gamma_targets, given):
    model = tiny_gamma()
    everything = model(pixel_values, **gamma_targets)
    kept = {name for name, wanted in zip(("manipulation", "ai"), given, strict=True) if wanted}
    targets = {"labels": gamma_targets["labels"]} | {f"{name}_mask": gamma_targets[f"{name}_mask"] for name in kept}
    outputs = model(pixel_values, **targets)
    expected = 2 * everything.loss_classification
    for name, weight in (("ai", 2), ("manipulation", 1)):
        if name in kept:
            torch.testing.assert_close(outputs[f"loss_{name}"], everything[f"loss_{name}"])
            expected = expected + weight * everything[f"loss_{name}"]
        else:
            assert outputs.get(f"loss_{name}") is None
    torch.testing.assert_close(outputs.loss, expected)


def test_a_mask_without_its_head_is_ignored(tiny_gamma, pixel_values, gamma_targets):
    outputs = tiny_gamma(use_ai_head=False)(pixel_values, **gamma_targets)
    assert outputs.get("loss_ai") is None
    torch.testing.assert_close(outputs.loss, 2 * outputs.loss_classification + outputs.loss_manipulation)


def test_masks_without_labels_give_no_loss(tiny_gamma, pixel_values, gamma_targets):
    del gamma_targets["labels"]
    assert set(tiny_gamma()(pixel_values, **gamma_targets)) == {"logits", "ai_logits", "manipulation_logits"}


def test_ignored_pixels_do_not_count(tiny_gamma, pixel_values, gamma_targets):
    model = tiny_gamma()
    second = model(pixel_values[1:], **{name: value[1:] for name, value in gamma_targets.items()})
    for name in ("manipulation_mask", "ai_mask"):
        gamma_targets[name][0] = 255
    both = model(pixel_values, **gamma_targets)
    for part in ("loss_ai", "loss_manipulation"):
        torch.testing.assert_close(both[part], second[part] / 2)
    nothing = {name: torch.full((2, 16, 16), 255) for name in ("manipulation_mask", "ai_mask")}
    outputs = model(pixel_values, labels=gamma_targets["labels"], **nothing)
    outputs.loss.backward()
    assert outputs.loss_ai.item() == outputs.loss_manipulation.item() == 0
    assert all(torch.isfinite(one.grad).all() for one in model.parameters() if one.grad is not None)


def test_another_value_may_mean_ignored(tiny_gamma, pixel_values, gamma_targets):
    expected = tiny_gamma()(pixel_values, **gamma_targets)
    model = tiny_gamma(label_ignore_index=7)
    marked = {name: value.clone() for name, value in gamma_targets.items()}
    marked["ai_mask"][0, :8] = 7
    gamma_targets["ai_mask"][0, :8] = 255
    reference = tiny_gamma()(pixel_values, **gamma_targets)
    torch.testing.assert_close(model(pixel_values, **marked).loss, reference.loss)
    assert not torch.allclose(reference.loss, expected.loss)


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.bool, torch.float32])
def test_forms_of_the_labels(tiny_gamma, pixel_values, shape, dtype):
    labels = torch.tensor([1, 0]).reshape(shape).to(dtype)
    expected = tiny_gamma()(pixel_values, labels=torch.tensor([1, 0])).loss
    torch.testing.assert_close(tiny_gamma()(pixel_values, labels=labels).loss, expected)


def test_gradient_of_the_loss(tiny_gamma):
    """Eq. 6 in float64, with upsampling and pixels that do not count, against differences."""
    model = tiny_gamma().double()
    generator = torch.Generator().manual_seed(0)
    fake = torch.randn(2, 1, generator=generator, dtype=torch.float64, requires_grad=True)
    maps = [torch.randn(2, 1, 3, 4, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    masks = {"ai": masks_of((8, 9), 0), "manipulation": masks_of((3, 4), 1)}

    def loss(fake, ai, manipulation):
        logits = {"ai": ai, "manipulation": manipulation}
        return model._losses(fake, logits, torch.tensor([1, 0]), masks)["loss"]

    assert loss(fake, *maps).dtype == torch.float64
    assert torch.autograd.gradcheck(loss, (fake, *maps))


def test_the_whole_model_has_the_gradients_of_its_loss(tiny_gamma, pixel_values, gamma_targets):
    """A step along the gradient changes the loss by the gradient's squared norm."""
    model = tiny_gamma(cross_attention="dual", cross_attention_tokens="spatial").double()
    pixels = pixel_values.double()
    loss = model(pixels, **gamma_targets).loss
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    step = 1e-6
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                parameter += step * gradient
        change = (model(pixels, **gamma_targets).loss - loss).item() / step
    squared = sum(one.square().sum().item() for one in gradients if one is not None)
    assert change == pytest.approx(squared, rel=1e-3)
