"""Semantic masks: Otsu against brute force, bounds, colour cue, backbones; real pairs where they are at hand."""

import csv

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from forgescope.construction.promptforge.align import Alignment, align, warp_and_crop
from forgescope.construction.promptforge.backbones import (
    CLASSICAL,
    DEFAULT_BACKBONE,
    FeatureSimilarity,
    default_device,
    load_backbone,
)
from forgescope.construction.promptforge.descriptors import ClassicalConfig, classical_similarity, describe
from forgescope.construction.promptforge.semantic import (
    MaskConfig,
    annotate_aligned,
    colour_similarity,
    edit_mask,
    otsu_threshold,
)

# Masks of `data/pairs` that were an editor's input, for pairs that can be aligned.
ALIGNABLE = (
    "ace_headphones__res", "ace_table__fft", "ace_skirt__res", "ultraedit_horse", "kolors_3", "kolors_4",
    "fillany_sample1", "fillany_sample3", "hdpainter_a19", "hdpainter_a2__", "hdpainter_a51", "iopaint_dog",
)  # fmt: skip


def brute_force_otsu(values: np.ndarray) -> float:
    best, threshold = -1.0, 0.0
    for edge in np.histogram_bin_edges(values, bins=256)[1:-1]:
        low, high = values[values < edge], values[values >= edge]
        if len(low) and len(high):
            between = len(low) * len(high) * (low.mean() - high.mean()) ** 2
            if between > best:
                best, threshold = between, edge
    return threshold


@pytest.mark.parametrize("seed", range(4))
def test_otsu_equals_the_search_over_all_thresholds(seed):
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(0.3, 0.1, 400), rng.normal(0.9, 0.05, 2000)])
    threshold, separability = otsu_threshold(values)
    expected = brute_force_otsu(values)
    assert threshold == pytest.approx(expected, abs=2 * np.ptp(values) / 256)
    below = values < threshold
    between = below.mean() * (1 - below.mean()) * (values[below].mean() - values[~below].mean()) ** 2
    assert separability == pytest.approx(between / values.var(), abs=0.01)


def test_otsu_of_a_constant_map():
    assert otsu_threshold(np.full((4, 4), 0.7)) == (pytest.approx(0.7), 0.0)


def test_mask_of_a_clear_edit():
    similarity = np.full((64, 64), 0.95, np.float32)
    similarity[16:32, 8:40] = 0.2
    found = edit_mask(similarity)
    assert found.mask.shape == (128, 128)
    assert found.mask.dtype == np.uint8
    expected = np.zeros((128, 128), np.uint8)
    expected[32:64, 16:80] = 1
    assert (found.mask != expected).mean() < 0.01
    assert found.edited_share == pytest.approx(0.125, abs=0.01)
    assert found.at_size(256, 200).shape == (256, 200)
    assert found.at_size(256, 200).mean() == pytest.approx(0.125, abs=0.01)


def test_otsu_alone_finds_an_edit_in_noise_and_the_bound_does_not():
    noise = np.random.default_rng(0).uniform(0.9, 1.0, (128, 128)).astype(np.float32)
    literal = edit_mask(noise, MaskConfig(highest_threshold=None))
    assert literal.edited_share > 0.3
    bounded = edit_mask(noise)
    assert bounded.edited_share == 0
    assert bounded.threshold == 0.6
    assert bounded.otsu_threshold == literal.threshold
    assert bounded.at_size(50, 60).sum() == 0


def test_a_speck_is_no_edit():
    similarity = np.full((128, 128), 0.95, np.float32)
    similarity[5:8, 5:8] = 0.1
    assert edit_mask(similarity, MaskConfig(min_share=9.5 / 128**2)).mask.sum() == 0
    assert edit_mask(similarity, MaskConfig(min_share=8.5 / 128**2)).mask.sum() == 9


def test_a_map_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="NaN or infinity"):
        edit_mask(np.full((8, 8), np.nan, np.float32))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"size": 0}, "got 0"), ({"min_share": 1.0}, "got 1.0"), ({"colour_distance": 0}, "above 0")],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        MaskConfig(**settings)


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """A textured scene with an object in the middle: (256, 256, 3)."""
    rng = np.random.default_rng(5)
    image = cv2.GaussianBlur(rng.integers(0, 256, (256, 256, 3)).astype(np.uint8), (0, 0), 3)
    image = cv2.normalize(image, None, 40, 215, cv2.NORM_MINMAX)
    image[96:160, 96:160] = (40, 160, 60)
    return image


def test_identical_images(scene):
    similarity = classical_similarity(scene, scene)
    assert similarity.shape == (256, 256)
    np.testing.assert_array_equal(similarity, 1.0)
    assert edit_mask(similarity).edited_share == 0


def test_classical_finds_a_replaced_object(scene):
    edited = scene.copy()
    cv2.circle(edited, (128, 128), 30, (220, 40, 40), -1)
    mask = edit_mask(classical_similarity(scene, edited)).mask
    truth = np.zeros((128, 128), bool)
    truth[np.hypot(*(np.mgrid[:128, :128] - 63.5)) < 15] = True
    overlap = (mask.astype(bool) & truth).sum() / (mask.astype(bool) | truth).sum()
    assert overlap > 0.6


def test_descriptor_of_a_slope():
    config = ClassicalConfig(scales=(2.0,))
    ramp = np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None], 64, axis=0)
    features = describe(np.repeat(ramp[..., None], 3, axis=2), config)
    assert features.shape == (64, 64, 8)
    across, down, falling, rising = features[32, 32, 3:7]
    assert down == pytest.approx(0, abs=1e-4)
    assert across > 0.5
    assert falling == pytest.approx(across * 0.5**0.5, rel=1e-3)
    assert rising == pytest.approx(across * 0.5**0.5, rel=1e-3)


def colour_blind(first, second):
    """A backbone that sees brightness alone."""
    grey = [
        [np.repeat(image.mean(axis=2, keepdims=True).astype(np.uint8), 3, 2) for image in s] for s in (first, second)
    ]
    return [classical_similarity(*pair) for pair in zip(*grey, strict=True)]


def test_the_colour_cue_finds_what_a_colour_blind_backbone_misses(scene):
    edited = scene.copy()
    edited[96:160, 96:160] = (160, 40, 60)  # the same sum, green turned red
    missed, found = (
        annotate_aligned([scene], [edited], colour_blind, MaskConfig(colour_cue=cue))[0] for cue in (False, True)
    )
    truth = np.zeros((128, 128), bool)
    truth[48:80, 48:80] = True
    assert missed.edited_share == 0
    assert (found.mask.astype(bool) & truth).sum() / (found.mask.astype(bool) | truth).sum() > 0.85


def test_a_tint_of_the_whole_image_is_no_colour_edit(scene):
    tinted = np.clip(scene.astype(int) + np.array([12, 0, -10]), 0, 255).astype(np.uint8)
    assert colour_similarity(scene, tinted, 64, 12.0).min() > 0.6


def test_feature_similarity_is_the_cosine_of_each_cell():
    network = torch.nn.Conv2d(3, 5, kernel_size=4, stride=4)
    model = FeatureSimilarity(network, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), size=32)
    rng = np.random.default_rng(2)
    first, second = (rng.integers(0, 256, (40, 50, 3)).astype(np.uint8) for _ in range(2))
    (similarity,) = model([first], [second])
    assert similarity.shape == (8, 8)
    a, b = (network(model._pixels(image))[0].detach().numpy() for image in (first, second))
    for row in range(8):
        for column in range(8):
            u, v = a[:, row, column], b[:, row, column]
            assert similarity[row, column] == pytest.approx(u @ v / np.linalg.norm(u) / np.linalg.norm(v), abs=1e-5)


def test_a_batch_equals_its_singles():
    network = torch.nn.Conv2d(3, 5, kernel_size=4, stride=4)
    model = FeatureSimilarity(network, (0.5,) * 3, (0.2,) * 3, size=16)
    rng = np.random.default_rng(2)
    images = [rng.integers(0, 256, (20 + n, 30, 3)).astype(np.uint8) for n in range(4)]
    batch = model(images[:2], images[2:])
    for n in range(2):
        np.testing.assert_allclose(batch[n], model([images[n]], [images[n + 2]])[0], atol=1e-6)


def test_timm_backbone():
    model = load_backbone("timm/vit_tiny_patch16_224", size=64, pretrained=False)
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3)).astype(np.uint8)
    (similarity,) = model([image], [image])
    assert similarity.shape == (4, 4)
    np.testing.assert_allclose(similarity, 1.0, atol=1e-5)


@pytest.mark.parametrize(("has_gpu", "device"), [(True, "cuda"), (False, "cpu")])
def test_networks_run_on_a_gpu_if_there_is_one(monkeypatch, has_gpu, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert default_device(DEFAULT_BACKBONE) == device
    assert default_device(CLASSICAL) == "cpu"


def test_transformers_backbone(tmp_path):
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    config = Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=7)
    Dinov2Model(config).save_pretrained(tmp_path)
    BitImageProcessor().save_pretrained(tmp_path)
    model = load_backbone(str(tmp_path), size=56)
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 256, (70, 90, 3)).astype(np.uint8) for _ in range(2))
    assert model([first], [second])[0].shape == (8, 8)
    np.testing.assert_allclose(model([first], [first])[0], 1.0, atol=1e-5)


@pytest.mark.parametrize("name", ["timm/no_such_model", "/no/such/folder"])
def test_unknown_backbone(name):
    with pytest.raises(ValueError, match="cannot be loaded.*expected classical, timm/MODEL or an AutoModel id"):
        load_backbone(name)


def test_real_edits_with_known_masks(data_dir):
    """Aim of the classical backbone: mean IoU 0.5 and precision 0.7 on pairs whose mask is known."""
    folder = data_dir / "pairs"
    rows = list(csv.DictReader((folder / "manifest.csv").open()))
    masks = {row["pair_of"]: row for row in rows if row["role"] == "mask"}
    scores = []
    for row in rows:
        if row["role"] != "edited" or row["file"] not in masks or not row["file"].startswith(ALIGNABLE):
            continue
        original, edited = (np.asarray(Image.open(folder / row[k]).convert("RGB")) for k in ("pair_of", "file"))
        alignment = align(original, edited)
        assert isinstance(alignment, Alignment), row["file"]
        left, top, right, bottom = alignment.crop
        size = edited.shape[1::-1]
        truth = np.asarray(Image.open(folder / masks[row["file"]]["file"]).convert("L").resize(size, 0)) > 127
        truth = cv2.resize(truth[top:bottom, left:right].astype(np.uint8), (128, 128), interpolation=0) > 0
        mask = edit_mask(classical_similarity(*warp_and_crop(original, edited, alignment))).mask > 0
        scores.append(((mask & truth).sum() / (mask | truth).sum(), (mask & truth).sum() / max(mask.sum(), 1)))
    if not scores:
        pytest.skip("no pair with a mask that this test knows")
    overlap, precision = np.mean(scores, axis=0)
    assert overlap > 0.5
    assert precision > 0.7
