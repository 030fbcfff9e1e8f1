"""Masks whose values are ids of editors: as labels, as edited or not, and the values that are refused."""

import json

import numpy as np
import pytest
import torch
from damaged_exif import NO_EXIF, TURNED_AND_DAMAGED
from huggingface_hub.errors import StrictDataclassError
from PIL import Image

from forgescope.processing.image_processing_forgery import ForgeryImageProcessor

EDITORS = ("a", "b", "c")


@pytest.fixture(scope="module")
def processor():
    return ForgeryImageProcessor(size={"height": 64, "width": 64}, mask_stride=1, mask_values="ids", id2editor=EDITORS)


@pytest.fixture
def photo():
    return Image.new("RGB", (64, 64), (90, 120, 30))


def mask_of(*values):
    """Stripes of these values, 64 x 64."""
    return np.repeat(np.repeat(np.array(values, np.uint8), 64 // len(values))[:, None], 64, axis=1)


def labels_of(processor, photo, mask, **settings):
    return processor(photo, mask, return_tensors="pt", **settings)["labels"][0].numpy()


@pytest.mark.parametrize("as_image", [False, True])
def test_ids_are_the_labels_and_255_stays(processor, photo, as_image):
    mask = mask_of(0, 1, 3, 255)
    given = Image.fromarray(mask) if as_image else mask
    np.testing.assert_array_equal(labels_of(processor, photo, given), mask)


def test_ids_in_a_palette_are_its_indices(processor, photo):
    mask = Image.fromarray(mask_of(0, 1, 2, 3)).convert("P")
    mask.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200, 9, 9, 9])
    np.testing.assert_array_equal(labels_of(processor, photo, mask), mask_of(0, 1, 2, 3))


@pytest.mark.parametrize(("exif", "turns"), [(TURNED_AND_DAMAGED, -1), (NO_EXIF, 0)])
def test_masks_with_damaged_exif_are_read_as_displayed(processor, photo, tmp_path, exif, turns):
    mask = mask_of(0, 1, 3, 255)
    Image.fromarray(mask).save(tmp_path / "mask.png", exif=exif)
    labels = labels_of(processor, photo, Image.open(tmp_path / "mask.png"))
    np.testing.assert_array_equal(labels, np.rot90(mask, turns))


def test_labels_lie_on_the_grid_of_the_logits(processor, photo):
    mask = mask_of(0, 1, 2, 3)
    np.testing.assert_array_equal(labels_of(processor, photo, mask, mask_stride=4), mask[2::4, 2::4])


def test_any_collapses_the_ids(processor, photo):
    labels = labels_of(processor, photo, mask_of(0, 1, 3, 255), mask_values="any")
    np.testing.assert_array_equal(labels, mask_of(0, 1, 1, 255))


@pytest.mark.parametrize("forged", [1, 255])
def test_any_takes_binary_masks_too(processor, photo, forged):
    labels = labels_of(processor, photo, mask_of(0, forged, forged, 0), mask_values="any")
    np.testing.assert_array_equal(labels, mask_of(0, 1, 1, 0))


@pytest.mark.parametrize("mask_values", ["ids", "any"])
def test_authentic_images(processor, photo, mask_values):
    for mask in ([None], mask_of(0, 0)):
        assert not labels_of(processor, photo, mask, mask_values=mask_values).any()


def test_padding_does_not_count(processor, photo):
    batch = processor([photo, photo.resize((96, 64))], [mask_of(0, 2), None], do_resize=False, return_tensors="pt")[
        "labels"
    ]
    assert batch.shape == (2, 64, 96)
    np.testing.assert_array_equal(batch[0, :, :64], mask_of(0, 2))
    assert batch[0, :, 64:].eq(255).all()
    assert batch[1].eq(0).all()


def test_enlarging_keeps_ids(processor, photo):
    labels = labels_of(processor, photo, mask_of(0, 3), do_resize=False, smallest_edge=128)
    np.testing.assert_array_equal(labels, np.repeat(np.repeat(mask_of(0, 3), 2, axis=0), 2, axis=1))


@pytest.mark.parametrize(
    ("mask", "settings", "message"),
    [
        (
            mask_of(0, 4),
            {},
            r"0 \(authentic\), 1 to 3 \(a, b, c\) .*, got \[4\]: id2editor must name the editor",
        ),
        (mask_of(1, 2, 7, 200), {}, r"got \[7, 200\]"),
        (mask_of(0, 4), {"mask_values": "any"}, r"1 to 3 \(a, b, c\) and 255 \(does not count\), got \[4\]"),
        (mask_of(0, 2) / 4, {}, r"got \[0.5\]"),
        (np.arange(4096).reshape(64, 64) % 100, {}, r"got \[4, 5, 6, 7, 8, 9\] and more"),
        (mask_of(0, 255), {}, "got a mask of 0 and 255, in which 255 would not count: .* binary segmentation only"),
        (mask_of(0, 2), {"mask_values": "binary"}, r'got \[0, 2\]: .*for ids of editors set mask_values to "any"'),
        (np.zeros((64, 32), np.uint8), {}, r"expected a mask of the image's size, .* got \(64, 32\)"),
    ],
)
def test_values_that_name_no_editor_are_refused(processor, photo, mask, settings, message):
    with pytest.raises(ValueError, match=message):
        processor(photo, mask, **settings)


def test_without_names_any_id_will_do(processor, photo):
    mask = mask_of(0, 254)
    np.testing.assert_array_equal(labels_of(processor, photo, mask, id2editor=None), mask)


def test_settings_are_saved(processor, photo, tmp_path):
    processor.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "preprocessor_config.json").read_text())["mask_values"] == "ids"
    loaded = ForgeryImageProcessor.from_pretrained(tmp_path)
    assert (loaded.mask_values, loaded.id2editor, loaded.mask_stride) == ("ids", list(EDITORS), 1)
    np.testing.assert_array_equal(labels_of(loaded, photo, mask_of(0, 3)), mask_of(0, 3))


def test_unknown_values_of_the_setting(processor, photo):
    with pytest.raises(ValueError, match="expected mask_values binary, ids, any, got 'colours'"):
        ForgeryImageProcessor(mask_values="colours")
    with pytest.raises(StrictDataclassError, match="mask_values"):
        processor(photo, mask_of(0, 1), mask_values="colours")


def test_a_forward_pass_takes_all_ids(processor, photo):
    labels = processor([photo], [mask_of(0, 1, 3, 255)], return_tensors="pt")["labels"]
    loss = torch.nn.functional.cross_entropy(torch.zeros(1, 4, 64, 64), labels, ignore_index=255)
    assert loss.item() == pytest.approx(np.log(4))
