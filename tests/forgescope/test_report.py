"""Report: regions by hand-made masks, what an overlay draws and leaves alone, plain values for JSON."""

import json

import numpy as np
import pytest
from PIL import Image

from forgescope.decision import DecisionRule
from forgescope.report import ForgeryReport, Region, draw_overlay, find_regions


@pytest.fixture
def mask():
    """A block of 20 x 30, a diagonal pair of blocks that touch in a corner, and one lonely pixel."""
    mask = np.zeros((100, 200), np.uint8)
    mask[10:30, 40:70] = 1
    mask[50:60, 100:110] = 1
    mask[60:70, 110:120] = 1
    mask[90, 5] = 1
    return mask


def report_of(mask, image=None):
    probabilities = mask.astype(np.float32) * 0.75
    return ForgeryReport(
        verdict="forged",
        score=0.75,
        mask=mask,
        regions=find_regions(mask, probabilities),
        attribution=None,
        explanation=None,
        model="tiny",
        forged_fraction=float(mask.mean()),
        probability_map=probabilities,
        rule=DecisionRule(),
        notes=["A note."],
        precision="float32",
        image=image,
    )


def test_regions_are_connected_parts_largest_first(mask):
    probabilities = np.full(mask.shape, 0.2, np.float32)
    probabilities[10:30, 40:70] = 0.9
    probabilities[10:30, 40:55] = 0.7
    assert find_regions(mask, probabilities) == [
        Region((40, 10, 70, 30), 600 / 20000, pytest.approx(0.8)),
        Region((100, 50, 120, 70), 200 / 20000, pytest.approx(0.2)),
    ]
    assert len(find_regions(mask, probabilities, smallest=0)) == 3
    assert find_regions(np.zeros((5, 5), np.uint8), probabilities) == []


def test_the_dictionary_is_json_with_the_fields_of_the_design(mask):
    values = json.loads(json.dumps(report_of(mask).to_dict()))
    assert list(values)[:4] == ["path", "verdict", "score", "forged_fraction"]
    region = {"box": [100, 50, 120, 70], "area_fraction": 0.01, "mean_probability": 0.75, "editor": None}
    assert values["regions"][1] == region
    assert (values["attribution"], values["explanation"], values["model"]) == (None, None, "tiny")
    assert (values["width"], values["height"], values["precision"]) == (200, 100, "float32")
    assert values["notes"] == ["A note."]


def test_nothing_is_drawn_without_forged_pixels():
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))
    overlay = report_of(np.zeros((40, 60), np.uint8), photo).overlay()
    assert overlay is not photo
    np.testing.assert_array_equal(overlay, photo)


def test_an_overlay_tints_the_inside_and_outlines_it(mask):
    photo = Image.new("RGB", (200, 100), (100, 100, 100))
    drawn = np.asarray(report_of(mask, photo).overlay())
    # 65 % of 100, and 35 % of red
    assert drawn[20, 50].tolist() == [154, 65, 65]
    assert drawn[9, 50].tolist() == [255, 32, 32]
    assert drawn[8, 50].tolist() == [255, 255, 255]
    assert drawn[6, 50].tolist() == [100, 100, 100]
    assert drawn[20, 70].tolist() == [255, 32, 32]
    # lines of the enlarged picture are wider
    large = draw_overlay(photo.resize((2000, 1000)), mask.repeat(10, 0).repeat(10, 1))
    assert np.asarray(large)[96:100, 500].tolist() == [[255, 32, 32]] * 4
    assert np.asarray(large)[92:96, 500].tolist() == [[255, 255, 255]] * 4


def test_bands_of_a_large_picture_leave_no_seams():
    generator = np.random.default_rng(1)
    mask = (generator.random((1100, 40)) < 0.4).astype(np.uint8)
    photo = Image.fromarray(generator.integers(0, 256, (1100, 40, 3), dtype=np.uint8))
    whole = np.asarray(draw_overlay(photo, mask))
    upper = np.asarray(draw_overlay(photo.crop((0, 300, 40, 700)), mask[300:700]))
    np.testing.assert_array_equal(whole[320:680], upper[20:380])


def test_a_wrong_or_missing_photograph_is_refused(mask):
    with pytest.raises(ValueError, match="holds no image: pass the photograph"):
        report_of(mask).overlay()
    with pytest.raises(ValueError, match="expected a photograph of 200 x 100, got 100 x 200"):
        report_of(mask).overlay(Image.new("RGB", (100, 200)))


def test_the_mask_picture_is_black_and_white(mask):
    picture = report_of(mask).mask_image()
    assert (picture.mode, picture.size) == ("L", (200, 100))
    np.testing.assert_array_equal(np.asarray(picture), mask * 255)
