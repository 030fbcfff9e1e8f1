"""Detection with a classifier: its score by tiles, both masks, and what a checkpoint without a head leaves out."""

import csv
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from report_page import entries, page_data
from transformers.utils import logging as transformers_logging

from forgescope.analyze import Analyzer, Failure
from forgescope.cli import main
from forgescope.evaluation.evaluator import Evaluator, Example
from forgescope.evaluation.rows import result_rows
from forgescope.evaluation.rules import SegmentationRule
from forgescope.modeling.configuration_gamma import GammaConfig
from forgescope.modeling.modeling_gamma import GammaForDetection
from forgescope.processing.image_processing_forgery import ForgeryImageProcessor
from forgescope.tiling import plan_tiles

TILE = 128
TINY_ENCODER = {
    "depths": (1, 1, 1, 1),
    "hidden_sizes": (8, 16, 24, 32),
    "num_attention_heads": (1, 2, 3, 4),
    "sr_ratios": (4, 2, 1, 1),
    "drop_path_rate": 0.0,
}
# Random weights answer near 0.5; these factors spread the answers, so that tiles and photographs differ.
CLASSIFIER_GAIN, MASK_GAIN = 200.0, 50.0
RULE = {"forged_threshold": 0.6, "authentic_threshold": 0.45}


def make_checkpoint(folder, **settings):
    """Save a tiny random model whose processor keeps pixels and enlarges up to one tile."""
    torch.manual_seed(0)
    config = GammaConfig(encoder_config=TINY_ENCODER, decoder_hidden_size=16, num_attention_heads=2, **RULE | settings)
    model = GammaForDetection(config)
    with torch.no_grad():
        model.classifier.weight *= CLASSIFIER_GAIN
        for decoder in model.decoders.values():
            decoder.classifier.weight *= MASK_GAIN
    model.save_pretrained(folder)
    size = {"height": TILE, "width": TILE}
    ForgeryImageProcessor(do_resize=False, smallest_edge=TILE, size=size).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("gamma") / "tiny")


@pytest.fixture(scope="module")
def analyzer(checkpoint):
    return Analyzer(checkpoint, device="cpu", overlap=32)


@pytest.fixture(scope="module")
def plain(checkpoint):
    """The model and its processor straight from transformers' own loading."""
    return GammaForDetection.from_pretrained(checkpoint).eval(), ForgeryImageProcessor.from_pretrained(checkpoint)


@pytest.fixture
def forgescope(monkeypatch, capsys):
    """Run the command line in this process; gives exit status, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["forgescope", *map(str, arguments)])
        with pytest.raises(SystemExit) as status:
            main()
        captured = capsys.readouterr()
        return status.value.code, captured.out, captured.err

    verbosity = transformers_logging.get_verbosity()
    yield run
    transformers_logging.set_verbosity(verbosity)
    transformers_logging.enable_progress_bar()


@torch.inference_mode()
def one_pass(plain, photo):
    """Fake probability of one picture and the logits of both masks (h, w), without any of our inference code."""
    model, processor = plain
    outputs = model(**processor(photo, smallest_edge=None, return_tensors="pt"))
    fake = outputs.logits.softmax(dim=-1)[0, 1].item()
    return fake, outputs.manipulation_logits[0, 0], outputs.ai_logits[0, 0]


def enlarged(photo, height, width):
    """Bilinear enlarging of the 8-bit pixels, rounded."""
    pixels = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float()
    pixels = F.interpolate(pixels, size=(height, width), mode="bilinear", align_corners=False).round()
    return Image.fromarray(pixels[0].permute(1, 2, 0).byte().numpy())


def test_a_photograph_of_one_tile_equals_the_plain_model(analyzer, plain, photos):
    photo = photos[3].crop((7, 9, 7 + TILE, 9 + TILE))
    fake, altered, made = one_pass(plain, photo)
    report = analyzer.analyze(photo)
    (found,) = analyzer.examine([photo])
    assert report.score == found.score == pytest.approx(fake, abs=1e-5)
    for one, logits in ((found.probability_map, altered), (found.ai_map, made)):
        slow = F.interpolate(logits[None, None], scale_factor=4, mode="bilinear", align_corners=False)[0, 0].sigmoid()
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, slow, atol=1e-5)
    np.testing.assert_array_equal(report.mask, found.probability_map >= 0.5)
    np.testing.assert_array_equal(report.ai_mask, found.ai_map >= 0.5)
    np.testing.assert_array_equal(report.probability_map, found.probability_map)
    assert report.mask.dtype == report.ai_mask.dtype == np.uint8
    assert (report.forged_fraction, report.ai_fraction) == (report.mask.mean(), report.ai_mask.mean())
    assert not np.array_equal(report.mask, report.ai_mask)
    assert report.notes[0] == "Examined whole, at its own resolution."


def test_a_small_photograph_is_enlarged_and_its_masks_come_back(analyzer, plain, photos):
    photo = photos[5]
    fake, altered, _ = one_pass(plain, enlarged(photo, TILE, TILE))
    (found,) = analyzer.examine([photo])
    # the two ways of enlarging may round a pixel differently
    assert found.score == pytest.approx(fake, abs=0.02)
    whole = F.interpolate(altered[None, None], scale_factor=4, mode="bilinear", align_corners=False)
    slow = F.interpolate(whole, size=(64, 64), mode="bilinear", align_corners=False, antialias=True)[0, 0].sigmoid()
    np.testing.assert_allclose(found.probability_map, slow, atol=0.02)
    assert analyzer.analyze(photo).notes[0] == "Enlarged to 128 x 128 pixels and examined whole."


@pytest.mark.parametrize("index", [0, 3], ids=["enlarged", "large"])
def test_the_score_of_a_large_photograph_is_made_of_its_tiles(checkpoint, plain, photos, index):
    photo = photos[index]
    shown = enlarged(photo, 128, 192) if min(photo.size) < TILE else photo
    tiles = plan_tiles(shown.height, shown.width, TILE, 32, 4)
    fakes = [one_pass(plain, shown.crop((one.left, one.top, one.right, one.bottom)))[0] for one in tiles]
    top, left = (shown.height - TILE) // 2, (shown.width - TILE) // 2
    center = one_pass(plain, shown.crop((left, top, left + TILE, top + TILE)))[0]
    expected = {"max": max(fakes), "mean": np.mean(fakes), "center": center}
    assert np.ptp(list(expected.values())) > 0.01
    for reduction, score in expected.items():
        model = GammaForDetection.from_pretrained(checkpoint)
        model.config.score_reduction = reduction
        report = Analyzer(model, plain[1], overlap=32, batch_size=3).analyze(photo)
        assert report.score == pytest.approx(score, abs=1e-4 if photo is shown else 0.02)
        assert report.mask.shape == report.ai_mask.shape == (photo.height, photo.width)
    count = "in 2 tiles" if index == 0 else "in 6 tiles"
    assert f"{count} of 128 pixels that overlap by 32." in report.notes[0]


def test_the_tiles_of_a_classifier_hold_the_photograph_s_own_pixels(analyzer, photos):
    """At most the three pixels that a cell of the mask lacks are padded, where 31 would be with starts of 32."""
    for photo in (photos[3], photos[3].resize((403, 290))):
        tiles = plan_tiles(photo.height, photo.width, TILE, 32, analyzer.localizer.alignment)
        assert min(one.bottom - one.top for one in tiles) > TILE - 4
        assert min(one.right - one.left for one in tiles) > TILE - 4
        assert (tiles[-1].bottom, tiles[-1].right) == (photo.height, photo.width)


def test_the_maps_of_tiles_agree_with_those_of_each_tile(analyzer, plain, photos):
    """In the middle of a tile, where no neighbour reaches, the blended map is the tile's own."""
    photo = photos[3]
    (found,) = analyzer.examine([photo])
    _, altered, made = one_pass(plain, photo.crop((0, 0, TILE, TILE)))
    for one, logits in ((found.probability_map, altered), (found.ai_map, made)):
        slow = F.interpolate(logits[None, None], scale_factor=4, mode="bilinear", align_corners=False)[0, 0].sigmoid()
        assert one.shape == (200, 300)
        # rows from 72 on belong to the second row of tiles, columns from 96 on to the second column
        np.testing.assert_allclose(one[:68, :90], slow[:68, :90], atol=1e-5)


def test_batches_equal_single_images(checkpoint, photos):
    single = Analyzer(checkpoint, device="cpu", batch_size=1)
    batched = Analyzer(checkpoint, device="cpu", batch_size=4)
    for photo, report in zip(photos, batched.analyze_many(photos), strict=True):
        alone = single.analyze(photo)
        assert report.score == pytest.approx(alone.score, abs=1e-4)
        np.testing.assert_allclose(report.probability_map, alone.probability_map, atol=1e-4)
        assert np.mean(report.ai_mask == alone.ai_mask) > 0.999
        assert report.notes == alone.notes


def test_the_verdict_follows_the_classifier_and_the_rule_says_so(checkpoint, photos):
    scores = [one.score for one in Analyzer(checkpoint).examine(photos)]
    assert np.ptp(scores) > 0.05
    middle = float(np.median(scores))
    for photo, score in zip(photos, scores, strict=True):
        report = Analyzer(checkpoint, threshold=middle).analyze(photo)
        assert (report.verdict == "forged") == (score >= middle)
    assert report.rule.describe().startswith(
        "The score is the probability of AI-made pixels, the highest of all tiles."
    )


def test_marked_pixels_below_the_threshold_are_explained(checkpoint, photos):
    quiet = Analyzer(checkpoint, threshold=1, mask_threshold=0.1).analyze(photos[0])
    assert quiet.notes[1:] == [
        "Pixels are marked, but the score is too low to call the image forged.",
        "The score tells AI-made pixels; pixels that were copied or pasted are marked without raising it.",
    ]
    loud = Analyzer(checkpoint, threshold=0, mask_threshold=1).analyze(photos[0])
    assert loud.notes[1:] == ["The score calls the image forged, but no pixel is marked."]


@pytest.mark.parametrize("index", [3, 5], ids=["tiles", "whole"])
def test_a_checkpoint_without_a_manipulation_head_marks_ai_made_pixels(tmp_path, photos, index):
    analyzer = Analyzer(make_checkpoint(tmp_path, use_manipulation_head=False))
    report = analyzer.analyze(photos[index])
    np.testing.assert_array_equal(report.mask, report.ai_mask)
    assert 0 < report.ai_fraction == report.forged_fraction
    assert "This checkpoint has no head for altered pixels: the mask shows the AI-made ones." in report.notes


@pytest.mark.parametrize("index", [3, 5], ids=["tiles", "whole"])
def test_a_checkpoint_without_an_ai_head_has_no_ai_mask(tmp_path, photos, index):
    report = Analyzer(make_checkpoint(tmp_path, use_ai_head=False)).analyze(photos[index])
    assert (report.ai_mask, report.ai_fraction, report.ai_mask_image()) == (None, None, None)
    assert report.mask.any()
    assert report.to_dict()["ai_fraction"] is None


@pytest.mark.parametrize("index", [3, 5], ids=["tiles", "whole"])
def test_a_checkpoint_without_masks_still_gives_a_verdict(tmp_path, photos, index):
    analyzer = Analyzer(make_checkpoint(tmp_path, use_manipulation_head=False, use_ai_head=False))
    report = analyzer.analyze(photos[index])
    assert 0 < report.score < 1
    assert (report.mask.shape, report.mask.any()) == (photos[index].size[::-1], False)
    assert (report.regions, report.probability_map, report.ai_mask) == ([], None, None)
    assert report.notes[1:] == ["This checkpoint has no mask head: no pixel is marked."]
    np.testing.assert_array_equal(report.overlay(), photos[index])
    assert analyzer.examine([photos[index]])[0].probability_map is None
    with pytest.raises(ValueError, match=r"has no mask head, so there are no probability maps: use examine\(\)"):
        analyzer.probability_maps([photos[index]])


def test_a_processor_that_resizes_shows_the_photograph_whole(plain, photos):
    model, _ = plain
    processor = ForgeryImageProcessor(size={"height": 64, "width": 96}, smallest_edge=TILE)
    with torch.inference_mode():
        outputs = model(**processor(photos[0], return_tensors="pt"))
    report = Analyzer(model, processor).analyze(photos[0])
    assert report.score == pytest.approx(outputs.logits.softmax(dim=-1)[0, 1].item(), abs=1e-5)
    slow = F.interpolate(outputs.ai_logits, size=(100, 150), mode="bilinear", align_corners=False)[0, 0] >= 0
    np.testing.assert_array_equal(report.ai_mask, slow)


@pytest.mark.parametrize("size", [(1, 1), (31, 31), (1, 3000)])
def test_tiny_images_are_inconclusive(analyzer, size):
    report = analyzer.analyze(Image.new("RGB", size))
    assert report.verdict == "inconclusive"
    assert report.mask.shape == report.ai_mask.shape == size[::-1]
    assert report.notes[0].startswith(f"Only {size[0]} x {size[1]} pixels")


def test_cmyk_and_a_rotated_photograph(analyzer, photos, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    photos[0].convert("CMYK").save(tmp_path / "a.jpg", exif=exif)
    report = analyzer.analyze(tmp_path / "a.jpg")
    assert report.notes[:3] == [
        "Turned upright as its EXIF orientation (6) says.",
        "CMYK colours were converted to RGB.",
        "Enlarged to 128 x 192 pixels and examined in 2 tiles of 128 pixels that overlap by 32.",
    ]
    assert report.mask.shape == report.ai_mask.shape == (150, 100)
    assert report.overlay().size == (100, 150)


def test_bfloat16_is_near(checkpoint, analyzer, photos):
    (rounded,) = Analyzer(checkpoint, device="cpu", dtype="bfloat16").examine([photos[5]])
    (exact,) = analyzer.examine([photos[5]])
    assert 0 < abs(rounded.score - exact.score) < 0.1
    assert np.abs(rounded.ai_map - exact.ai_map).mean() < 0.02


@pytest.mark.parametrize("part", ["classifier", "decoders"])
def test_broken_weights_give_no_verdict(plain, checkpoint, photos, part):
    model = GammaForDetection.from_pretrained(checkpoint)
    with torch.no_grad():
        list(getattr(model, part).parameters())[-1].fill_(float("nan"))
    (failure,) = Analyzer(model, plain[1]).results([photos[3]])
    assert isinstance(failure, Failure)
    assert failure.error == (
        "image: the model returned values that are not numbers: use dtype float32, or check its weights"
    )


def test_a_folder_on_the_command_line(forgescope, checkpoint, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, photo in (("large", photos[3]), ("small", photos[5])):
        (tmp_path / "photos").mkdir(exist_ok=True)
        photo.save(tmp_path / f"photos/{name}.png")
    (tmp_path / "photos/bad.png").touch()
    out = tmp_path / "out"
    command = ("detect", "photos", "--model", checkpoint, "--out", "out")
    status, text, err = forgescope(*command, "--format", "html")
    assert status == 1
    assert "bad.png: the file is empty" in err
    rows = {
        row["path"].split("/")[-1]: row for row in map(json.loads, (out / "report.jsonl").read_text().splitlines())
    }
    for name, photo in (("large.png", photos[3]), ("small.png", photos[5])):
        row, report = rows[name], Analyzer(checkpoint).analyze(photo)
        assert row["score"] == pytest.approx(report.score, abs=1e-4)
        assert (row["verdict"], row["error"], row["tile"]) == (report.verdict, None, TILE)
        assert row["ai_fraction"] == pytest.approx(report.ai_fraction, abs=1e-3)
        for key, mask in (("mask", report.mask), ("ai_mask", report.ai_mask)):
            picture = Image.open(row[key])
            assert (picture.format, picture.mode) == ("PNG", "L")
            assert np.mean(np.asarray(picture) == mask * 255) > 0.999
        assert row["rule"].startswith("The score is the probability of AI-made pixels, the highest of all tiles.")
        assert re.search(rf"{row['verdict']} .*AI-made +{100 * row['ai_fraction']:.2f}%  .*{name}", text)
    assert rows["bad.png"]["ai_mask"] is None
    assert "masks:    out/masks/\nai_masks: out/ai_masks/\noverlays: out/overlays/\n" in text
    page = (out / "report.html").read_text()
    assert "Blue hatching with a blue outline marks those that it takes for AI-made" in page
    assert page_data(page)["with"]["ai"]
    shown = entries(page)
    for name in ("large.png", "small.png"):
        assert shown[name]["ai"] == rows[name]["ai_fraction"]
        assert ["AI-made mask", os.path.relpath(rows[name]["ai_mask"], out)] in shown[name]["files"]
        layers = [layer["kind"] for layer in shown[name]["pictures"]["layers"]]
        assert layers == ["overlay", "probability_map", "mask", "ai_mask"]
    assert forgescope(*command, "--format", "csv")[0] == 1
    with open(out / "report.csv", newline="") as file:
        lines = {line["path"].split("/")[-1]: line for line in csv.DictReader(file)}
    assert lines["large.png"]["ai_mask"] == rows["large.png"]["ai_mask"]
    assert float(lines["small.png"]["ai_fraction"]) == rows["small.png"]["ai_fraction"]


def test_an_evaluation_takes_the_score_of_the_classifier_and_the_pixels_of_the_map(checkpoint, photos, tmp_path):
    mask = np.zeros((200, 300), np.uint8)
    mask[50:150, 80:200] = 1
    examples = [Example(photos[3], mask, name="altered"), Example(photos[5], name="plain")]
    analyzer = Analyzer(checkpoint)
    result = Evaluator(analyzer.examine, [SegmentationRule(metrics=("iou",))]).run(examples)
    found = analyzer.examine([photos[3], photos[5]])
    assert [record.score for record in result.records] == pytest.approx([one.score for one in found], abs=1e-5)
    (row,) = [row for row in result_rows(result, "custom", resamples=0) if row.metric == "pixel_iou"]
    marked = found[0].probability_map >= 0.5
    assert row.value == pytest.approx((marked & (mask > 0)).sum() / (marked | (mask > 0)).sum(), abs=1e-3)
    bare = Analyzer(make_checkpoint(tmp_path, use_manipulation_head=False, use_ai_head=False))
    result = Evaluator(bare.examine, [SegmentationRule(metrics=("iou",))]).run(examples)
    assert [record.pixels for record in result.records] == [None, None]
    assert not result.skipped


@pytest.mark.slow
def test_a_photograph_of_50_megapixels_stays_under_2_gb(checkpoint, photos, tmp_path):
    photos[3].resize((8660, 5774)).save(tmp_path / "large.jpg", quality=92)
    script = (
        "import resource, sys\n"
        "from forgescope.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    arguments = ["detect", tmp_path / "large.jpg", "--model", checkpoint, "--out", tmp_path / "out", "--tile", "512"]
    run = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments), "--format", "html"], capture_output=True, text=True
    )
    assert "1 examined" in run.stdout, run.stderr
    peak = int(re.search(r"peak (\d+)", run.stdout)[1]) * 1024
    assert peak < 2e9, f"{peak / 1e9:.2f} GB"
    for folder in ("masks", "ai_masks"):
        assert Image.open(next((tmp_path / "out" / folder).iterdir())).size == (8660, 5774)
