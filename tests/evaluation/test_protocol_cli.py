"""`forgescope evaluate --protocol` with a tiny GAMMA, and numbers computed image by image."""

import io
import json
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from report_page import page_data

from forgescope.cli import main
from forgescope.datasets_scripts.format_alignment import align_format
from forgescope.modeling.configuration_gamma import GammaConfig
from forgescope.modeling.modeling_gamma import GammaForDetection
from forgescope.processing.image_processing_forgery import ForgeryImageProcessor

TINY = {
    "depths": (1, 1, 1, 1),
    "hidden_sizes": (8, 8, 16, 16),
    "num_attention_heads": (1, 1, 2, 2),
    "sr_ratios": (8, 4, 2, 1),
    "drop_path_rate": 0.0,
}
FOLDERS = {
    "adm": "ADM/imagenet_ai_0508_adm",
    "biggan": "BigGAN/imagenet_ai_0419_biggan",
    "glide": "glide/imagenet_glide",
    "midjourney": "Midjourney/imagenet_midjourney",
    "stable_diffusion_v_1_4": "stable_diffusion_v_1_4/imagenet_ai_0419_sdv4",
    "stable_diffusion_v_1_5": "stable_diffusion_v_1_5/imagenet_ai_0424_sdv5",
    "vqdm": "VQDM/imagenet_ai_0419_vqdm",
    "wukong": "wukong/imagenet_ai_0424_wukong",
}


@pytest.fixture(scope="module")
def gamma(tmp_path_factory):
    """A checkpoint whose scores lie on both sides of 0.5 on the images below."""
    folder = tmp_path_factory.mktemp("gamma")
    torch.manual_seed(0)
    model = GammaForDetection(GammaConfig(encoder_config=TINY, decoder_hidden_size=16, num_attention_heads=2)).eval()
    processor = ForgeryImageProcessor(do_resize=False, smallest_edge=512)
    with torch.no_grad():
        logits = [model(**processor([photo(seed)], return_tensors="pt")).logits[0, 1] for seed in range(6)]
        scale = 1 / torch.stack(logits).std()
        model.classifier.weight.mul_(scale)
        model.classifier.bias.copy_(model.classifier.bias * scale - torch.stack(logits).median() * scale)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def photo(seed, size=(60, 48)):
    random = np.random.default_rng(seed)
    base = random.integers(0, 200, 3)
    return Image.fromarray((base + random.integers(0, 50, (size[1], size[0], 3))).astype(np.uint8))


@pytest.fixture(scope="module")
def genimage(tmp_path_factory):
    root = tmp_path_factory.mktemp("GenImage")
    for place, folder in enumerate(FOLDERS.values()):
        for label, kind in (("ai", "png"), ("nature", "JPEG")):
            (root / folder / "val" / label).mkdir(parents=True)
            for number in range(2):
                image = photo([place, number, label == "ai"], (60 + place, 48))
                image.save(root / folder / "val" / label / f"{label}_{number}.{kind}")
    return root


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line in this process: exit status, standard output, standard error."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["forgescope", "evaluate", *(str(word) for word in words)])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return exit_.value.code, captured.out, captured.err

    return call


def rows_of(file, metric="image_accuracy"):
    return {row["source"]: row for row in json.loads(file.read_text()) if row["metric"] == metric}


def expected_scores(checkpoint, root):
    """The classifier's probability for every file, by the model alone."""
    model = GammaForDetection.from_pretrained(checkpoint).eval()
    processor = ForgeryImageProcessor.from_pretrained(checkpoint)
    scores = {}
    for source, folder in FOLDERS.items():
        for file in sorted((root / folder).rglob("*.*")):
            data = align_format(file.read_bytes()) if file.suffix == ".png" else file.read_bytes()
            image = Image.open(io.BytesIO(data)).convert("RGB")
            height, width = round(image.height * 512 / 48), round(image.width * 512 / 48)
            image = image.resize((width, height), Image.Resampling.BILINEAR)
            left = round((width - 510) / 2) - 1
            window = image.crop((left, 0, left + 512, 512))
            with torch.no_grad():
                probability = model(**processor([window], return_tensors="pt")).logits.softmax(dim=-1)[0, 1]
            scores[source, file.parent.name == "ai", file.name] = float(probability)
    return scores


def test_genimage_beside_the_paper(run, gamma, genimage, tmp_path):
    words = ("--protocol", "gamma-genimage", "--data", genimage, "--json", tmp_path / "rows.json")
    status, out, err = run(gamma, *words, "--markdown", tmp_path / "rows.md", "--resamples", 50)
    assert (status, [line for line in err.splitlines() if line.startswith("skipped")]) == (0, [])
    rows = rows_of(tmp_path / "rows.json")
    scores = expected_scores(gamma, genimage)
    accuracies = {}
    for source in FOLDERS:
        own = [(fake, score) for (name, fake, _), score in scores.items() if name == source]
        accuracies[source] = np.mean([(score >= 0.5) == fake for fake, score in own])
        assert rows[source]["value"] == pytest.approx(accuracies[source]), source
        assert (rows[source]["n"], rows[source]["threshold"], rows[source]["classes"]) == (4, 0.5, "fake")
        assert rows[source]["protocol"] == "gamma-genimage"
    assert len(set(accuracies.values())) > 1
    assert rows["average"]["value"] == pytest.approx(np.mean(list(accuracies.values())))
    assert (rows["biggan"]["paper_value"], rows["average"]["paper_value"], rows["all"]["paper_value"]) == (
        0.964,
        0.951,
        None,
    )
    aucs = rows_of(tmp_path / "rows.json", "image_auc")
    ranked = [(fake, score) for (_, fake, _), score in scores.items()]
    pairs = [(a > b) + (a == b) / 2 for fa, a in ranked for fb, b in ranked if fa and not fb]
    assert aucs["all"]["value"] == pytest.approx(np.mean(pairs), abs=1e-3)
    assert "GAMMA, Table 2" in out
    assert "adm: 2 real and 2 fake images of 1000" in out
    assert "accuracy ┃ paper  ┃ recall" in out
    line = next(line for line in out.splitlines() if line.startswith("│ biggan"))
    assert [cell.strip() for cell in line.split("│")[2:5]] == ["4", f"{accuracies['biggan']:.4f}", "0.9640"]
    assert "- GAMMA, Table 2\n" in (tmp_path / "rows.md").read_text()


def test_a_missing_generator_a_corrupt_image_and_a_chart(run, gamma, genimage, tmp_path):
    pytest.importorskip("matplotlib")
    root = tmp_path / "data"
    for source in ("adm", "biggan", "vqdm"):
        folder = FOLDERS[source]
        for file in (genimage / folder).rglob("*.*"):
            copy = root / file.relative_to(genimage)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(b"" if (source, file.name) == ("adm", "ai_0.png") else file.read_bytes())
    words = ("--protocol", "gamma-genimage", "--data", root, "--resamples", 0, "--plot", tmp_path / "bars.png")
    status, out, err = run(gamma, *words, "--json", tmp_path / "rows.json")
    assert status == 1
    assert "skipped ADM/imagenet_ai_0508_adm/val/ai/ai_0.png: empty file" in err
    rows = rows_of(tmp_path / "rows.json")
    assert {source: row["n"] for source, row in rows.items()} == {"adm": 3, "biggan": 4, "vqdm": 4, "all": 11}
    missing = "glide", "stable_diffusion_v_1_4", "stable_diffusion_v_1_5", "midjourney"
    assert f"so that there is no average: {', '.join(missing)}, wukong" in " ".join(out.split())
    assert Image.open(tmp_path / "bars.png").size[0] >= 900


def test_compression_curves(run, gamma, genimage, tmp_path):
    pytest.importorskip("matplotlib")
    words = ("--protocol", "gamma-degradation", "--data", genimage, "--per-class", 1, "--resamples", 0)
    files = ("--json", tmp_path / "rows.json", "--plot", tmp_path / "curves.png")
    status, _, _ = run(gamma, *words, *files, "--perturb", "none,jpeg:70,jpeg:20")
    assert status == 0
    rows = [row for row in json.loads((tmp_path / "rows.json").read_text()) if row["metric"] == "image_accuracy"]
    assert {row["perturbation"] for row in rows if row["source"] == "average"} == {"none", "jpeg:70", "jpeg:20"}
    assert {row["n"] for row in rows if row["source"] in FOLDERS} == {2}
    assert {row["paper_value"] for row in rows} == {None}
    assert Image.open(tmp_path / "curves.png").size[0] >= 900


def test_gpt_4o_images_beside_photographs(run, gamma, tmp_path):
    (tmp_path / "data/GenEval").mkdir(parents=True)
    (tmp_path / "real").mkdir()
    for number in range(3):
        photo(number).save(tmp_path / f"data/GenEval/{number}.png")
        photo(number + 50).save(tmp_path / f"real/{number}.JPEG")
    words = (gamma, "--protocol", "gamma-gptimgeval", "--data", tmp_path / "data", "--resamples", 0)
    status, _, err = run(*words)
    assert status == 2
    assert (
        "gamma-gptimgeval compares with photographs of ImageNet, which are not in its corpus: give --real DIR" in err
    )
    status, _, _ = run(*words, "--real", tmp_path / "real", "--json", tmp_path / "rows.json")
    (row,) = rows_of(tmp_path / "rows.json").values()
    assert (status, row["source"], row["n"], row["paper_value"]) == (0, "gptimgeval", 6, 0.841)


def test_a_model_without_a_classifier_runs_too(run, checkpoint, genimage, tmp_path):
    words = ("--protocol", "gamma-genimage", "--data", genimage, "--per-class", 1, "--resamples", 0)
    assert run(checkpoint, *words, "--json", tmp_path / "rows.json")[0] == 0
    rows = rows_of(tmp_path / "rows.json")
    assert (rows["all"]["n"], rows["all"]["classes"]) == (16, "forged")


def test_a_folder_is_measured_by_its_labels(run, gamma, repository, tmp_path):
    """Copy-move and splicing have masks and are real: the classifier is asked for 2 fakes among the 8 images."""
    status, out, _ = run(gamma, "--data", repository / "examples", "--json", tmp_path / "rows.json", "--resamples", 0)
    rows = {row["metric"]: row for row in json.loads((tmp_path / "rows.json").read_text())}
    lines = [json.loads(line) for line in (repository / "examples/metadata.jsonl").read_text().splitlines()]
    assert sum(line["label"] for line in lines) == 2
    assert status == 0
    assert (rows["image_accuracy"]["n"], rows["image_accuracy"]["classes"]) == (8, "fake")
    assert (rows["image_false_alarm_rate"]["n"], rows["pixel_f1"]["n"]) == (6, 6)
    assert "image level, class fake, threshold 0.5" in out


def test_misses_on_the_page_are_those_of_the_table(run, gamma, genimage, tmp_path):
    """The checkpoint calls an image fake from 0.9 on, the table from 0.5."""
    shutil.copytree(gamma, tmp_path / "late")
    settings = json.loads((tmp_path / "late/config.json").read_text()) | {"forged_threshold": 0.9}
    (tmp_path / "late/config.json").write_text(json.dumps(settings))
    words = ("--protocol", "gamma-genimage", "--data", genimage, "--resamples", 0)
    status, _, _ = run(tmp_path / "late", *words, "--html", tmp_path / "page.html", "--json", tmp_path / "rows.json")
    assert status == 0
    rows = json.loads((tmp_path / "rows.json").read_text())
    (accuracy,) = [row for row in rows if (row["source"], row["metric"]) == ("all", "image_accuracy")]
    images = page_data(tmp_path / "page.html")["rows"]
    for image in images:
        wrong = (image["score"] >= 0.5) != (image["truth"] == "fake")
        assert image["outcome"] == ({"fake": "missed", "real": "false alarm"}[image["truth"]] if wrong else None)
    right = sum(image["outcome"] is None for image in images)
    assert accuracy["value"] == pytest.approx(right / len(images))
    assert 0 < right < len(images)
    assert "by the threshold of the table" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--protocol", "gamma-gen"], "unknown protocol 'gamma-gen': did you mean gamma-genimage"),
        (["--protocol", "gamma-genimage", "--threshold", "0.4"], "--threshold cannot be used with gamma-genimage"),
        (["--protocol", "gamma-genimage", "--by", "task"], "--by cannot be used with gamma-genimage"),
        (
            ["--protocol", "gamma-genimage", "--calibrate", "0.1", "--preset", "iclnet"],
            "--preset, --calibrate cannot be used with gamma-genimage: leave it out",
        ),
        (["--per-class", "5"], "--per-class cannot be used without --protocol"),
        (["--calibrate", "5"], "--calibrate must be at least 0 and below 1, a share of false alarms, got 5"),
        (["--plot", "chart.xyz"], "--plot chart.xyz: expected a name that ends in .png, .svg or .pdf"),
        (["--seed", "-1"], "'--seed'"),
        (["--protocol", "gamma-genimage", "--perturb", "blur"], "expected table2, none, jpeg:80"),
    ],
)
def test_wrong_usage_is_one_line(run, gamma, genimage, words, message):
    status, _, err = run(gamma, "--data", genimage, *words)
    assert status == 2
    assert message in err
