"""Analyzer: equal to the plain model, equal in batches, whole or in tiles, one bad image never stops the others."""

import logging

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import BertConfig, pipeline

import forgescope
from forgescope.analyze import Analyzer, Failure
from forgescope.decision import image_score
from forgescope.modeling.modeling_iclnet import ICLNetForForgerySegmentation, ICLNetModel
from forgescope.processing.image_processing_forgery import ForgeryImageProcessor
from forgescope.reading import ImageReadError


@pytest.fixture(scope="module")
def analyzer(tiny_checkpoint):
    return Analyzer(tiny_checkpoint, device="cpu")


@pytest.fixture(scope="module")
def native(native_checkpoint):
    return Analyzer(native_checkpoint, device="cpu")


@pytest.fixture(scope="module")
def plain_model(tiny_checkpoint):
    return ICLNetForForgerySegmentation.from_pretrained(tiny_checkpoint).eval()


def plain_map(model, processor, photo):
    """Probability map straight from transformers' own classes."""
    inputs = processor(photo, return_tensors="pt")
    with torch.inference_mode():
        logits = model(**inputs).logits
    grid = inputs["pixel_values"].shape[-2:] if not processor.do_resize else (photo.height, photo.width)
    upsampled = F.interpolate(logits, size=grid, mode="bilinear", align_corners=False)
    return upsampled[0, 0, : photo.height, : photo.width].sigmoid().numpy()


def test_maps_equal_the_plain_model(analyzer, plain_model, photos):
    processor = ForgeryImageProcessor(size={"height": 128, "width": 128})
    maps = analyzer.probability_maps(photos)
    assert [one.shape for one in maps] == [(photo.height, photo.width) for photo in photos]
    assert all(one.dtype == np.float32 for one in maps)
    for photo, one in zip(photos, maps, strict=True):
        np.testing.assert_allclose(one, plain_map(plain_model, processor, photo), atol=1e-5)


def test_native_maps_equal_the_plain_model_up_to_one_tile(native, plain_model, photos):
    processor = ForgeryImageProcessor(do_resize=False)
    for photo in (photos[4], photos[5]):
        (one,) = native.probability_maps([photo])
        np.testing.assert_allclose(one, plain_map(plain_model, processor, photo), atol=1e-5)


@pytest.mark.parametrize("tile", [None, 96], ids=["resized", "tiles"])
def test_batches_equal_single_images(tiny_checkpoint, photos, tile):
    single = Analyzer(tiny_checkpoint, device="cpu", batch_size=1, tile=tile, overlap=32)
    batched = Analyzer(tiny_checkpoint, device="cpu", batch_size=4, tile=tile, overlap=32)
    for one, report in zip(photos, batched.analyze_many(photos), strict=True):
        alone = single.analyze(one)
        assert report.score == pytest.approx(alone.score, abs=1e-5)
        np.testing.assert_allclose(report.probability_map, alone.probability_map, atol=1e-5)
        assert report.notes == alone.notes


def test_reports_follow_the_rule_of_the_checkpoint(analyzer, photos):
    report = analyzer.analyze(photos[0])
    assert report.score == image_score(report.probability_map, 0.02)
    assert report.verdict == ("forged" if report.score >= 0.505 else "inconclusive")
    np.testing.assert_array_equal(report.mask, report.probability_map >= 0.5)
    assert report.mask.dtype == np.uint8
    assert report.forged_fraction == report.mask.mean()
    assert report.precision == "float32"
    assert report.notes[0] == "Examined whole, resized to 128 x 128 pixels, not in tiles."
    assert (report.attribution, report.explanation, report.path) == (None, None, None)


def test_thresholds_of_the_caller_decide(tiny_checkpoint, photos):
    verdicts = [Analyzer(tiny_checkpoint, threshold=threshold).analyze(photos[0]).verdict for threshold in (0.1, 0.9)]
    assert verdicts == ["forged", "inconclusive"]
    assert Analyzer(tiny_checkpoint, mask_threshold=0.99).analyze(photos[0]).forged_fraction == 0


def test_large_photographs_are_examined_in_tiles(native, photos):
    report = native.analyze(photos[3])
    assert report.notes[0] == "Examined at its own resolution in 12 tiles of 128 pixels that overlap by 64."
    assert report.mask.shape == (200, 300)
    assert native.analyze(photos[5]).notes[0] == "Examined whole, at its own resolution."


def test_a_tile_size_makes_a_resizing_checkpoint_look_at_the_pixels(tiny_checkpoint, native_checkpoint, photos):
    tiles = Analyzer(tiny_checkpoint, tile=128).analyze(photos[3])
    np.testing.assert_allclose(
        tiles.probability_map, Analyzer(native_checkpoint).analyze(photos[3]).probability_map, atol=1e-5
    )
    with pytest.raises(ValueError, match="tile size that is a positive multiple of 32, got 100"):
        Analyzer(tiny_checkpoint, tile=100)


def test_bfloat16_is_said_and_near(tiny_checkpoint, analyzer, photos):
    report = Analyzer(tiny_checkpoint, device="cpu", dtype="bfloat16").analyze(photos[0])
    assert report.precision == "bfloat16"
    exact = analyzer.analyze(photos[0]).probability_map
    assert 0 < np.abs(report.probability_map - exact).max() < 0.02


def test_a_rotated_photograph_gives_a_mask_of_the_displayed_size(analyzer, photos, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    photos[0].save(tmp_path / "a.jpg", exif=exif)
    report = analyzer.analyze(tmp_path / "a.jpg")
    assert report.mask.shape == (150, 100)
    assert report.overlay().size == (100, 150)
    assert report.path == str(tmp_path / "a.jpg")
    assert report.notes[0] == "Turned upright as its EXIF orientation (6) says."


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (31, 31)])
def test_tiny_images_are_inconclusive(analyzer, native, size):
    for one in (analyzer, native):
        report = one.analyze(Image.new("RGB", size))
        assert report.verdict == "inconclusive"
        assert report.mask.shape == size[::-1]
        assert report.notes[0].startswith(f"Only {size[0]} x {size[1]} pixels")


def test_one_bad_image_never_stops_the_others(analyzer, photos, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    items = [photos[0], str(tmp_path / "bad.jpg"), photos[1], str(tmp_path / "missing.jpg")]
    first, bad, second, missing = analyzer.results(items)
    assert first.mask.shape == (100, 150)
    assert second.mask.shape == (150, 100)
    assert isinstance(bad, Failure)
    assert bad.path == str(tmp_path / "bad.jpg")
    assert bad.error.startswith(f"{tmp_path / 'bad.jpg'}: not an image")
    assert missing.error == f"{tmp_path / 'missing.jpg'}: no such file"
    reports = analyzer.analyze_many(items)
    assert next(reports).mask.shape == (100, 150)
    with pytest.raises(ImageReadError, match=r"bad.jpg: not an image"):
        next(reports)


def test_images_are_read_as_they_are_needed(analyzer, photos):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield photos[0]

    results = analyzer.results(endless())
    next(results)
    next(results)
    assert len(taken) == 2


def test_broken_weights_give_no_verdict(tiny_checkpoint, photos):
    model = ICLNetForForgerySegmentation.from_pretrained(tiny_checkpoint)
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    (failure,) = Analyzer(model, ForgeryImageProcessor()).results([photos[0]])
    assert failure.error == (
        "image: the model returned values that are not numbers: use dtype float32, or check its weights"
    )


def test_a_loaded_model_is_used_as_it_is(tiny_checkpoint, analyzer, photos):
    model = ICLNetForForgerySegmentation.from_pretrained(tiny_checkpoint)
    processor = ForgeryImageProcessor.from_pretrained(tiny_checkpoint)
    kinds = [type(module) for module in model.modules()]
    own = Analyzer(model, processor)
    np.testing.assert_allclose(
        own.analyze(photos[1]).probability_map, analyzer.analyze(photos[1]).probability_map, atol=1e-5
    )
    assert [type(module) for module in model.modules()] == kinds
    assert own.name == str(tiny_checkpoint)
    with pytest.raises(ValueError, match="expected a processor with a loaded model"):
        Analyzer(model)


def test_unsuitable_checkpoints_are_refused_in_one_sentence(tiny_checkpoint, tmp_path):
    BertConfig(num_hidden_layers=1).save_pretrained(tmp_path / "bert")
    with pytest.raises(ValueError, match="has model type 'bert', which cannot be used here; expected iclnet"):
        Analyzer(tmp_path / "bert")
    with pytest.raises(ValueError, match="unknown checkpoint './nowhere': no such folder"):
        Analyzer("./nowhere")
    ICLNetModel.from_pretrained(tiny_checkpoint).save_pretrained(tmp_path / "base")
    with pytest.raises(ValueError, match="weights of ICLNetForForgerySegmentation"):
        Analyzer(tmp_path / "base")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dtype": "float8"}, "expected dtype auto, float32, bfloat16, got 'float8'"),
        ({"device": "nonsense"}, "device 'nonsense' cannot be used"),
        ({"batch_size": 0}, "batch size of at least 1, got 0"),
        ({"threshold": 2}, "forged_threshold between 0 and 1, got 2"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tiny_checkpoint, settings, message):
    with pytest.raises(ValueError, match=message):
        Analyzer(tiny_checkpoint, **settings)


def test_one_call_from_the_top_of_the_package(tiny_checkpoint, analyzer, photos, tmp_path):
    report = forgescope.analyze(photos[0], model=tiny_checkpoint)
    assert report.score == pytest.approx(analyzer.analyze(photos[0]).score, abs=1e-6)
    # a checkpoint that was trained on is loaded again
    model = ICLNetForForgerySegmentation.from_pretrained(tiny_checkpoint)
    processor = ForgeryImageProcessor.from_pretrained(tiny_checkpoint)
    for bias in (9.0, -9.0):
        torch.nn.init.constant_(list(model.parameters())[-1], bias)
        model.save_pretrained(tmp_path)
        processor.save_pretrained(tmp_path)
        score = forgescope.analyze(photos[0], model=str(tmp_path)).score
        assert (score > 0.9) == (bias > 0)


def test_the_stock_pipeline_runs_and_logs_no_error(tiny_checkpoint, analyzer, photos, caplog):
    logging.getLogger("transformers").propagate = True
    caplog.set_level(logging.WARNING)
    segment = pipeline("image-segmentation", model=str(tiny_checkpoint), device="cpu")
    found = {one["label"]: one for one in segment(photos[0])}
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert set(found) <= {"authentic", "forged"}
    np.testing.assert_array_equal(np.asarray(found["forged"]["mask"]), analyzer.analyze(photos[0]).mask * 255)
    batch = segment(photos[:3], batch_size=2)
    assert [one[0]["mask"].size for one in batch] == [photo.size for photo in photos[:3]]


def test_an_empty_name_is_no_checkpoint():
    with pytest.raises(ValueError, match="the name of the checkpoint is empty"):
        Analyzer("")
