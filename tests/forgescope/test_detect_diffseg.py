"""Detection with a model that names editors: maps at any size, shares, regions, overlay and page."""

import csv
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from report_page import entries, page_data
from tiny_models import tiny_model
from torch import nn
from transformers.utils import logging as transformers_logging

from forgescope.analyze import Analyzer
from forgescope.cli import main
from forgescope.editor_maps import class_maps, editor_shares, shares_text
from forgescope.html_report import write_html
from forgescope.modeling.configuration_diffseg import FIGURE_6_EDITORS
from forgescope.modeling.modeling_diffseg import DiffSegForEditSegmentation
from forgescope.overlay import draw_overlay, editor_color
from forgescope.processing.image_processing_forgery import ForgeryImageProcessor
from forgescope.report import find_regions
from forgescope.results import ResultsFolder

TILE = 128
ARCHITECTURES = {
    "segformer": {},
    "deeplabv3plus": {"backbone": "resnet10t", "pyramid_hidden_size": 16, "low_level_hidden_size": 8},
    "fcn8s": {"backbone": "vgg11", "fully_connected_size": 16},
}


def make_checkpoint(folder, photo, architecture="segformer", task="semantic", **processing):
    """Save a tiny random model whose classes are balanced on a photograph, and which marks half of its pixels."""
    model = tiny_model("diffseg", architecture=architecture, task=task, **ARCHITECTURES[architecture])
    size = {"height": TILE, "width": TILE}
    processor = ForgeryImageProcessor(size=size, **model.config.processor_settings, **processing)
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    score = [one for one in convolutions if one.out_channels == model.config.num_labels][-1]
    inputs = processor(photo.resize((TILE, TILE)), return_tensors="pt")
    with torch.no_grad():
        score.weight *= 5
        logits = model(**inputs).logits
        score.bias -= logits.mean(dim=(0, 2, 3))
        logits = model(**inputs).logits
        score.bias[0] += (logits[:, 1:].logsumexp(dim=1) - logits[:, 0]).median()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, photos):
    return make_checkpoint(tmp_path_factory.mktemp("diffseg") / "tiny", photos[3])


@pytest.fixture(scope="module")
def native_checkpoint(checkpoint, tmp_path_factory):
    """The same weights with a processor that keeps pixels and enlarges up to one tile."""
    folder = tmp_path_factory.mktemp("diffseg") / "native"
    DiffSegForEditSegmentation.from_pretrained(checkpoint).save_pretrained(folder)
    processor = ForgeryImageProcessor.from_pretrained(checkpoint, do_resize=False, smallest_edge=TILE)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def analyzer(checkpoint):
    return Analyzer(checkpoint, device="cpu")


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
def slow_maps(folder, photo, **settings):
    """Logits (C, H, W) of a photograph's size in one pass, without any of our inference code."""
    model = DiffSegForEditSegmentation.from_pretrained(folder).eval()
    processor = ForgeryImageProcessor.from_pretrained(folder)
    logits = model(**processor(photo, return_tensors="pt", **settings)).logits
    if settings.get("do_resize", processor.do_resize):
        return F.interpolate(logits, size=(photo.height, photo.width), mode="bilinear", align_corners=False)[0]
    logits = F.interpolate(logits, scale_factor=processor.mask_stride, mode="bilinear", align_corners=False)[0]
    return logits[:, : photo.height, : photo.width]


def assert_maps(found, logits):
    np.testing.assert_allclose(found.probability_map, 1 - logits.softmax(dim=0)[0], atol=1e-3)
    editors = logits[1:].argmax(dim=0).numpy() + 1
    # where two editors are as likely, the last bit decides
    assert (found.editor_map == editors).mean() > 0.999
    assert found.editor_map.dtype == np.uint8


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_maps_equal_the_plain_model(architecture, photos, tmp_path):
    folder = make_checkpoint(tmp_path, photos[3], architecture)
    analyzer = Analyzer(folder, device="cpu")
    (found,) = analyzer.examine([photos[3]])
    logits = slow_maps(folder, photos[3])
    assert_maps(found, logits)
    assert 0.1 < (found.probability_map >= 0.5).mean() < 0.9
    assert len(np.unique(found.editor_map)) > 3
    highest = np.sort(found.probability_map, axis=None)[-600:]
    assert found.score == pytest.approx(highest.mean(), abs=1e-5)  # 1 % of 300 x 200


def test_maps_at_the_photographs_own_resolution(native_checkpoint, photos):
    analyzer = Analyzer(native_checkpoint, device="cpu")
    photo = photos[3].crop((7, 9, 7 + TILE, 9 + TILE))
    (found,) = analyzer.examine([photo])
    assert_maps(found, slow_maps(native_checkpoint, photo, smallest_edge=None))


def test_a_small_photograph_is_enlarged_and_its_maps_come_back(native_checkpoint, photos):
    analyzer = Analyzer(native_checkpoint, device="cpu")
    (found,) = analyzer.examine([photos[5]])
    assert found.probability_map.shape == found.editor_map.shape == (64, 64)
    enlarged = slow_maps(native_checkpoint, photos[5].resize((TILE, TILE), Image.Resampling.BILINEAR))
    editors = enlarged[1:].argmax(dim=0).numpy() + 1
    assert (found.editor_map == editors[1::2, 1::2]).mean() > 0.8


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_tiles_are_stitched_for_every_class(architecture, photos, tmp_path):
    folder = make_checkpoint(tmp_path, photos[3], architecture, do_resize=False)
    photo = photos[3].resize((TILE + 32, TILE))
    (tiled,) = Analyzer(folder, device="cpu", tile=TILE, overlap=64).examine([photo])
    (whole,) = Analyzer(folder, device="cpu", tile=TILE + 32, overlap=64).examine([photo])
    left, right = (slow_maps(folder, photo.crop(box)) for box in ((0, 0, TILE, TILE), (32, 0, TILE + 32, TILE)))
    assert tiled.probability_map.shape == tiled.editor_map.shape == (TILE, TILE + 32)
    # what only one tile sees, up to the reach of the upsampling, is that tile's
    for part, logits in ((slice(0, 28), left[..., :28]), (slice(TILE + 4, None), right[..., TILE + 4 - 32 :])):
        np.testing.assert_allclose(tiled.probability_map[:, part], 1 - logits.softmax(dim=0)[0], atol=1e-3)
        assert (tiled.editor_map[:, part] == logits[1:].argmax(dim=0).numpy() + 1).mean() > 0.99
    assert not np.array_equal(tiled.probability_map, whole.probability_map)


def test_batches_equal_singles(checkpoint, photos):
    analyzer = Analyzer(checkpoint, device="cpu", batch_size=4)
    single = Analyzer(checkpoint, device="cpu", batch_size=1)
    for report, photo in zip(analyzer.analyze_many(photos), photos, strict=True):
        alone = single.analyze(photo)
        np.testing.assert_allclose(report.probability_map, alone.probability_map, atol=1e-5)
        assert (report.editor_map == alone.editor_map).mean() > 0.999
        assert report.score == pytest.approx(alone.score, abs=1e-5)
        assert report.attribution == pytest.approx(alone.attribution, abs=0.01)


def test_attribution_is_the_share_of_the_marked_pixels(analyzer, photos):
    report = analyzer.analyze(photos[3])
    counts = dict.fromkeys(FIGURE_6_EDITORS, 0)
    for marked, editor in zip(report.mask.ravel().tolist(), report.editor_map.ravel().tolist(), strict=True):
        if marked:
            counts[FIGURE_6_EDITORS[editor - 1]] += 1
    expected = {name: count / sum(counts.values()) for name, count in counts.items() if count}
    assert report.attribution == pytest.approx(expected)
    assert list(report.attribution.values()) == sorted(expected.values(), reverse=True)
    assert len(report.attribution) > 3
    assert sum(report.attribution.values()) == pytest.approx(1)
    assert report.to_dict()["attribution"] == {name: round(share, 4) for name, share in report.attribution.items()}


def test_regions_name_their_most_frequent_editor():
    mask = np.zeros((20, 30), np.uint8)
    mask[2:10, 2:12] = mask[12:18, 15:25] = 1
    editors = np.full((20, 30), 3, np.uint8)
    editors[2:10, 2:8] = 1
    editors[12:18, 15:20], editors[12:18, 20:25], editors[12, 20] = 2, 1, 2
    regions = find_regions(mask, mask.astype(np.float32), editors, ("a", "b", "c"))
    assert [region.editor for region in regions] == ["a", "b"]
    assert regions[0].to_dict()["editor"] == "a"
    assert [region.editor for region in find_regions(mask, mask.astype(np.float32))] == [None, None]


def test_an_authentic_photograph_has_no_editors(checkpoint, photos):
    report = Analyzer(checkpoint, device="cpu", mask_threshold=1.0).analyze(photos[3])
    assert not report.mask.any()
    assert report.attribution == {}
    assert report.regions == []
    assert report.overlay().tobytes() == photos[3].tobytes()


def test_a_binary_model_attributes_nothing(photos, tmp_path):
    report = Analyzer(make_checkpoint(tmp_path, photos[3], task="binary"), device="cpu").analyze(photos[3])
    logits = slow_maps(tmp_path, photos[3])
    np.testing.assert_allclose(report.probability_map, 1 - logits.softmax(dim=0)[0], atol=1e-3)
    assert report.mask.any()
    assert (report.attribution, report.editor_map) == (None, None)
    assert {region.editor for region in report.regions} == {None}


@pytest.mark.parametrize("values_at_a_time", [1, 5_000, 10**9])
@pytest.mark.parametrize(
    ("shape", "grid", "size"),
    [
        pytest.param((5, 8, 12), (32, 48), (32, 48), id="x4"),
        pytest.param((3, 16, 16), (97, 61), (97, 61), id="any size"),
        pytest.param((4, 32, 8), (128, 32), (121, 30), id="padded"),
        pytest.param((3, 40, 40), (17, 23), (17, 23), id="smaller"),
        pytest.param((2, 1, 1), (9, 7), (9, 7), id="one cell"),
        pytest.param((3, 64, 48), (64, 48), (64, 48), id="equal"),
    ],
)
def test_strips_equal_one_upsampling(shape, grid, size, values_at_a_time, monkeypatch):
    monkeypatch.setattr("forgescope.editor_maps.VALUES_AT_A_TIME", values_at_a_time)
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    whole = F.interpolate(logits[None], size=grid, mode="bilinear", align_corners=False)[0, :, : size[0], : size[1]]
    probabilities, editors = class_maps(logits, grid, size)
    assert (probabilities.dtype, editors.dtype) == (np.float32, np.uint8)
    np.testing.assert_allclose(probabilities, 1 - whole.softmax(dim=0)[0], atol=1e-5)
    assert (editors == whole[1:].argmax(dim=0).numpy() + 1).mean() > 0.995


def test_shares():
    mask, editors = np.array([[1, 1, 1, 0]]), np.array([[2, 2, 1, 3]], np.uint8)
    shares = editor_shares(mask, editors, ("a", "b", "c"))
    assert shares == {"b": pytest.approx(2 / 3), "a": pytest.approx(1 / 3)}
    assert list(shares) == ["b", "a"]
    assert shares_text(shares) == "b 67%, a 33%"
    assert editor_shares(0 * mask, editors, ("a", "b", "c")) == {}
    assert shares_text({}) == ""
    assert shares_text({"a": 0.996, "b": 0.004}) == "a 100%, b <1%"


def test_the_overlay_shows_editors_in_their_colours():
    photo = Image.new("RGB", (200, 100), (200, 200, 200))
    mask, editors = np.zeros((100, 200), np.uint8), np.ones((100, 200), np.uint8)
    mask[20:60, 20:120] = 1
    editors[:, 70:] = 4
    picture = draw_overlay(photo, mask, editor_map=editors)
    for place, editor in (((30, 40), 1), ((100, 40), 4)):
        expected = [round(200 * 0.45 + 0.55 * value) for value in editor_color(editor)]
        assert picture.getpixel(place) == pytest.approx(tuple(expected), abs=1)
    assert picture.getpixel((19, 40)) == (255, 32, 32)
    assert picture.getpixel((150, 90)) == (200, 200, 200)
    assert len({editor_color(editor) for editor in range(1, 9)}) == 8
    assert editor_color(9) == editor_color(1)
    with pytest.raises(ValueError, match="expected a photograph of 199 x 100"):
        draw_overlay(photo, mask, editor_map=editors[:, 1:])


@pytest.mark.parametrize("processor_stride", [1, 2])
def test_a_processor_of_another_grid_is_refused(checkpoint, tmp_path, forgescope, processor_stride, photos):
    DiffSegForEditSegmentation.from_pretrained(checkpoint).save_pretrained(tmp_path)
    ForgeryImageProcessor(mask_stride=processor_stride).save_pretrained(tmp_path)
    photos[0].save(tmp_path / "photo.png")
    status, _, errors = forgescope("detect", tmp_path / "photo.png", "--model", tmp_path, "--out", tmp_path / "out")
    assert status == 2
    assert errors.splitlines()[-1] == (
        "error: the model has one value for 4 pixels in each direction, the processor's mask_stride is "
        f"{processor_stride}: save the processor with mask_stride=4 beside the model"
    )


def test_a_folder_on_the_command_line(checkpoint, forgescope, photos, tmp_path):
    for name, photo in (("a", photos[3]), ("b", photos[0])):
        photo.save(tmp_path / f"{name}.png")
    (tmp_path / "c.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    status, printed, _ = forgescope("detect", tmp_path, "--model", checkpoint, "--out", out, "--format", "html")
    assert status == 1
    rows = {row["path"].split("/")[-1]: row for row in map(json.loads, (out / "report.jsonl").open())}
    report = Analyzer(checkpoint, device="cpu").analyze(tmp_path / "a.png")
    row = rows["a.png"]
    assert row["attribution"] == pytest.approx(report.to_dict()["attribution"], abs=1e-3)
    assert row["editors"] == list(FIGURE_6_EDITORS)
    assert [region["editor"] for region in row["regions"]] == [region.editor for region in report.regions]
    assert row["regions"][0]["editor"] in row["attribution"]
    first = next(iter(row["attribution"]))
    assert re.search(rf"forged {row['forged_fraction']:6.2%} by {re.escape(first)} \d+%, .*a\.png", printed)
    overlay = np.asarray(Image.open(row["overlay"]).convert("RGB"))
    assert overlay.shape == (200, 300, 3)

    page = (out / "report.html").read_text()
    assert page_data(page)["with"] == {"ai": False, "editors": True, "explanation": False, "provenance": False}
    color = "#{:02x}{:02x}{:02x}".format(*editor_color(FIGURE_6_EDITORS.index(first) + 1))
    share = row["attribution"][first]
    assert entries(page)["a.png"]["editors"][0] == [first, color, f"{share:.0%}"]
    assert entries(page)["c.png"]["editors"] == []
    assert "the colour inside is that of the likeliest editor" in page

    forgescope("detect", tmp_path, "--model", checkpoint, "--out", out, "--format", "csv")
    with open(out / "report.csv", newline="") as file:
        lines = {line["path"].split("/")[-1]: line for line in csv.DictReader(file)}
    assert lines["a.png"]["attribution"] == shares_text(row["attribution"])
    assert lines["c.png"]["attribution"] == ""


def test_names_and_small_shares_are_no_markup(analyzer, photos, tmp_path):
    photos[3].save(tmp_path / "photo.png")
    report = analyzer.analyze(tmp_path / "photo.png")
    report.attribution = {"<b>": 0.996, "b": 0.004}
    settings = {"model": "tiny", "precision": "float32", "rule": "A rule.", "tile": None, "editors": ["b", "<b>"]}
    results = ResultsFolder(tmp_path / "out", settings)
    results.add(report)
    page = write_html(results).read_text()
    assert "<b>" not in page.split("<script")[1]
    first, second = page_data(page)["rows"][0]["editors"]
    assert (first[0], first[2]) == ("<b>", "100%")
    assert second == ["b", "#{:02x}{:02x}{:02x}".format(*editor_color(1)), "<1%"]


def test_rows_of_other_editors_stand_in_another_report(checkpoint, forgescope, photos, tmp_path):
    folder = shutil.copytree(checkpoint, tmp_path / "model")
    photos[3].save(tmp_path / "photo.png")
    arguments = ("detect", tmp_path / "photo.png", "--model", folder, "--out", tmp_path / "out")
    assert forgescope(*arguments)[0] == 0
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"id2editor": list("abcdefgh")}))
    status, _, errors = forgescope(*arguments)
    assert status == 2
    assert "holds results with editors ['sd2', 'kolors'" in errors
    assert "choose another --out, or --overwrite" in errors


@pytest.mark.slow
def test_a_photograph_of_50_megapixels_stays_under_2_gb(checkpoint, photos, tmp_path):
    photos[3].resize((8660, 5774)).save(tmp_path / "large.jpg", quality=92)
    script = (
        "import resource, sys\n"
        "from forgescope.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    arguments = [
        "detect",
        tmp_path / "large.jpg",
        "--model",
        checkpoint,
        "--out",
        tmp_path / "out",
        "--format",
        "html",
    ]
    run = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, timeout=550
    )
    assert "1 examined" in run.stdout, run.stderr
    peak = int(re.search(r"peak (\d+)", run.stdout)[1]) * 1024
    assert peak < 2e9, f"{peak / 1e9:.2f} GB"
