import io

import numpy as np
import pytest
from PIL import Image

from forgescope.trainers.augmentation import AugmentationConfig, augment, center_crop, jpeg_compress
from forgescope.trainers.data import ForgeryCollator, ForgeryDataset


@pytest.fixture
def pair():
    """An image whose red channel is the column, green the row, and a mask of its upper left quarter."""
    columns, rows = np.meshgrid(np.arange(100, dtype=np.uint8), np.arange(80, dtype=np.uint8))
    pixels = np.stack([columns, rows, np.zeros_like(rows)], axis=-1)
    return Image.fromarray(pixels), Image.fromarray(((columns < 50) & (rows < 40)).astype(np.uint8) * 255)


def no_change(**changes):
    return AugmentationConfig(**({"crop_probability": 0.0, "jpeg_probability": 0.0} | changes))


def test_without_any_draw_nothing_changes(pair):
    image, mask = augment(*pair, no_change(), np.random.default_rng(0))
    assert np.array_equal(image, pair[0])
    assert np.array_equal(mask, pair[1])


@pytest.mark.parametrize("seed", range(5))
def test_image_and_mask_are_cropped_and_flipped_alike(pair, seed):
    config = no_change(crop_probability=1.0, flip_probability=0.5)
    image, mask = augment(*pair, config, np.random.default_rng(seed))
    columns, rows = np.asarray(image)[..., 0], np.asarray(image)[..., 1]
    assert 60 <= image.width <= 100
    assert 48 <= image.height <= 80
    assert np.array_equal(np.asarray(mask) > 0, (columns < 50) & (rows < 40))


def test_jpeg_touches_the_image_only_and_equals_pillow(pair):
    config = no_change(jpeg_probability=1.0, jpeg_quality=(60, 60))
    image, mask = augment(*pair, config, np.random.default_rng(0))
    buffer = io.BytesIO()
    pair[0].save(buffer, format="JPEG", quality=60)
    assert np.array_equal(image, Image.open(buffer).convert("RGB"))
    assert np.array_equal(image, jpeg_compress(pair[0], 60))
    assert np.array_equal(mask, pair[1])


def test_fixed_window_has_its_size_and_can_be_laid_around_forged_pixels(pair):
    config = no_change(crop_size=16, forged_crop_probability=1.0)
    for seed in range(20):
        image, mask = augment(*pair, config, np.random.default_rng(seed))
        assert image.size == mask.size == (16, 16)
        assert np.asarray(mask).any()


def test_window_larger_than_the_image_keeps_it(pair):
    image, _ = augment(*pair, no_change(crop_size=512), np.random.default_rng(0))
    assert image.size == pair[0].size
    assert center_crop(*pair, 512)[0].size == pair[0].size


def test_center_crop_is_the_middle(pair):
    image, mask = center_crop(*pair, 20)
    assert np.asarray(image)[0, 0].tolist() == [40, 30, 0]
    assert mask.size == (20, 20)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"jpeg_probability": 1.5}, r"augmentation.jpeg_probability must lie in \[0, 1\], got 1.5"),
        ({"min_crop_scale": 0.0}, r"augmentation.min_crop_scale must lie in \(0, 1\], got 0.0"),
        ({"crop_size": 0}, "augmentation.crop_size must be at least 1 pixel, got 0"),
        ({"jpeg_quality": (90, 60)}, "augmentation.jpeg_quality must be two numbers within 1 to 100, got 90 and 60"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        AugmentationConfig(**changes)


def test_the_draw_depends_on_seed_epoch_and_position_only(pair):
    rows = [{"image": pair[0], "mask": pair[1]}] * 3
    dataset = ForgeryDataset(rows, AugmentationConfig(crop_probability=1.0), seed=5)
    first = np.asarray(dataset[1]["image"])
    assert not np.array_equal(first.shape, np.asarray(dataset[2]["image"]).shape)
    assert np.array_equal(first, np.asarray(dataset[1]["image"]))
    dataset.set_epoch(1)
    assert first.shape != np.asarray(dataset[1]["image"]).shape
    dataset.set_epoch(0)
    assert np.array_equal(first, np.asarray(dataset[1]["image"]))


def test_collator_gives_labels_for_authentic_images_too(pair):
    from forgescope.processing.image_processing_forgery import ForgeryImageProcessor

    collator = ForgeryCollator(ForgeryImageProcessor(do_resize=False))
    batch = collator([{"image": pair[0], "mask": pair[1]}, {"image": pair[0], "mask": None}])
    assert batch["pixel_values"].shape == (2, 3, 96, 128)
    assert batch["labels"].shape == (2, 24, 32)
    inside = batch["labels"][:, :20, :25]
    assert inside[0].sum().item() == 10 * 12  # the pixels at 2, 6, ..., 38 and 2, 6, ..., 46 are sampled
    assert inside[1].sum().item() == 0
    assert (batch["labels"][:, 20:] == 255).all()
    assert (batch["labels"][:, :, 25:] == 255).all()
