"""`forgescope evaluate` on real and fake images without masks: numbers of whole images, by hand and by brute force."""

import json
import sys

import numpy as np
import pytest
from answering_fakereasoning import plain_photo, save_answering_checkpoint
from PIL import Image
from report_page import entries
from sklearn.metrics import accuracy_score, roc_auc_score
from tiny_models import tiny_model

from forgescope.analyze import Analyzer
from forgescope.cli import main
from forgescope.evaluation_data import find_test_files, have_masks, read_examples
from forgescope.processing.image_processing_forgery import ForgeryImageProcessor

# Three fake photographs, then two real ones; the model calls red fake and green real.
COLORS = ("red", "red", "green", "green", "green")


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line in this process: exit status, standard output, standard error."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["forgescope", "evaluate", *map(str, words), "--resamples", "0"])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return exit_.value.code, " ".join(captured.out.split()), captured.err

    return call


def write_lines(folder, lines):
    """Write metadata.jsonl, and a grey photograph for each file that is not there, but for those called gone."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (line.get("file_name") for line in lines):
        if name and "gone" not in name and not (folder / name).exists():
            plain_photo("grey").save(folder / name)
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def write_classes(folder, names):
    """Write a photograph of noise into each folder."""
    random = np.random.default_rng(0)
    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True, exist_ok=True)
        photo = Image.fromarray(random.integers(0, 255, (70, 90, 3), dtype=np.uint8))
        photo.save(folder / name / f"{number}.png")
    return folder


def values(file, source):
    return {row["metric"]: row["value"] for row in json.loads(file.read_text()) if row["source"] == source}


def test_the_folder_that_fakereasoning_trains_on_by_hand(run, tmp_path):
    model = save_answering_checkpoint(tmp_path / "model")
    data = tmp_path / "described"
    data.mkdir()
    for number, color in enumerate(COLORS):
        plain_photo(color).save(data / f"{number}.png")
    labels = (1, "fake", 1, 0, "real")
    lines = [{"file_name": f"{n}.png", "answer": "<SUMMARY>", "label": label} for n, label in enumerate(labels)]
    write_lines(data, lines)
    written = ("--json", tmp_path / "rows.json", "--markdown", tmp_path / "rows.md", "--html", tmp_path / "page.html")
    # one by one, or rounding makes equal pictures unlike
    status, out, _ = run(model, "--data", data, *written, "--calibrate", "0.5", "--batch-size", "1")
    assert status == 0
    # two of three fake ones are called fake, no real one is; the missed one is even with both real ones
    assert values(tmp_path / "rows.json", "unnamed") == {
        "image_auc": pytest.approx((2 * 2 + 2 / 2) / 6),
        "image_average_precision": pytest.approx(2 / 3 + 1 / 3 * 3 / 5),
        "image_accuracy": pytest.approx(4 / 5),
        "image_f1": pytest.approx(4 / 5),
        "image_precision": 1,
        "image_recall": pytest.approx(2 / 3),
        "image_false_alarm_rate": 0,
    }
    assert "the images have no masks: numbers of whole images alone" in out
    assert "(at most 0.5 of 2 authentic images reach it)" in out
    assert "image level, class fake, threshold 0.5" in (tmp_path / "rows.md").read_text()
    rows = entries(tmp_path / "page.html")
    assert [rows[f"{number}.png"]["truth"] for number in range(5)] == ["fake"] * 3 + ["real"] * 2
    assert [rows[f"{number}.png"]["outcome"] for number in range(5)] == [None, None, "missed", None, None]
    assert "no chart: there is no pixel number to draw" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("name", ["iclnet-mini", "gamma"])
def test_class_folders_of_two_sources_by_brute_force(run, tmp_path, name):
    folders = ("sd/0_real", "sd/1_fake", "sd/1_fake", "flux/nature", "flux/ai", "flux/nature")
    data = write_classes(tmp_path / "data", folders)
    checkpoint = name
    if name == "gamma":
        checkpoint = tmp_path / "model"
        tiny_model("gamma").save_pretrained(checkpoint)
        size = {"height": 128, "width": 128}
        ForgeryImageProcessor(do_resize=False, smallest_edge=64, size=size).save_pretrained(checkpoint)
    written = ("--json", tmp_path / "rows.json", "--format", "html", "--html", tmp_path / "page.html")
    status, out, err = run(checkpoint, "--data", data, *written)
    assert status == 0, err
    analyzer = Analyzer(str(checkpoint), provenance=False)
    scores = {source: [] for source in ("sd", "flux", "all")}
    for number, folder in enumerate(folders):
        score = analyzer.analyze(data / folder / f"{number}.png").score
        for source in (folder.split("/")[0], "all"):
            scores[source].append((folder.endswith(("1_fake", "ai")), score))
    for source, pairs in scores.items():
        truth, score = map(np.array, zip(*pairs, strict=True))
        found = values(tmp_path / "rows.json", source)
        assert found["image_auc"] == pytest.approx(roc_auc_score(truth, score))
        assert found["image_accuracy"] == accuracy_score(truth, score >= analyzer.rule.forged_threshold)
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert {row["classes"] for row in rows} == {"fake" if name == "gamma" else "forged"}
    assert all(row["metric"].startswith("image_") for row in rows)
    assert "pixel level" not in out
    assert len(entries(tmp_path / "page.html")) == len(folders)


def test_a_fake_image_without_mask_has_no_known_forged_pixels(tmp_path):
    data = write_classes(tmp_path / "data", ("Real", "FAKE/album", ".git/fake"))
    files = find_test_files(data)
    assert [(file.image.name, file.mask, file.source, file.label) for file in files] == [
        ("1.png", None, "data", 1),
        ("0.png", None, "data", 0),
    ]
    assert not have_masks(files)
    assert [(one.mask, one.label) for one in read_examples(files)] == [(None, 1), (None, 0)]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--preset", "iclnet"), "--preset"),
        (("--threshold", "0.4", "--reduction", "pooled"), "--reduction, --threshold"),
        (("--plot", "chart.png"), "--plot"),
    ],
)
def test_what_needs_masks_is_refused_before_the_run(run, tmp_path, words, named):
    data = write_classes(tmp_path / "data", ("authentic", "forged"))
    status, _, err = run("absent-model", "--data", data, *words)
    assert status == 2
    assert f"{named} cannot be used without masks, and {data} names none: leave it out" in " ".join(err.split())


def test_splits_and_sources_of_metadata_without_masks(tmp_path):
    for split, label in (("train", 1), ("validation", 0)):
        lines = [{"file_name": f"{split}.png", "label": label, "source": "flux", "mask_file_name": None}]
        write_lines(tmp_path / split, lines)
    assert [file.label for file in find_test_files(tmp_path)] == [1, 0]
    (file,) = find_test_files(tmp_path, "train")
    assert (file.image, file.source, file.label) == (tmp_path / "train" / "train.png", "flux", 1)
    with pytest.raises(ValueError, match=r"has no folder test with metadata.jsonl: leave out --split"):
        find_test_files(tmp_path, "test")


def test_photographs_whose_masks_are_null_keep_their_pixel_numbers(tmp_path):
    lines = [{"file_name": f"{n}.png", "label": 0, "mask_file_name": None} for n in range(2)]
    assert have_masks(find_test_files(write_lines(tmp_path, lines)))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"file_name": "b.png"}, "line 2 has label None: expected 1 or fake, 0 or real, since no line names a mask"),
        ({"file_name": "b.png", "label": True}, "line 2 has label True"),
        ({"file_name": "b.png", "label": "ai"}, "line 2 has label 'ai'"),
        ({"label": 1}, "line 2 has no file_name"),
        ({"file_name": "gone.png", "label": 1}, "gone.png, which does not exist"),
        ({"file_name": "b.png", "label": 0, "task": "splicing"}, "real by its label and forged by its task, splicing"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    write_lines(tmp_path, [{"file_name": "a.png", "label": 1}, line])
    with pytest.raises((ValueError, FileNotFoundError), match=r"metadata.jsonl, line 2 ") as error:
        find_test_files(tmp_path)
    assert message in str(error.value)


def test_a_forgotten_mask_is_still_an_error(tmp_path):
    lines = [
        {"file_name": name, "label": 1, "mask_file_name": mask} for name, mask in (("a.png", "a.png"), ("b.png", None))
    ]
    with pytest.raises(ValueError, match=r"line 2 is a forged image \(label fake\) without mask_file_name"):
        find_test_files(write_lines(tmp_path, lines))


@pytest.mark.parametrize(
    ("folders", "options", "message"),
    [
        (("fake", "fake"), {}, "has no real images: expected folders of both classes"),
        (("photos", "cat/dog/0_real"), {}, "holds test images in no known form"),
        (("fake/0_real", "real"), {}, "lies in folders of both classes"),
        (("fake", "real"), {"by": "task"}, "tell no tasks: leave out --by task"),
        (("fake", "real"), {"split": "test"}, "so it has no splits: leave out --split"),
    ],
)
def test_class_folders_that_cannot_be_used(tmp_path, folders, options, message):
    with pytest.raises(ValueError, match=message):
        find_test_files(write_classes(tmp_path / "data", folders), **options)
