import io
import json

import cv2
import numpy as np
import pytest
from PIL import Image

from forgescope.construction.framing import frame_photo
from forgescope.construction.manipulation import LABELS, TASKS, ManipulationConfig, draw_task, manipulate

FORGED = [task for task in TASKS if task != "authentic"]
# Nothing but the forgery: the host keeps its exact pixels, so images can be compared.
PLAIN = ManipulationConfig(
    image_format="png",
    host_jpeg_probability=0.0,
    resize_probability=0.0,
    intact_probability=1.0,
    min_side_share=1.0,
    max_side=512,
    aspect_jitter=0.0,
)


def run(photo, task, seed, config=PLAIN, donor=None, inpainter=None):
    return manipulate(photo, task, np.random.default_rng(seed), config, donor, inpainter)


def original_frame(photo, seed, config=PLAIN):
    return frame_photo(np.asarray(photo), config, np.random.default_rng(seed))[0]


@pytest.mark.parametrize("task", TASKS)
def test_same_seed_same_bytes(photo, donor, task):
    first, second, other = (run(photo, task, seed, ManipulationConfig(), donor) for seed in (5, 5, 6))
    assert first.encoded == second.encoded
    assert (first.mask == second.mask).all()
    assert first.parameters == second.parameters
    assert first.encoded != other.encoded


@pytest.mark.parametrize(
    ("task", "label", "whole_frame", "same_as_mask"),
    [
        ("authentic", 0, False, True),
        ("copy_move", 0, False, False),
        ("splicing", 0, False, False),
        ("inpainting", 1, True, False),
        ("inpainting_blended", 1, False, True),
    ],
)
def test_labels_and_masks_follow_table_1(photo, donor, task, label, whole_frame, same_as_mask):
    made = run(photo, task, 0, ManipulationConfig(), donor)
    assert made.label == LABELS[task] == label
    assert made.task == task
    assert made.mask.shape == made.ai_mask.shape == made.image.size[::-1]
    assert made.mask.dtype == made.ai_mask.dtype == np.uint8
    assert made.mask.any() == (task != "authentic")
    assert made.ai_mask.all() == whole_frame
    assert (made.ai_mask == made.mask).all() == same_as_mask
    if task in ("copy_move", "splicing"):
        assert not made.ai_mask.any()


@pytest.mark.parametrize("task", ["copy_move", "splicing", "inpainting_blended"])
def test_nothing_changes_outside_the_mask_but_its_soft_border(photo, donor, task):
    for seed in range(6):
        made = run(photo, task, seed, donor=donor)
        changed = (np.asarray(made.image) != original_frame(photo, seed)).any(-1)
        reach = 2 * int(np.ceil(4 * PLAIN.feather[1])) + 1
        allowed = cv2.dilate(made.mask, np.ones((reach, reach), np.uint8)) == 1
        assert not (changed & ~allowed).any()
        assert changed[made.mask == 1].mean() > 0.8


def test_hard_pastes_change_exactly_the_mask(photo, donor):
    config = ManipulationConfig(**{**vars(PLAIN), "feather_probability": 0.0})
    for seed in range(6):
        made = run(photo, "splicing", seed, config, donor)
        changed = (np.asarray(made.image) != original_frame(photo, seed)).any(-1)
        assert not changed[made.mask == 0].any()
        assert changed[made.mask == 1].mean() > 0.95


def test_authentic_image_is_the_framed_photograph(photo):
    made = run(photo, "authentic", 3)
    assert (np.asarray(made.image) == original_frame(photo, 3)).all()


def test_regenerated_frame_changes_outside_the_mask_too(photo):
    made = run(photo, "inpainting", 1)
    changed = (np.asarray(made.image) != original_frame(photo, 1)).any(-1)
    assert changed[made.mask == 0].mean() > 0.5


def test_copy_move_copies_pixels_and_its_shift_is_recovered(photo):
    config = ManipulationConfig(
        **{
            **vars(PLAIN),
            "scale_probability": 0.0, "rotate_probability": 0.0, "flip_probability": 0.0, "blur_probability": 0.0,
            "noise_probability": 0.0, "brightness_probability": 0.0, "colour_match_probability": 0.0,
            "feather_probability": 0.0, "copies": 1, "area": (0.03, 0.1),
        }
    )  # fmt: skip
    for seed in range(4):
        made = run(photo, "copy_move", seed, config)
        paste = made.parameters["pastes"][0]
        assert paste["scale"] == 1.0
        frame = original_frame(photo, seed)
        x, y, width, height = cv2.boundingRect(made.mask)
        patch = np.asarray(made.image)[y : y + height, x : x + width]
        mask = np.repeat(made.mask[y : y + height, x : x + width, None], 3, 2)
        errors = cv2.matchTemplate(frame, patch, cv2.TM_SQDIFF, mask=mask)
        _, _, (found_x, found_y), _ = cv2.minMaxLoc(errors)
        shift = np.array([x - found_x, y - found_y])
        assert (shift == np.array(paste["matrix"])[:, 2]).all()
        source = frame[found_y : found_y + height, found_x : found_x + width]
        assert (source == patch)[mask == 1].all()


@pytest.mark.parametrize("task", FORGED)
def test_forged_share_stays_within_bounds(photo, donor, task):
    config = ManipulationConfig(area=(0.02, 0.2), fill_area=(0.02, 0.2))
    shares = [run(photo, task, seed, config, donor).mask.mean() for seed in range(15)]
    # Feathering, clipping at the border and the final resize move the outline by a pixel.
    assert min(shares) > 0.02 * 0.85
    assert max(shares) < 0.2 * 1.1


def test_callable_inpainter_is_used_and_sees_the_mask(photo):
    seen = []

    def paint_red(image, mask):
        seen.append((image.mode, mask.mode, image.size == mask.size, set(np.unique(np.asarray(mask)))))
        return Image.new("RGB", image.size, (255, 0, 0))

    whole = run(photo, "inpainting", 0, inpainter=paint_red)
    assert seen[0] == ("RGB", "L", True, {0, 255})
    assert (np.asarray(whole.image) == (255, 0, 0)).all()
    assert 0 < whole.mask.mean() < 0.5
    config = ManipulationConfig(**{**vars(PLAIN), "feather_probability": 0.0})
    blended = run(photo, "inpainting_blended", 0, config, inpainter=paint_red)
    red = (np.asarray(blended.image) == (255, 0, 0)).all(-1)
    assert (red == (blended.mask == 1)).all()
    assert blended.parameters["fill"] == "callable"


def test_inpainter_of_another_size_is_refused(photo):
    with pytest.raises(ValueError, match=r"must return an RGB image of 320x240 pixels, got shape \(8, 8, 3\)"):
        run(photo, "inpainting", 0, inpainter=lambda image, mask: Image.new("RGB", (8, 8)))


def test_encoded_bytes_are_the_image_and_parameters_are_json(photo, donor):
    for seed in range(6):
        made = run(photo, "splicing", seed, ManipulationConfig(), donor)
        with Image.open(io.BytesIO(made.encoded)) as image:
            assert {"PNG": ".png", "JPEG": ".jpg"}[image.format] == made.suffix
            assert (np.asarray(image) == np.asarray(made.image)).all()
        assert json.loads(json.dumps(made.parameters)) == made.parameters
        assert max(made.image.size) <= 512


def test_formats_follow_the_setting(photo):
    suffixes = {
        name: {run(photo, "authentic", seed, ManipulationConfig(image_format=name)).suffix for seed in range(20)}
        for name in ("png", "jpeg", "mixed")
    }
    assert suffixes == {"png": {".png"}, "jpeg": {".jpg"}, "mixed": {".png", ".jpg"}}


def test_grey_and_tiny_photographs(photo):
    assert run(photo.convert("L"), "copy_move", 0).image.mode == "RGB"
    with pytest.raises(ValueError, match="1x1 pixels is too small"):
        run(Image.new("RGB", (1, 1)), "authentic", 0)


@pytest.mark.parametrize("colour", [0, 128, 255])
@pytest.mark.parametrize("task", FORGED)
def test_flat_photographs_give_a_valid_mask(task, colour):
    flat = Image.new("RGB", (200, 150), (colour,) * 3)
    made = run(flat, task, 0, ManipulationConfig(), flat)
    assert 0 < made.mask.mean() < 0.5


def test_wrong_calls_are_refused(photo):
    with pytest.raises(ValueError, match="unknown task 'collage'"):
        run(photo, "collage", 0)
    with pytest.raises(ValueError, match="splicing needs a donor"):
        run(photo, "splicing", 0)


def test_tasks_are_drawn_by_weight():
    config = ManipulationConfig().with_tasks(["copy_move", "splicing"], authentic_fraction=0.5)
    rng = np.random.default_rng(0)
    drawn = [draw_task(config, rng) for _ in range(2000)]
    assert set(drawn) == {"authentic", "copy_move", "splicing"}
    assert abs(drawn.count("authentic") / 2000 - 0.5) < 0.04


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"area": (0.0, 0.2)}, "area must lie in"),
        ({"area": (0.3, 0.2)}, "area must be a pair"),
        ({"max_side": 10}, "max_side must be at least 64"),
        ({"image_format": "gif"}, "image_format must be one of"),
        ({"flip_probability": 1.5}, "flip_probability must be between 0 and 1"),
        ({"task_weights": {"collage": 1.0}}, "unknown entries"),
        ({"fill_weights": {"telea": 0.0}}, "positive sum"),
        ({"jpeg_quality": (0, 90)}, "jpeg_quality must lie in 1..100"),
    ],
)
def test_wrong_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ManipulationConfig(**change)
