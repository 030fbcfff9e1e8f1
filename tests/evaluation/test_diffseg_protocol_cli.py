"""`forgescope evaluate --protocol diffseg-...` with tiny SegFormers, and numbers computed from the masks alone."""

import csv
import io
import json
import sys
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from edited_corpus import SIZE, ids, photo, save_tiny_diffseg, write_corpus
from PIL import Image
from sklearn import metrics as sk
from tiny_models import tiny_model
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

from forgescope.cli import main
from forgescope.datasets_scripts.diffseg30k import FIGURE_6_EDITORS
from forgescope.evaluation.boundary import Tolerance, boundary_counts, boundary_f1
from forgescope.modeling.modeling_diffseg import DiffSegForEditSegmentation
from forgescope.processing.image_processing_forgery import ForgeryImageProcessor
from forgescope.protocol_data import draw

EDITED, UNEDITED = range(16), range(16, 20)


@pytest.fixture(scope="module")
def semantic(tmp_path_factory):
    return save_tiny_diffseg(tmp_path_factory.mktemp("semantic"), "semantic")


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    return save_tiny_diffseg(tmp_path_factory.mktemp("binary"), "binary")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"), EDITED, UNEDITED)


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run the command line in this process: exit status, standard output, standard error, rows."""

    def call(checkpoint, protocol, data, *words):
        file = tmp_path / "rows.json"
        file.unlink(missing_ok=True)
        first = [checkpoint, "--protocol", protocol, "--data", data, "--json", file]
        words = words if "--resamples" in words else (*words, "--resamples", 0)
        monkeypatch.setattr(sys, "argv", ["forgescope", "evaluate", *map(str, [*first, *words])])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        rows = json.loads(file.read_text()) if file.is_file() else []
        return exit_.value.code, " ".join(captured.out.split()), captured.err, rows

    return call


def class_maps(checkpoint, images):
    """Likeliest classes at the size of the images, by the model alone."""
    model = DiffSegForEditSegmentation.from_pretrained(checkpoint).eval()
    processor = ForgeryImageProcessor.from_pretrained(checkpoint)
    found = []
    for image in images:
        with torch.no_grad():
            logits = model(**processor([image], return_tensors="pt")).logits
        logits = F.interpolate(logits, size=image.size[::-1], mode="bilinear", align_corners=False)
        found.append(logits.argmax(1)[0].numpy().astype(np.uint8))
    return found


def one(rows, metric, classes, reduction="pooled", **other):
    wanted = {"metric": metric, "classes": classes, "reduction": reduction, **other}
    (row,) = (row for row in rows if all(row[key] == value for key, value in wanted.items()))
    return row


def mean_iou(truth, called, labels):
    present = [label for label in labels if label in truth or label in called]
    return sk.jaccard_score(truth.ravel(), called.ravel(), labels=present, average="macro", zero_division=0)


def near(value):
    return pytest.approx(value, abs=2e-3)


def test_semantic_segmentation_beside_the_paper(run, semantic, corpus, tmp_path):
    pytest.importorskip("matplotlib")
    files = ("--plot", tmp_path / "confusion.png", "--markdown", tmp_path / "rows.md", "--resamples", 20)
    status, out, _, rows = run(semantic, "diffseg-semantic", corpus, *files, "--html", tmp_path / "page.html")
    assert status == 0
    assert (tmp_path / "page.html").read_text().count("data:image/svg+xml;base64,") == 1
    called = np.stack(class_maps(semantic, [photo(number) for number in EDITED]))
    truth = np.stack([ids(number) for number in EDITED])
    assert len(np.unique(called)) == 9
    accuracy = one(rows, "pixel_accuracy", "all")
    assert (accuracy["value"], accuracy["paper_value"], accuracy["n"]) == (near((called == truth).mean()), 0.952, 16)
    row = one(rows, "pixel_iou", "editors")
    assert (row["value"], row["paper_value"]) == (near(mean_iou(truth, called, range(1, 9))), 0.825)
    assert row["low"] < row["value"] < row["high"]
    images = [mean_iou(*pair, range(1, 9)) for pair in zip(truth, called, strict=True)]
    assert one(rows, "pixel_iou", "editors", "image")["value"] == near(np.mean(images))
    scores = [boundary_f1(boundary_counts(*pair, 9)) for pair in zip(called, truth, strict=True)]
    row = one(rows, "pixel_boundary_f1", "editors", "image")
    assert row["value"] == near(np.mean([np.nanmean(score[1:]) for score in scores]))
    assert (row["paper_value"], row["tolerance"], row["empty_rule"]) == (0.532, "2px", "skip")
    for place, editor in enumerate(FIGURE_6_EDITORS, start=1):
        expected = sk.jaccard_score(truth.ravel() == place, called.ravel() == place)
        assert one(rows, "pixel_iou", editor)["value"] == near(expected)
    assert "images: 16 edited (diffseg30k) DiffSeg30k, Table 2, semantic" in out
    assert "The 8:2 split is ours" in out
    assert "diffseg-semantic: what each true class was called, % of its pixels" in (tmp_path / "rows.md").read_text()
    assert Image.open(tmp_path / "confusion.png").size[0] > 900


def test_binary_segmentation_collapses_the_ids(run, binary, semantic, corpus):
    status, _, _, rows = run(binary, "diffseg-binary", corpus, "--tolerance", "0.75%")
    truth = np.stack([ids(number) for number in EDITED]) > 0
    called = np.stack(class_maps(binary, [photo(number) for number in EDITED])) > 0
    assert status == 0
    row = one(rows, "pixel_iou", "forged")
    assert (row["value"], row["paper_value"]) == (near(sk.jaccard_score(truth.ravel(), called.ravel())), 0.961)
    own = [
        boundary_f1(boundary_counts(p.astype(np.uint8), t.astype(np.uint8), 2, Tolerance(0.0075, "diagonal")))[1]
        for p, t in zip(called, truth, strict=True)
    ]
    row = one(rows, "pixel_boundary_f1", "forged", "image")
    assert (row["value"], row["tolerance"]) == (near(np.mean(own)), "0.75%")
    status, out, _, rows = run(semantic, "diffseg-binary", corpus)
    called = np.stack(class_maps(semantic, [photo(number) for number in EDITED])) > 0
    assert one(rows, "pixel_iou", "forged")["value"] == near(sk.jaccard_score(truth.ravel(), called.ravel()))
    assert "the checkpoint tells editors apart; all of them count as edited" in out


def test_distortions_of_table_3(run, binary, corpus, tmp_path):
    pytest.importorskip("matplotlib")
    distortions = "none,jpeg:60,resize:30"
    words = ("--perturb", distortions, "--per-class", 6, "--plot", tmp_path / "panels.png")
    status, out, _, rows = run(binary, "diffseg-robustness-binary", corpus, *words)
    assert (status, {row["n"] for row in rows if row["classes"] == "all"}) == (0, {6})
    assert Counter(row["perturbation"] for row in rows) == dict.fromkeys(distortions.split(","), 8)
    assert one(rows, "pixel_iou", "forged", perturbation="jpeg:60")["paper_value"] == 0.260
    assert one(rows, "pixel_iou", "forged", perturbation="resize:30")["paper_value"] is None
    assert "source ┃ perturbation ┃ n" in out
    assert Image.open(tmp_path / "panels.png").size[0] > 1300
    # the same six images, compressed and seen by the model alone
    right = []
    for number in draw([(f"{number:08d}", number) for number in EDITED], 6, seed=0):
        stream = io.BytesIO()
        photo(number).save(stream, "JPEG", quality=60, subsampling=2)
        (called,) = class_maps(binary, [Image.open(stream).convert("RGB")])
        right.append(((called > 0) == (ids(number) > 0)).mean())
    assert one(rows, "pixel_accuracy", "all", perturbation="jpeg:60")["value"] == near(np.mean(right))


def test_images_edited_by_unseen_editors_alone(run, binary, tmp_path):
    """Of the numbers below 16, the editors of 1 (kolors), 5 (glide), 9 and 13 are kolors and glide alone."""
    names = [{FIGURE_6_EDITORS[one - 1] for one in np.unique(ids(number)) if one} for number in EDITED]
    alone = [number for number in EDITED if names[number] <= {"kolors", "glide"}]
    assert alone == [1, 5, 9, 13]
    status, out, _, rows = run(binary, "diffseg-unseen-glide-kolors", write_corpus(tmp_path / "data", EDITED))
    truth = np.stack([ids(number) for number in alone]) > 0
    called = np.stack(class_maps(binary, [photo(number) for number in alone])) > 0
    row = one(rows, "pixel_iou", "forged")
    expected = near(sk.jaccard_score(truth.ravel(), called.ravel()))
    assert (status, row["value"], row["n"], row["paper_value"]) == (0, expected, 4, 0.951)
    assert "For a checkpoint trained without glide and kolors (`--ablation table4-glide-kolors`)" in out


class TestImagesAsAWhole:
    def test_the_area_rule(self, run, semantic, corpus):
        status, _, _, rows = run(semantic, "diffseg-classification", corpus)
        row = one(rows, "image_accuracy", "forged")
        assert (status, row["n"], row["threshold"], row["paper_value"]) == (0, 8, 0.01, 0.997)
        assert one(rows, "image_average_precision", "forged")["paper_value"] == 0.999

    def test_against_a_classifier_of_transformers(self, run, semantic, corpus, tmp_path):
        pytest.importorskip("matplotlib")
        for number in range(12):
            photo(number + 900).save(tmp_path / f"{number}.jpg")
        vit = tmp_path / "vit"
        torch.manual_seed(0)
        names = {0: "Real", 1: "AI_Generated"}
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        config = ViTConfig(**sizes, image_size=32, patch_size=16, id2label=names, label2id={"Real": 0})
        model = ViTForImageClassification(config)
        model.classifier.weight.data.mul_(200)
        model.save_pretrained(vit)
        processor = ViTImageProcessor(size={"height": 32, "width": 32})
        processor.save_pretrained(vit)
        words = ("--against", vit, "--real", tmp_path, "--plot", tmp_path / "bars.png")
        status, out, _, rows = run(semantic, "diffseg-classification", corpus, *words)
        assert status == 0
        assert {row["model"] for row in rows} == {str(semantic), str(vit)}
        ours, other = (one(rows, "image_accuracy", classes) for classes in ("forged", "fake"))
        assert (ours["n"], other["n"], other["threshold"], other["paper_value"]) == (32, 32, 0.5, None)
        scores = []
        for number in EDITED:
            with torch.no_grad():
                logits = model.eval()(**processor([photo(number)], return_tensors="pt")).logits
            scores.append(float(logits.softmax(1)[0, 1]))
        assert one(rows, "image_recall", "fake")["value"] == near(np.mean(np.array(scores) >= 0.5))
        assert "called edited by more than 0.01 of the pixels or a score of 0.5" in out
        assert Image.open(tmp_path / "bars.png").size == (1200, 600)

    def test_gamma_brings_its_own_score(self, run, corpus, tmp_path):
        gamma = tiny_model("gamma")
        gamma.save_pretrained(tmp_path)
        processor = ForgeryImageProcessor(do_resize=False, smallest_edge=64, size={"height": 128, "width": 128})
        processor.save_pretrained(tmp_path)
        status, _, _, rows = run(tmp_path, "diffseg-classification-glide-kolors", corpus)
        assert (status, one(rows, "image_accuracy", "fake")["n"]) == (0, 8)


def test_the_lora_variant_counts_as_sdxl(run, semantic, tmp_path):
    """SDXL has the id 5: the numbers 4, 8, 12 have it first or, with 0, second; the variant has other pixels."""
    data, variant = (write_corpus(tmp_path / name, EDITED) for name in ("data", "variant"))
    for file in variant.rglob("*.image.png"):
        photo(int(file.name[:8]) + 500).save(file)
    status, _, _, rows = run(semantic, "diffseg-lora", data, "--variant", variant)
    of_sdxl = [number for number in EDITED if 5 in ids(number)]
    assert status == 0
    for source, offset in (("sdxl", 0), ("sdxl-lora", 500)):
        truth = np.stack([ids(number) for number in of_sdxl]) == 5
        called = np.stack(class_maps(semantic, [photo(number + offset) for number in of_sdxl])) == 5
        row = one(rows, "pixel_iou", "sdxl", source=source)
        assert (row["value"], row["n"]) == (near(sk.jaccard_score(truth.ravel(), called.ravel())), len(of_sdxl))
    assert {row["paper_value"] for row in rows} == {None}  # Table 7 is DeepLabv3+'s


def test_subsets_by_base(run, binary, corpus, tmp_path):
    with (tmp_path / "bases.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerows([("id", "base"), *((f"{number:08d}", ("real", "ai")[number % 2]) for number in EDITED)])
    status, _, err, rows = run(binary, "diffseg-base-binary", corpus, "--bases", tmp_path / "bases.csv")
    assert (status, err.count("its base is not stated")) == (1, len(UNEDITED))
    for source, first in (("real-base", 0), ("ai-base", 1)):
        truth = np.stack([ids(number) for number in EDITED[first::2]]) > 0
        called = np.stack(class_maps(binary, [photo(number) for number in EDITED[first::2]])) > 0
        row = one(rows, "pixel_iou", "forged", source=source)
        assert (row["value"], row["n"]) == (near(sk.jaccard_score(truth.ravel(), called.ravel())), 8)


def test_a_corrupt_image_is_named_and_the_others_are_measured(run, binary, corpus, tmp_path):
    data = write_corpus(tmp_path / "data", range(4))
    (data / "val/00000001.image.png").write_bytes(b"")
    (data / "val/00000002.mask.png").write_bytes(b"no png")
    (data / "val/00000009.image.png").write_bytes((data / "val/00000000.image.png").read_bytes())
    status, _, err, rows = run(binary, "diffseg-binary", data)
    assert (status, one(rows, "pixel_iou", "forged")["n"]) == (1, 2)
    for message in ("empty file", "mask that cannot be read", "image without mask"):
        assert message in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("diffseg-semantic", "--threshold", "0.4"), "--threshold cannot be used with diffseg-semantic: leave it out"),
        (("diffseg-semantic", "--by", "task"), "--by cannot be used with diffseg-semantic"),
        (("diffseg-semantic", "--tolerance", "far"), "expected a boundary tolerance such as 2px or 0.75%, got 'far'"),
        (("diffseg-semantic", "--real", "."), "diffseg-semantic has no use for --real: leave it out"),
        (("diffseg-semantic", "--split", "train"), "diffseg-semantic needs the split train: "),
        (("diffseg-lora",), "diffseg-lora compares two folders: give --variant DIR"),
        (("diffseg-base-semantic",), "the published corpus does not say it: give --bases FILE"),
        (("gamma-genimage", "--tolerance", "2px"), "--tolerance cannot be used with gamma-genimage"),
        (("gamma-genimage", "--variant", "."), "--variant cannot be used with gamma-genimage"),
    ],
)
def test_wrong_usage_is_one_line(run, semantic, corpus, words, message):
    status, _, err, _ = run(semantic, words[0], corpus, *words[1:])
    assert status == 2
    assert message in err


def test_what_a_checkpoint_cannot_do_is_said(run, binary, corpus, tmp_path):
    status, _, err, _ = run(binary, "diffseg-semantic", corpus)
    assert (status, "needs a checkpoint that tells editors apart" in err) == (2, True)
    gamma = tiny_model("gamma", use_manipulation_head=False, use_ai_head=False)
    gamma.save_pretrained(tmp_path / "gamma")
    processor = ForgeryImageProcessor(do_resize=False, size={"height": 128, "width": 128})
    processor.save_pretrained(tmp_path / "gamma")
    status, _, err, _ = run(tmp_path / "gamma", "diffseg-binary", corpus)
    assert (status, "needs a checkpoint that marks pixels" in err) == (2, True)
    data = write_corpus(tmp_path / "data", range(2))
    status, _, err, _ = run(binary, "diffseg-classification", data)
    assert (status, "compares with unedited photographs, and" in err, "give --real DIR" in err) == (2, True, True)
    assert SIZE == (48, 40)


def test_masks_of_0_and_255_tell_no_editor(run, binary, semantic, tmp_path):
    data = write_corpus(tmp_path, range(6))
    for file in data.rglob("*.mask.png"):
        Image.fromarray(np.where(np.asarray(Image.open(file)) > 0, 255, 0).astype(np.uint8)).save(file)
    status, _, err, _ = run(semantic, "diffseg-semantic", data)
    assert (status, "needs masks that name the editor" in err) == (2, True)
    status, _, _, rows = run(binary, "diffseg-binary", data)
    truth = np.stack([ids(number) for number in range(6)]) > 0
    called = np.stack(class_maps(binary, [photo(number) for number in range(6)])) > 0
    expected = near(sk.jaccard_score(truth.ravel(), called.ravel()))
    assert (status, one(rows, "pixel_iou", "forged")["value"]) == (0, expected)
