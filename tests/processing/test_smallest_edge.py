"""Small images are enlarged before padding, their masks alike, and outputs come back at the image's own size."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from forgescope.processing.image_enlarging import enlarged_size
from forgescope.processing.image_processing_forgery import ForgeryImageProcessor


@pytest.fixture(scope="module")
def processor():
    return ForgeryImageProcessor(do_resize=False, smallest_edge=128, size={"height": 128, "width": 128})


@pytest.fixture(scope="module")
def photo():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("size", "enlarged"),
    [
        ((60, 90), (128, 192)),
        ((90, 61), (189, 128)),
        ((128, 3), (2048, 48)),
        ((1, 1), (128, 128)),
        ((3, 1), (384, 128)),
        ((1, 5000), (1, 5000)),
        ((100, 1700), (120, 2048)),
        ((128, 128), (128, 128)),
        ((200, 4000), (200, 4000)),
    ],
)
def test_the_shorter_edge_grows_and_the_aspect_is_kept(size, enlarged):
    assert enlarged_size(*size, 128) == enlarged
    assert enlarged_size(*size, None) == size
    assert min(enlarged) / max(enlarged) == pytest.approx(min(size) / max(size), rel=0.01)


def test_every_enlargement_is_bounded():
    sizes = [(height, width) for height in range(1, 140, 9) for width in (1, 7, 127, 128, 999, 2047, 2049, 60_000)]
    for size in sizes:
        height, width = enlarged_size(*size, 128)
        assert height >= size[0]
        assert width >= size[1]
        assert (height, width) == size or max(height, width) <= 16 * 128


def test_small_images_are_enlarged_with_the_filter_of_the_processor_then_padded(processor, photo):
    batch = processor([photo, photo.resize((140, 130))], return_tensors="pt")
    assert batch["pixel_values"].shape == (2, 3, 160, 192)
    values = batch["pixel_values"][0] * torch.tensor(IMAGENET_DEFAULT_STD).view(3, 1, 1)
    values = (values + torch.tensor(IMAGENET_DEFAULT_MEAN).view(3, 1, 1)) * 255
    own = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float()
    slow = F.interpolate(own, size=(128, 192), mode="bilinear", align_corners=False)[0]
    assert (values[:, :128] - slow).abs().max() <= 1.001  # rounding to 8 bits
    assert torch.equal(batch["pixel_values"][0, :, 159], batch["pixel_values"][0, :, 127])
    nearest = processor(photo, resample=Image.Resampling.NEAREST, return_tensors="pt")["pixel_values"][0]
    assert torch.unique(nearest[0, 0]).numel() <= 90


def test_without_it_nothing_changes(photo):
    plain = ForgeryImageProcessor(do_resize=False)
    assert plain.smallest_edge is None
    assert "smallest_edge" not in plain.to_dict()
    assert plain(photo, return_tensors="pt")["pixel_values"].shape[-2:] == (64, 96)
    resizing = ForgeryImageProcessor(smallest_edge=700)
    assert torch.equal(
        resizing(photo, return_tensors="pt")["pixel_values"],
        ForgeryImageProcessor()(photo, return_tensors="pt")["pixel_values"],
    )


def test_a_call_can_switch_it_off(processor, photo):
    assert processor(photo, smallest_edge=None, return_tensors="pt")["pixel_values"].shape[-2:] == (64, 96)


@pytest.mark.parametrize("stride", [1, 4])
def test_masks_are_enlarged_like_their_images(processor, photo, stride):
    mask = np.zeros((60, 90), np.uint8)
    mask[:30, 45:] = 1
    labels = processor([photo, photo], [mask, None], mask_stride=stride, return_tensors="pt")["labels"]
    assert labels.shape == (2, 128 // stride, 192 // stride)
    expected = torch.zeros(128, 192, dtype=torch.int64)
    expected[:64, 96:] = 1
    assert torch.equal(labels[0], expected[::stride, ::stride])
    assert not labels[1].any()
    larger = photo.resize((250, 150))
    labels = processor([photo, larger], [mask, None], mask_stride=stride, return_tensors="pt")["labels"]
    assert labels[0, 128 // stride :].eq(255).all()
    assert labels[0, :, 192 // stride :].eq(255).all()
    assert torch.equal(labels[0, : 128 // stride, : 192 // stride], expected[::stride, ::stride])


def test_a_mask_must_have_the_size_before_enlarging(processor, photo):
    with pytest.raises(ValueError, match=r"\(height, width\) = \(60, 90\), got \(128, 192\)"):
        processor(photo, np.zeros((128, 192), np.uint8))


def test_outputs_come_back_at_the_image_s_own_size(processor):
    # cells of 4 pixels of a padded input of 160 x 192; the image is 60 x 90, enlarged to 128 x 192
    logits = torch.full((1, 1, 40, 48), -8.0)
    logits[..., :16, 24:] = 8
    logits[..., 32:, :] = 50  # padding
    outputs = SimpleNamespace(logits=logits)
    (probabilities,) = processor.post_process_probability_map(outputs, [(60, 90)])
    assert probabilities.shape == (60, 90)
    assert probabilities[:28, 48:].min() > 0.99
    assert probabilities[:28, :42].max() < 0.01
    # one row is 2.13 pixels of the input: only rows of the last half cell have seen padding
    assert probabilities[32:59].max() < 0.01
    (classes,) = processor.post_process_semantic_segmentation(outputs, [(60, 90)])
    assert torch.equal(classes, (probabilities >= 0.5).long())


def test_maps_of_large_and_small_images_follow_a_slow_twin(processor):
    logits = torch.randn(2, 1, 40, 48, generator=torch.Generator().manual_seed(0))
    small, large = processor.post_process_probability_map(SimpleNamespace(logits=logits), [(60, 90), (150, 170)])
    whole = F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False)
    assert torch.allclose(large, whole[1, 0, :150, :170].sigmoid())
    reduced = F.interpolate(
        whole[:1, :, :128, :192], size=(60, 90), mode="bilinear", align_corners=False, antialias=True
    )
    assert torch.allclose(small, reduced[0, 0].sigmoid())
    with pytest.raises(ValueError, match=r"within the padded input \(160, 192\), got \(128, 256\)"):
        processor.post_process_probability_map(SimpleNamespace(logits=logits[:1]), [(60, 120)])


def test_there_and_back_again(processor, photo):
    """The labels of an enlarged image, read as logits, are its mask."""
    mask = np.zeros((60, 90), np.uint8)
    mask[15:45, 30:75] = 1
    labels = processor(photo, mask, return_tensors="pt")["labels"]
    logits = (labels[:, None].float() - 0.5) * 20
    (back,) = processor.post_process_semantic_segmentation(SimpleNamespace(logits=logits), [(60, 90)])
    wrong = (back.numpy() != mask).sum()
    assert wrong <= 150  # one pixel along the border of the region


def test_saved_and_loaded_it_is_the_same(processor, photo, tmp_path):
    processor.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "preprocessor_config.json").read_text())["smallest_edge"] == 128
    loaded = ForgeryImageProcessor.from_pretrained(tmp_path)
    assert loaded.to_dict() == processor.to_dict()
    assert loaded(photo, return_tensors="pt")["pixel_values"].shape[-2:] == (128, 192)
