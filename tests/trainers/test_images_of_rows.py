"""What a network is trained on is what it is shown afterwards, whatever the mode of an image."""

import datasets
import numpy as np
import pytest
from PIL import Image

from forgescope.processing.image_conversion import to_upright_rgb
from forgescope.trainers.data import ForgeryDataset
from forgescope.trainers.data_gamma import GammaDataset
from forgescope.trainers.data_legion import LegionDataset
from forgescope.trainers.rows_gamma import GammaDataConfig

SIDE = 64


def transparent(mode):
    """Red, its lower half transparent."""
    pixels = np.zeros((SIDE, SIDE, 4), np.uint8)
    pixels[..., 0], pixels[: SIDE // 2, :, 3] = 200, 255
    return Image.fromarray(pixels).convert(mode)


def picture_of(mode):
    if mode == "I;16":
        return Image.fromarray(np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE) * 16)
    return transparent(mode)


def dataset_of(kind, image):
    mask = Image.new("L", (SIDE, SIDE), 255)
    regions = [{"sentence": "eye", "mask": mask}]
    features = {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=["real", "fake"]),
        "mask": datasets.Image(),
        "ai_mask": datasets.Image(),
        "task": datasets.Value("string"),
        "caption": datasets.Value("string"),
        "regions": datasets.List({"sentence": datasets.Value("string"), "mask": datasets.Image()}),
    }
    row = {"image": image, "label": 1, "mask": mask, "ai_mask": mask, "task": "inpainting_blended"}
    row |= {"caption": "eye: odd", "regions": regions}
    rows = datasets.Dataset.from_list([row], features=datasets.Features(features))
    if kind is GammaDataset:
        return GammaDataset(rows, GammaDataConfig(crop_size=SIDE))
    return kind(rows)


@pytest.mark.parametrize("kind", [ForgeryDataset, GammaDataset, LegionDataset])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "I;16"])
def test_images_are_those_that_the_processor_would_make(kind, mode):
    image = picture_of(mode)
    found = dataset_of(kind, image)[0]["image"]
    assert found.mode == "RGB"
    assert np.array_equal(np.asarray(found), np.asarray(to_upright_rgb(image)))


def test_an_image_without_a_conversion_is_named():
    with pytest.raises(ValueError, match=r"image 0 cannot be read: expected integer pixels, got floating-point ones"):
        dataset_of(LegionDataset, Image.new("F", (SIDE, SIDE)))[0]
