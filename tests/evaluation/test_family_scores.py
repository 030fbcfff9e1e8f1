"""Verdicts by family of generators: of a function, of another system, from the command line."""

import json
import re

import numpy as np
import pytest
from artifact_corpora import write_universal
from PIL import Image
from report_page import page_data

from forgescope.evaluation.protocols import find_protocol
from forgescope.evaluation.protocols_legion import FAMILIES, GENERATORS
from forgescope.image_scores import evaluate_families, read_scores, score_key
from forgescope.protocol_data import draw_test_images

PER_CLASS = 2
# real images of both shared folders, of the other generators, and fakes
IMAGES = 2 * PER_CLASS + 11 * PER_CLASS + 19 * PER_CLASS


@pytest.fixture(scope="module")
def universal(tmp_path_factory):
    return write_universal(tmp_path_factory.mktemp("universal"), FAMILIES, PER_CLASS)


class Brightness:
    """Calls bright images fake."""

    def __init__(self):
        self.asked = 0

    def __call__(self, photos):
        self.asked += len(photos)
        return [float(np.asarray(photo).mean()) / 255 for photo in photos]


def scored(universal, file, scorer, **changes):
    protocol = find_protocol("legion-detection")
    images = draw_test_images(protocol, universal, **changes)
    return evaluate_families(images, protocol, file, scorer, model="brightness", resamples=0)


def accuracies(run):
    return {row.source: row for row in run.rows if row.metric == "image_accuracy"}


def test_families_beside_the_paper_and_shared_photographs_asked_once(universal, tmp_path, monkeypatch):
    monkeypatch.setattr("forgescope.image_scores.ASKED_TOGETHER", 7)
    scorer = Brightness()
    whole = scored(universal, tmp_path / "whole.jsonl", scorer)
    assert scorer.asked == len((tmp_path / "whole.jsonl").read_text().splitlines()) == IMAGES
    found = accuracies(whole)
    assert {found[name].value for name in (*FAMILIES, *GENERATORS, "average")} == {1.0}
    assert (found["Diffusion"].paper_value, found["Diffusion"].n) == (0.831, 8 * 2 * PER_CLASS)
    lines = (tmp_path / "whole.jsonl").read_bytes().splitlines(keepends=True)
    # killed in the middle of a line
    (tmp_path / "half.jsonl").write_bytes(b"".join(lines[:20]) + lines[20][:10])
    again = Brightness()
    assert scored(universal, tmp_path / "half.jsonl", again).rows == whole.rows
    assert again.asked == IMAGES - 20
    finished = Brightness()
    assert scored(universal, tmp_path / "half.jsonl", finished).rows == whole.rows
    assert finished.asked == 0
    with pytest.raises(ValueError, match="line 1 of .* is of the model 'brightness', this run of 'other': choose"):
        read_scores(tmp_path / "half.jsonl", model="other")


def test_scores_of_another_system(run, universal, tmp_path):
    """CRN is called fake throughout, and SAN has no scores; paths begin elsewhere."""
    lines = []
    for file in sorted(universal.rglob("*.png")):
        own = file.relative_to(universal / "test").as_posix()
        if not own.startswith("san/"):
            score = 0.9 if "1_fake" in own or own.startswith("crn/") else 0.1
            lines.append({"path": f"C:\\sets\\{own}".replace("/", "\\"), "fake_probability": score})
    answers = tmp_path / "other.jsonl"
    answers.write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ("--protocol", "legion-detection", "--data", universal, "--answers", answers, "--resamples", 0)
    files = ("--json", tmp_path / "rows.json", "--plot", tmp_path / "plots", "--html", tmp_path / "page.html")
    status, out, err = run(*words, *files)
    assert status == 1
    assert (tmp_path / "page.html").read_text().count("data:image/svg+xml;base64,") == 1
    images = page_data(tmp_path / "page.html")["rows"]
    # real images of several generators stand in each of their subsets
    assert len({row["path"] for row in images}) == len(lines)
    assert len({(row["path"], row["subset"]) for row in images}) == len(images)
    false_alarms = [row for row in images if row["outcome"]]
    assert {(row["truth"], row["verdict"], row["outcome"], row["score"]) for row in false_alarms} == {
        ("real", "forged", "false alarm", 0.9)
    }
    assert {row["subset"] for row in false_alarms} == {"crn"}
    assert images[0]["pictures"]["photo"].startswith("data:image/webp")
    assert "skipped test/san/0_real/0.png: no score of it" in err
    rows = json.loads((tmp_path / "rows.json").read_text())
    found = {row["source"]: row for row in rows if row["metric"] == "image_accuracy"}
    assert (found["CRN"]["value"], found["IMLE"]["value"], found["GANs"]["paper_value"]) == (0.5, 1, 0.9701)
    assert not {"SAN", "san", "average"} & set(found)
    assert "not measured: san" in out
    assert "LEGION, Table 5" in out
    assert Image.open(tmp_path / "plots/chart.png").width > 600


def test_images_that_fail_are_named(universal, tmp_path):
    def failing(photos):
        raise RuntimeError("no memory")

    with pytest.raises(ValueError, match="legion-detection needs fake and real images: none of"):
        scored(universal, tmp_path / "a.jsonl", failing)
    nonsense = scored(universal, tmp_path / "b.jsonl", lambda photos: [2.0, *[0.5] * (len(photos) - 1)])
    reasons = {one.reason for one in nonsense.results[0].skipped}
    assert reasons == {"the model gave no score from 0 to 1 (2.0)"}


def test_a_smaller_draw(universal, tmp_path):
    scorer = Brightness()
    found = accuracies(scored(universal, tmp_path / "a.jsonl", scorer, per_class=1))
    assert (found["GANs"].n, found["average"].n) == (12, 38)
    assert scorer.asked == 19 + 11 + 2


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/data/test/progan/cat/1_fake/1.png", "progan/cat/1_fake/1.png"),
        ("diffusion_datasets/laion/0_real/1.png", "laion/0_real/1.png"),
        ("x\\CRN\\1_fake\\a.png", "CRN/1_fake/a.png"),
        ("a/b.png", "a/b.png"),
        # a folder above may be called like a generator
        ("/mnt/san/sets/crn/1_fake/a.png", "crn/1_fake/a.png"),
    ],
)
def test_keys_of_paths(path, key):
    assert score_key(path) == key


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": "a"}', "line 1 of FILE must have id (or path) and fake_probability from 0 to 1, got {'id': 'a'}"),
        ('{"id": "a", "fake_probability": 1.5}', "fake_probability from 0 to 1"),
        ('{"id": "a", "fake_probability": true}', "fake_probability from 0 to 1"),
        (
            '{"id": "a", "fake_probability": 1}\n{"path": "a", "fake_probability": 0}',
            "line 2 of FILE: a has two scores",
        ),
    ],
)
def test_wrong_files_of_scores(tmp_path, text, message):
    file = tmp_path / "a.jsonl"
    file.write_text(text)
    with pytest.raises(ValueError, match=re.escape(message.replace("FILE", str(file)))):
        read_scores(file)


def test_wrong_usage_of_detection(run, universal, checkpoint):
    words = ("--data", universal, "--protocol", "legion-detection")
    for more, message in (
        ((), "MODEL is missing: name a checkpoint, or --answers FILE"),
        (("x",), "give --answers FILE or --json FILE"),
        (("--answers", "no.jsonl"), "no file no.jsonl: expected JSON lines with id (or path) and fake_probability"),
        ((str(checkpoint), "--answers", "a.jsonl"), "does not tell fake from real images: expected a classifier"),
    ):
        status, _, err = run(*words, *more)
        assert (status, message in err) == (2, True), err
