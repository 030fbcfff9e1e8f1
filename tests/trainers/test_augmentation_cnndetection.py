import io

import cv2
import numpy as np
import pytest
from PIL import Image

from forgescope.trainers.augmentation_cnndetection import (
    CNNDetectionAugmentation,
    cv2_jpeg_compress,
    degrade,
    flip,
    gaussian_blur,
    jitter,
    reach_of,
)
from forgescope.trainers.crops import crop, random_corner, surroundings

NOTHING = {"blur_probability": 0.0, "jpeg_probability": 0.0, "flip_probability": 0.0, "jitter_probability": 0.0}


def config(**changes):
    return CNNDetectionAugmentation(**(NOTHING | changes))


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture
def image():
    return Image.fromarray(rng(7).integers(0, 256, (40, 56, 3), dtype=np.uint8))


def test_without_any_draw_nothing_changes(image):
    masks = {"ai_mask": np.eye(40, 56, dtype=np.uint8)}
    assert np.array_equal(degrade(image, config(), rng()), image)
    assert np.array_equal(jitter(image, config(), rng()), image)
    assert flip(image, masks, config(), rng()) == (image, masks)


def test_blur_is_a_gaussian_cut_off_at_four_deviations_with_mirrored_borders(image):
    sigma, radius = 1.3, 5
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights /= weights.sum()
    expected = np.asarray(image, dtype=np.float64)
    for axis in (0, 1):
        widths = [(radius, radius) if other == axis else (0, 0) for other in range(3)]
        padded = np.pad(expected, widths, mode="symmetric")
        length = expected.shape[axis]
        expected = sum(w * padded.take(range(k, k + length), axis=axis) for k, w in enumerate(weights))
    difference = np.asarray(gaussian_blur(image, sigma), dtype=np.float64) - expected
    assert np.abs(difference).max() < 1.5  # OpenCV rounds the weights to 8 bits
    assert abs(difference.mean()) < 0.1
    assert gaussian_blur(image, 0.0) is image


def test_compression_equals_the_encoders_own(image):
    encoded = io.BytesIO()
    image.save(encoded, format="JPEG", quality=40)
    by_pillow = np.asarray(Image.open(encoded))
    pixels = cv2.imdecode(
        cv2.imencode(".jpg", np.asarray(image)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR
    )
    always = {"jpeg_probability": 1.0, "jpeg_quality": (40, 40)}
    assert np.array_equal(degrade(image, config(**always, jpeg_encoders=("pil",)), rng()), by_pillow)
    assert np.array_equal(degrade(image, config(**always, jpeg_encoders=("cv2",)), rng()), pixels[..., ::-1])
    assert np.array_equal(cv2_jpeg_compress(image, 40), pixels[..., ::-1])


def test_shares_are_those_of_the_settings(image):
    settings = config(blur_probability=0.5, blur_sigma=(1.0, 3.0), jpeg_probability=0.1)
    generator = rng(1)
    original = np.asarray(image)
    blurred = compressed = 0
    for _ in range(400):
        result = np.asarray(degrade(image, settings, generator))
        changed = not np.array_equal(result, original)
        # noise that is blurred loses most of its contrast
        blurred += result.std() < 0.7 * original.std()
        compressed += changed and result.std() >= 0.7 * original.std()
    assert blurred == pytest.approx(200, abs=40)
    assert compressed == pytest.approx(20, abs=15)  # the other half of the compressed ones are blurred too


@pytest.mark.parametrize("encoder", ["cv2", "pil"])
def test_degrading_the_surroundings_of_a_window_equals_degrading_the_whole_image(encoder):
    coarse = rng(8).integers(0, 256, (24, 30, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((300, 237), Image.Resampling.BICUBIC)
    settings = config(blur_probability=0.7, jpeg_probability=0.8, jpeg_quality=(30, 90), jpeg_encoders=(encoder,))
    for seed in range(25):
        corner = random_corner(image, 64, 1, rng(seed))
        whole, _ = crop(degrade(image, settings, rng(seed)), {}, corner, 64)
        box = surroundings(image, corner, 64, reach_of(settings))
        assert (box[2] - box[0]) * (box[3] - box[1]) < 300 * 237
        part, _ = crop(degrade(image.crop(box), settings, rng(seed)), {}, (corner[0] - box[0], corner[1] - box[1]), 64)
        assert np.array_equal(whole, part), seed


def test_flip_mirrors_image_and_masks_alike(image):
    masks = {"ai_mask": rng(2).integers(0, 2, (40, 56), dtype=np.uint8)}
    flipped, labels = flip(image, masks, config(flip_probability=1.0), rng())
    assert np.array_equal(flipped, np.asarray(image)[:, ::-1])
    assert np.array_equal(labels["ai_mask"], masks["ai_mask"][:, ::-1])


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("brightness", lambda pixels: pixels.mean()),
        ("contrast", lambda pixels: np.ptp(pixels[..., 0])),
        ("saturation", lambda pixels: np.ptp(pixels[0, 0])),
    ],
)
def test_jitter_changes_one_property_within_its_strength(name, measure):
    image = Image.new("RGB", (8, 8), (100, 60, 60))
    image.paste((60, 100, 100), (0, 0, 4, 8))
    only = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0} | {name: 0.5}
    results = [jitter(image, config(jitter_probability=1.0, **only), rng(seed)) for seed in range(40)]
    factors = [measure(np.asarray(result, dtype=int)) / measure(np.asarray(image, dtype=int)) for result in results]
    assert 0.47 < min(factors) < 0.7
    assert 1.3 < max(factors) < 1.53


def test_the_same_draws_give_the_same_image(image):
    settings = CNNDetectionAugmentation(hue=0.1)
    results = [jitter(degrade(image, settings, g), settings, g) for g in (rng(3), rng(3), rng(4))]
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"blur_probability": 1.5}, r"augmentation.blur_probability must lie in \[0, 1\], got 1.5"),
        ({"hue": 0.7}, r"augmentation.hue must lie in \[0, 0.5\], got 0.7"),
        ({"blur_sigma": (3.0, 0.0)}, "augmentation.blur_sigma must be two numbers from 0 to inf"),
        ({"jpeg_quality": (30, 101)}, "augmentation.jpeg_quality must be two numbers from 1 to 100"),
        ({"jpeg_encoders": ("png",)}, "augmentation.jpeg_encoders must be of"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        CNNDetectionAugmentation(**changes)
