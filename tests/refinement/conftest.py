import numpy as np
import pytest
from PIL import Image

from forgescope.refinement.artifacts import Artifact


@pytest.fixture(scope="session")
def inpainting_pipeline():
    from tiny_diffusion import tiny_inpainting_pipeline

    return tiny_inpainting_pipeline()


@pytest.fixture(scope="session")
def text_to_image_pipeline():
    from tiny_diffusion import tiny_text_to_image_pipeline

    return tiny_text_to_image_pipeline()


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    from bright_regions import noisy_photo

    return noisy_photo(97, 61)


@pytest.fixture(scope="session")
def box_artifact():
    """Makes an artifact whose mask is a box: left, top, right, bottom; of an image of (width, height)."""

    def make(size, box, phrase="hand", explanation="six fingers") -> Artifact:
        mask = np.zeros(size[::-1], np.uint8)
        left, top, right, bottom = box
        mask[top:bottom, left:right] = 1
        return Artifact(phrase, explanation, mask)

    return make
