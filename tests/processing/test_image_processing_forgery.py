"""ForgeryImageProcessor: sizes, values, masks, padding, and the way back from logits to pixels."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from forgescope.processing.image_processing_forgery import ForgeryImageProcessor


@pytest.fixture(scope="module")
def processor():
    return ForgeryImageProcessor()


@pytest.fixture(scope="module")
def native():
    return ForgeryImageProcessor(do_resize=False)


@pytest.fixture
def photo():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8))


def half_mask(width, height, value=255, mode="L"):
    """Forged in the left half."""
    mask = Image.new(mode, (width, height))
    mask.paste(value, (0, 0, width // 2, height))
    return mask


def test_grey_pixels_become_imagenet_normalized_values(processor):
    values = processor(Image.new("RGB", (640, 480), (255, 128, 0)), return_tensors="pt")["pixel_values"]
    assert values.shape == (1, 3, 512, 512)
    assert values.dtype == torch.float32
    expected = (np.array([255, 128, 0]) / 255 - IMAGENET_DEFAULT_MEAN) / IMAGENET_DEFAULT_STD
    np.testing.assert_allclose(values[0, :, 100, 100], expected, atol=1e-5)


def test_labels_lie_on_the_grid_of_the_logits(processor, photo):
    batch = processor(photo, half_mask(90, 60), return_tensors="pt")
    assert batch["labels"].shape == (1, 128, 128)
    assert batch["labels"].dtype == torch.int64
    assert batch["labels"][0, :, :64].eq(1).all()
    assert batch["labels"][0, :, 64:].eq(0).all()


@pytest.mark.parametrize(
    "mask",
    [
        half_mask(90, 60),
        half_mask(90, 60, 1),
        half_mask(90, 60, 1, "1"),
        half_mask(90, 60, 1, "P"),
        np.array(half_mask(90, 60)) > 0,
        torch.from_numpy(np.array(half_mask(90, 60, 1)))[None],
        [np.array(half_mask(90, 60, 1)).astype(np.float32)],
    ],
    ids=["0/255", "0/1", "1-bit", "palette", "bool array", "tensor with a channel", "list of float array"],
)
def test_every_form_of_a_mask_gives_the_same_labels(processor, photo, mask):
    labels = processor(photo, mask, return_tensors="pt")["labels"]
    assert torch.equal(labels, processor(photo, half_mask(90, 60), return_tensors="pt")["labels"])


def test_no_mask_in_a_list_is_an_authentic_image(processor, photo):
    labels = processor([photo, photo], [None, half_mask(90, 60)], return_tensors="pt")["labels"]
    assert labels.sum(dim=(1, 2)).tolist() == [0, 128 * 64]


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (half_mask(60, 90), r"expected a mask of the image's size, \(height, width\) = \(60, 90\), got \(90, 60\)"),
        (Image.new("RGB", (90, 60)), r"got \(60, 90, 3\)"),
        (Image.new("L", (90, 60), 7), r"expected mask values 0 and 1, or 0 and 255 \(forged\), got \[7\]: binarize"),
        (np.arange(5400).reshape(60, 90) % 9, r"got \[0, 1, 2, 3, 4, 5\] and more"),
        ([half_mask(90, 60)] * 2, "expected one mask an image, got 2 masks, 1 images"),
    ],
)
def test_masks_that_do_not_fit_are_refused(processor, photo, mask, message):
    with pytest.raises(ValueError, match=message):
        processor(photo, mask)


def test_sizes_that_the_encoder_cannot_take_are_refused(processor, photo):
    with pytest.raises(ValueError, match="multiples of 32, got 100 x 128: choose such a size, or do_resize=False"):
        processor(photo, size={"height": 100, "width": 128})
    with pytest.raises(ValueError, match="size with the keys height and width"):
        processor(photo, size={"shortest_edge": 128})
    assert processor(photo, size={"height": 96, "width": 128}, return_tensors="pt")["pixel_values"].shape[-1] == 128


def test_native_images_keep_their_pixels_and_are_padded_with_their_edge(native, processor, photo):
    small = photo.crop((0, 0, 33, 20))
    batch = native([photo, small], [half_mask(90, 60), None], return_tensors="pt")
    assert batch["pixel_values"].shape == (2, 3, 64, 96)
    own = np.asarray(photo) / 255
    expected = (own - IMAGENET_DEFAULT_MEAN) / IMAGENET_DEFAULT_STD
    np.testing.assert_allclose(batch["pixel_values"][0, :, :60, :90].permute(1, 2, 0), expected, atol=1e-5)
    assert torch.equal(batch["pixel_values"][0, :, 63, :90], batch["pixel_values"][0, :, 59, :90])
    assert torch.equal(batch["pixel_values"][1, :, :, 95], batch["pixel_values"][1, :, :, 32])
    # label (i, j) is mask pixel (4 i + 2, 4 j + 2); padding is 255
    labels = batch["labels"]
    assert labels.shape == (2, 16, 24)
    assert labels[0, :15, :11].eq(1).all()
    assert labels[0, :15, 12:22].eq(0).all()
    assert labels[0, 15].eq(255).all()
    assert labels[0, :, 23].eq(255).all()
    assert labels[1, :5, :8].eq(0).all()
    assert labels[1, :, 8:].eq(255).all()


def test_a_photograph_is_upright_and_its_mask_has_the_displayed_size(processor, tmp_path):
    lying = Image.new("RGB", (80, 40))
    lying.paste((255, 255, 255), (0, 0, 40, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    lying.save(tmp_path / "photo.png", exif=exif)
    mask = half_mask(40, 80)
    from_path = processor(str(tmp_path / "photo.png"), mask, return_tensors="pt")
    with Image.open(tmp_path / "photo.png") as opened:
        from_image = processor(opened, mask, return_tensors="pt")
    # turned by a quarter clockwise, the left half is the upper half
    assert from_path["pixel_values"][0, 0, :200].min() > 2
    assert from_path["pixel_values"][0, 0, 300:].max() < -2
    assert torch.equal(from_path["pixel_values"], from_image["pixel_values"])
    with pytest.raises(ValueError, match=r"\(height, width\) = \(80, 40\), got \(40, 80\)"):
        processor(str(tmp_path / "photo.png"), half_mask(80, 40))


def test_modes_of_an_image(native):
    def grey(image):
        values = native(image, return_tensors="pt")["pixel_values"][0, :, 0, 0]
        return (values * torch.tensor(IMAGENET_DEFAULT_STD) + torch.tensor(IMAGENET_DEFAULT_MEAN)) * 255

    assert grey(Image.new("L", (9, 9), 77)).round().tolist() == [77, 77, 77]
    assert grey(Image.new("I;16", (9, 9), 65535)).round().tolist() == [255, 255, 255]
    assert grey(Image.new("I;16", (9, 9), 32896)).round().tolist() == [128, 128, 128]
    assert grey(Image.new("RGBA", (9, 9), (0, 0, 0, 0))).round().tolist() == [255, 255, 255]
    assert grey(Image.new("CMYK", (9, 9), (0, 255, 255, 0))).round().tolist() == [255, 0, 0]
    assert grey(np.full((9, 9, 3), 5, np.uint8)).round().tolist() == [5, 5, 5]
    assert grey(torch.full((3, 9, 9), 6, dtype=torch.uint8)).round().tolist() == [6, 6, 6]
    with pytest.raises(ValueError, match=r"floating-point ones \(mode F\)"):
        native(Image.new("F", (9, 9)))
    with pytest.raises(ValueError, match="grey values between 0 and 65535, got 70000"):
        native(Image.new("I", (9, 9), 70000))


def test_saved_and_loaded_it_is_the_same(tmp_path, photo):
    processor = ForgeryImageProcessor(do_resize=False, mask_stride=8, size={"height": 64, "width": 96})
    processor.save_pretrained(tmp_path)
    loaded = ForgeryImageProcessor.from_pretrained(tmp_path)
    assert loaded.to_dict() == processor.to_dict()
    assert loaded(photo, half_mask(90, 60), return_tensors="pt")["labels"].shape == (1, 8, 12)
    saved = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert saved["image_processor_type"] == "ForgeryImageProcessor"
    assert (saved["size"], saved["size_divisor"]) == ({"height": 64, "width": 96}, 32)


def test_without_return_tensors_images_stay_a_list(processor, photo):
    batch = processor([photo, photo], [None, None])
    assert [values.shape for values in batch["pixel_values"]] == [(3, 512, 512)] * 2
    assert [labels.shape for labels in batch["labels"]] == [(128, 128)] * 2


def test_probability_maps_have_the_size_of_the_image(processor):
    logits = torch.full((2, 1, 128, 128), -10.0)
    logits[0, :, :, :64] = 10
    first, second = processor.post_process_probability_map(SimpleNamespace(logits=logits), [(300, 200), (7, 1)])
    assert (first.shape, second.shape) == ((300, 200), (7, 1))
    assert first.dtype == torch.float32
    assert first[:, :98].min() > 0.99
    assert first[:, 102:].max() < 0.01
    assert logits.max() == 10
    on_grid = processor.post_process_probability_map(SimpleNamespace(logits=logits))
    assert on_grid[0].shape == (128, 128)
    assert logits.max() == 10


def test_padding_is_cropped_from_native_maps(native):
    logits = torch.zeros(1, 1, 16, 24)
    logits[..., 15:, :] = 50
    (probabilities,) = native.post_process_probability_map(SimpleNamespace(logits=logits), [(58, 90)])
    assert probabilities.shape == (58, 90)
    # one cell is four pixels: rows below 58 are at least half a cell away from the padded row of cells
    assert probabilities.max() == 0.5
    with pytest.raises(ValueError, match=r"within the padded input \(64, 96\), got \(65, 90\)"):
        native.post_process_probability_map(SimpleNamespace(logits=logits), [(65, 90)])


def test_class_maps_follow_the_threshold(processor):
    logits = torch.logit(torch.tensor([0.2, 0.5, 0.9])).view(1, 1, 1, 3).bfloat16()
    outputs = SimpleNamespace(logits=logits)
    assert processor.post_process_semantic_segmentation(outputs)[0].tolist() == [[0, 1, 1]]
    assert processor.post_process_semantic_segmentation(outputs, threshold=0.7)[0].tolist() == [[0, 0, 1]]
    classes = processor.post_process_semantic_segmentation(outputs, target_sizes=[(4, 9)])[0]
    assert classes.dtype == torch.int64
    assert classes.shape == (4, 9)
    with pytest.raises(ValueError, match="one target size an image, got 2 for 1 images"):
        processor.post_process_semantic_segmentation(outputs, target_sizes=[(4, 9)] * 2)


def test_several_classes_are_authentic_first(processor):
    logits = torch.log(torch.tensor([0.5, 0.2, 0.3])).view(1, 3, 1, 1)
    (probability,) = processor.post_process_probability_map(SimpleNamespace(logits=logits))
    assert probability.item() == pytest.approx(0.5)
    assert processor.post_process_semantic_segmentation(SimpleNamespace(logits=logits))[0].item() == 0
