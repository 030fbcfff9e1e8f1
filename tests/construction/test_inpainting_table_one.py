"""GAMMA's Table 1, number by number, against everything that says what an image is and what its masks mark."""

import numpy as np
import pytest
from PIL import Image

from forgescope.construction.inpainting import VARIANTS, write_inpainting
from forgescope.construction.manipulation import TASKS, manipulate
from forgescope.datasets_scripts.gamma_rules import RULES

# Label, manipulation mask outside and inside the region, AI mask outside and inside it.
TABLE_1 = {
    "COCO": (0, 0, 0, 0, 0),
    "COCO-Inpaint": (1, 0, 1, 1, 1),
    "COCO-Inpaint-Blended": (1, 0, 1, 0, 1),
    "TampCOCO-CopyMove": (0, 0, 1, 0, 0),
    "TampCOCO-Splicing": (0, 0, 1, 0, 0),
}
SOURCES = {
    "coco": "COCO",
    "coco-inpaint": "COCO-Inpaint",
    "coco-blended": "COCO-Inpaint-Blended",
    "tampcoco-cm": "TampCOCO-CopyMove",
    "tampcoco-sp": "TampCOCO-Splicing",
    # two more subsets of TampCOCO, which the paper leaves out; both are copy-move
    "tampcoco-bcm": "TampCOCO-CopyMove",
    "tampcoco-bcmc": "TampCOCO-CopyMove",
}
MADE = {
    "authentic": "COCO",
    "copy_move": "TampCOCO-CopyMove",
    "splicing": "TampCOCO-Splicing",
    "inpainting": "COCO-Inpaint",
    "inpainting_blended": "COCO-Inpaint-Blended",
}


def only_value(values: np.ndarray) -> int:
    (value,) = np.unique(values)
    return int(value)


def measured(label: int, mask: np.ndarray, ai_mask: np.ndarray) -> tuple[int, ...]:
    """The five numbers of an image; without a forged pixel inside and outside are the same."""
    inside = mask == 1 if mask.any() else mask == 0
    outside = ~inside if mask.any() else inside
    return (label, *(only_value(values[where]) for values in (mask, ai_mask) for where in (outside, inside)))


@pytest.mark.parametrize("source", RULES)
def test_rules_of_the_corpus(source):
    rule = RULES[source]
    ai = {"none": (0, 0), "mask": (0, 1), "frame": (1, 1)}[rule.ai]
    numbers = (["real", "fake"].index(rule.label), 0, int(rule.forged), *ai)
    assert numbers == TABLE_1[SOURCES[source]]
    assert MADE[rule.task] == SOURCES[source]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("with_inpainter", [False, True])
def test_images_of_the_engine(photo, donor, task, with_inpainter):
    inpainter = (lambda image, mask: Image.new("RGB", image.size, (200, 30, 30))) if with_inpainter else None
    made = manipulate(photo, task, np.random.default_rng(4), None, donor, inpainter)
    assert measured(made.label, made.mask, made.ai_mask) == TABLE_1[MADE[task]]


def test_images_of_the_inpainting_folder(photo_folder, tiny_pipeline, tmp_path):
    photos = sorted(photo_folder.iterdir())[:2]
    result = write_inpainting(photos, tiny_pipeline, tmp_path, num_inference_steps=1)
    assert [row["task"] for row in result.rows] == [*VARIANTS, *VARIANTS]
    for row in result.rows:
        masks = [np.asarray(Image.open(tmp_path / row[field])) for field in ("mask_file_name", "ai_mask_file_name")]
        assert all(set(np.unique(mask)) <= {0, 255} for mask in masks)
        assert measured(row["label"], *(mask // 255 for mask in masks)) == TABLE_1[MADE[row["task"]]]
