"""The images on the page of an evaluation: their numbers beside the truth, their pictures, and in a browser."""

import base64
import io
import json
import os
import re
import sys

import numpy as np
import pytest
from edited_corpus import save_tiny_diffseg, write_corpus
from PIL import Image
from report_page import page_data
from sklearn.metrics import f1_score, jaccard_score

from forgescope.analyze import Analyzer
from forgescope.cli import main
from forgescope.evaluation.results import Skipped
from forgescope.evaluation_images import ImageBook
from forgescope.evaluation_pictures import FALSE_COLOR, FOUND_COLOR, MISSED_COLOR, compared

LAYERS = ["overlay", "compared", "probability_map", "mask", "truth"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run the command line in a folder of its own: exit status, and the folder."""
    folder = tmp_path_factory.mktemp("run")

    def call(*words):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setattr(sys, "argv", ["forgescope", "evaluate", *map(str, words), "--resamples", "0"])
            with pytest.raises(SystemExit) as exit_:
                main()
        return exit_.value.code, folder

    return call


@pytest.fixture(scope="module")
def examples(run, repository):
    """The page of the photographs in examples/."""
    status, folder = run("iclnet-mini", "--data", repository / "examples", "--format", "html")
    assert status == 0
    return folder / "forgescope-evaluation.html"


def opened(source):
    kind, content = re.fullmatch(r"data:image/(\w+);base64,(.+)", source).groups()
    assert kind == "webp"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def masks_of(repository):
    """True mask of each photograph by its id; None where no pixel is forged."""
    masks = {}
    for line in map(json.loads, (repository / "examples/metadata.jsonl").read_text().splitlines()):
        file = line["mask_file_name"] and repository / "examples" / line["mask_file_name"]
        mask = np.asarray(Image.open(file)) > 0 if file else np.zeros(1, bool)
        masks[line["id"]] = mask if mask.any() else None
    return masks


def test_every_image_stands_beside_its_truth(examples, repository):
    data = page_data(examples)
    analyzer = Analyzer("iclnet-mini", provenance=False)
    masks = masks_of(repository)
    assert len(data["rows"]) == len(masks)
    for row in data["rows"]:
        name = os.path.splitext(os.path.basename(row["path"]))[0]
        report = analyzer.analyze(row["path"])
        true = None if masks[name] is None else masks[name].ravel()
        assert (row["verdict"], row["subset"]) == (report.verdict, "examples")
        assert row["score"] == pytest.approx(report.score, abs=1e-5)
        assert row["truth"] == ("authentic" if true is None else "forged")
        wrong = {"forged": "missed", "authentic": "false alarm"}[row["truth"]]
        expected = wrong if {row["truth"], report.verdict} == {"forged", "authentic"} else None
        assert row["outcome"] == expected
        if true is None:
            assert (row["f1"], row["iou"]) == (None, None)
        else:
            assert row["f1"] == pytest.approx(f1_score(true, report.mask.ravel()))
            assert row["iou"] == pytest.approx(jaccard_score(true, report.mask.ravel()))
    assert {row["truth"] for row in data["rows"]} == {"authentic", "forged"}


def test_a_small_page_holds_all_pictures(examples, repository):
    rows = page_data(examples)["rows"]
    masks = masks_of(repository)
    assert not (examples.parent / "forgescope-evaluation_pictures").exists()
    for row in rows:
        pictures = {one["kind"]: opened(one["source"]) for one in row["pictures"]["layers"]}
        assert list(pictures) == LAYERS
        size = opened(row["pictures"]["photo"]).size
        assert max(size) <= 800
        assert {picture.size for picture in pictures.values()} == {size}
        true = masks[os.path.splitext(os.path.basename(row["path"]))[0]]
        shown = np.asarray(pictures["truth"].convert("L")) / 255
        assert shown.mean() == pytest.approx(0 if true is None else true.mean(), abs=0.01)
    page = examples.read_text()
    assert "green marks forged pixels that were found, orange those that were marked falsely" in page
    assert "Pixels are marked from a probability of 0.5." in page
    assert '<figure class="histogram">' in page


def test_found_false_and_missed_pixels_have_their_colours():
    mask, truth = np.zeros((40, 60), np.uint8), np.zeros((40, 60), np.uint8)
    mask[:, :30], truth[:20] = 1, 1
    photo = Image.fromarray(np.full((20, 30, 3), (200, 40, 90), np.uint8))
    picture = np.asarray(compared(photo, mask, truth)).astype(int)
    assert picture.shape == (20, 30, 3)
    grey = np.asarray(photo.convert("L"))[0, 0]
    for place, color in (((3, 3), FOUND_COLOR), ((15, 3), FALSE_COLOR), ((3, 25), MISSED_COLOR)):
        assert np.abs(picture[place] - [0.4 * grey + 0.6 * one for one in color]).max() <= 1
    assert (picture[15, 25] == grey).all()


def test_pictures_of_many_images_lie_beside_the_page(run, repository, monkeypatch):
    monkeypatch.setattr("forgescope.evaluation_images.MOST_INLINED", 3)
    words = ("iclnet-mini", "--data", repository / "examples", "--perturb", "jpeg:50,none")
    status, folder = run(*words, "--html", "new/folder/page.html")
    assert status == 0
    page = folder / "new/folder/page.html"
    rows = page_data(page)["rows"]
    # those of the first of both runs
    assert len(rows) == len(masks_of(repository))
    assert "Images are shown after jpeg:50. Pixels are marked" in page.read_text()
    for number, row in enumerate(rows):
        sources = [row["pictures"]["photo"], *(one["source"] for one in row["pictures"]["layers"])]
        names = [f"page_pictures/{number:06d}_{kind}.webp" for kind in ("photo", *LAYERS)]
        assert sources == names
        assert all(Image.open(page.parent / name).format == "WEBP" for name in names)
        assert row["thumbnail"].startswith("data:image/webp;base64,")


def test_masks_of_editors_count_as_edited_pixels(run, tmp_path):
    checkpoint = save_tiny_diffseg(tmp_path / "model", "semantic")
    corpus = write_corpus(tmp_path / "corpus", range(6), range(6, 8))
    words = (checkpoint, "--data", corpus, "--protocol", "diffseg-semantic", "--html", tmp_path / "page.html")
    status, _ = run(*words)
    data = page_data(tmp_path / "page.html")
    assert status == 0
    assert data["with"]["editors"]
    assert {row["truth"] for row in data["rows"]} == {"forged"}
    assert [one["kind"] for one in data["rows"][0]["pictures"]["layers"]] == LAYERS
    assert all(row["f1"] is not None for row in data["rows"])


def test_what_could_not_be_scored_has_a_row(tmp_path):
    book = ImageBook(tmp_path / "page.html", 1)
    book.add_failures([Skipped("<a>.png", "<a>.png: damaged")])
    markup = book.section([])
    (row,) = page_data(markup)["rows"]
    assert (row["path"], row["verdict"], row["error"]) == ("<a>.png", "failed", "<a>.png: damaged")
    assert "<a>" not in markup
    assert "only wrong verdicts" not in markup


@pytest.mark.parametrize("option", ["--html", "--json", "--markdown", "--plot"])
def test_a_place_that_cannot_be_written_is_told_before_the_run(run, repository, tmp_path, capsys, option):
    (tmp_path / "file").write_text("")
    status, _ = run("iclnet-mini", "--data", repository / "examples", option, tmp_path / "file" / "page.html")
    captured = capsys.readouterr()
    assert (status, captured.out) == (2, "")
    assert captured.err.startswith("error: ")
    assert "file" in captured.err


def test_wrong_verdicts_and_layers_in_a_browser(examples, browser_page):
    browser_page.goto(examples.as_uri())
    rows = page_data(examples)["rows"]

    def column(title):
        heads = browser_page.locator("#heads th").all_inner_texts()
        place = next(place for place, head in enumerate(heads) if head.startswith(title))
        return [cells.locator("td").nth(place).inner_text() for cells in browser_page.locator("#rows > tr").all()]

    browser_page.locator("#heads").get_by_role("button", name="F1").click()
    f1 = sorted((row["f1"] for row in rows if row["f1"] is not None), reverse=True)
    assert column("F1") == [f"{one:.3f}" for one in f1] + [""] * (len(rows) - len(f1))
    wrong = [row for row in rows if row["outcome"]]
    browser_page.get_by_label(f"only wrong verdicts {len(wrong)}").check()
    assert browser_page.locator("#rows > tr").count() == len(wrong)
    browser_page.get_by_label("only wrong verdicts").uncheck()
    browser_page.locator("#rows .open").first.click()
    facts = browser_page.locator("#facts").inner_text()
    assert re.search(r"Truth\s+forged", facts)
    assert f"F1\n{f1[0]:.3f}" in facts.replace("\n\n", "\n")
    browser_page.get_by_label("Found and missed").check()
    assert browser_page.locator("#layer").get_attribute("class") == "compared"
    browser_page.locator("#opacity").fill("30")
    assert browser_page.locator("#layer").evaluate("one => one.style.opacity") == "0.3"
    browser_page.keyboard.press("Escape")
    # the tables of numbers are sorted and searched beside it
    browser_page.get_by_label("Show rows with").fill("pixel_f1")
    assert browser_page.locator("#all tbody tr:visible").count() >= 1
    for width in (390, 1440):
        browser_page.set_viewport_size({"width": width, "height": 800})
        assert browser_page.evaluate("document.documentElement.scrollWidth") <= width
