"""Every script of examples/ runs from its command line, on small images and models; 09_push.py is in tests/hub."""

import json
import re
import runpy
import shutil
import sys

import numpy as np
import pytest
from answering_fakereasoning import ANSWERS, plain_photo, save_answering_checkpoint
from PIL import Image
from tiny_models import tiny_model, tiny_processor

from forgescope.hub import load_checkpoint
from forgescope.modeling.modeling_iclnet import ICLNetForForgerySegmentation
from forgescope.trainers.adapters import ADAPTER_CONFIG

LONGEST = 60  # lines


@pytest.fixture
def run(repository, monkeypatch, capsys):
    """Run a script with arguments; returns what it printed."""

    def run_script(name, *arguments):
        script = str(repository / "examples" / name)
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(script, run_name="__main__")
        assert stop.value.code in (0, None)
        return capsys.readouterr().out

    return run_script


@pytest.fixture
def tiny_checkpoint(tmp_path):
    tiny_model("iclnet").save_pretrained(tmp_path / "tiny")
    tiny_processor("iclnet").save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def small_corpus(repository, tmp_path):
    """The images of examples/, 96 pixels wide."""
    folder = tmp_path / "small"
    lines = (repository / "examples" / "metadata.jsonl").read_text().splitlines()
    for row in map(json.loads, lines):
        for key in ("file_name", "mask_file_name"):
            (folder / row[key]).parent.mkdir(parents=True, exist_ok=True)
            with Image.open(repository / "examples" / row[key]) as image:
                image.resize((96, 64), Image.Resampling.NEAREST).save(folder / row[key])
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder


def test_scripts_are_short_and_public(repository):
    scripts = sorted((repository / "examples").glob("[0-9]*.py"))
    assert [script.name[:2] for script in scripts] == [f"{number:02}" for number in range(1, 10)]
    for script in scripts:
        text = script.read_text()
        assert len(text.splitlines()) < LONGEST, script.name
        assert not re.search(r"from forgescope\S* import .*\b_|\b\w+\._[a-z]", text), f"{script.name}: private name"


def test_every_script_is_listed_with_its_command(repository):
    text = (repository / "examples" / "README.md").read_text()
    for script in (repository / "examples").glob("[0-9]*.py"):
        assert f"]({script.name})" in text
        assert f"examples/{script.name} " in text


def test_localize(run, repository, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    printed = run("01_localize.py", repository / "examples/images/inpainting_rocket.jpg", broken, "--out", tmp_path)
    first, *rest = printed.splitlines()
    score = float(re.fullmatch(r"inpainting_rocket.jpg: forged, score ([\d.]+), [\d.]+% marked", first)[1])
    assert score == pytest.approx(0.98, abs=0.05)
    assert any(line.startswith("  (") for line in rest)
    assert str(broken) in rest[-1]
    mask = np.asarray(Image.open(tmp_path / "inpainting_rocket.mask.png"))
    assert set(np.unique(mask)) == {0, 255}
    assert Image.open(tmp_path / "inpainting_rocket.overlay.png").size == mask.shape[::-1]


def test_explain(run, tmp_path):
    model = save_answering_checkpoint(tmp_path / "model")
    for color in ("red", "blue"):
        plain_photo(color).save(tmp_path / f"{color}.png")
    printed = run("02_explain.py", tmp_path / "red.png", tmp_path / "blue.png", "--model", model).splitlines()
    assert printed[0] == "red.png: fake, probability to be fake 0.98"
    assert "Reasoning: No grain." in printed
    assert "blue.png: no verdict, probability to be fake unknown" in printed
    assert printed[-1].startswith("note: ")


@pytest.mark.parametrize("name", ["03_fine_tune_trainer.py", "04_fine_tune_accelerate.py"])
def test_fine_tuning(run, name, small_corpus, tiny_checkpoint, tmp_path):
    out = tmp_path / "out"
    where = ("--out", out, "--crop-size", 64) if name.startswith("03") else (out,)
    printed = run(name, small_corpus, *where, "--base", tiny_checkpoint, "--steps", 3, "--batch-size", 2)
    assert re.search(rf"saved {re.escape(str(out))}: F1 0\.\d+, IoU 0\.\d+", printed)
    tuned, _ = load_checkpoint(out)
    before = ICLNetForForgerySegmentation.from_pretrained(tiny_checkpoint)
    changed = {key for key, value in tuned.state_dict().items() if not value.equal(before.state_dict()[key])}
    assert changed
    assert not any("frozen" in key for key in changed)


def test_adapters(run, tmp_path):
    base, out = save_answering_checkpoint(tmp_path / "base"), tmp_path / "out"
    rows = []
    for color, label in (("red", "fake"), ("green", "real")):
        plain_photo(color).save(tmp_path / f"{color}.png")
        rows.append({"file_name": f"{color}.png", "label": label, "answer": ANSWERS[color]})
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    printed = run("05_fine_tune_lora.py", tmp_path, "--base", base, "--out", out, "--steps", 2, "--rank", 4)
    assert re.search(r"'projection': \d+, 'language_model': \d+", printed)
    assert f"saved {out}: mean loss " in printed
    assert json.loads((out / ADAPTER_CONFIG).read_text())["base_model_name_or_path"] == str(base)
    explained = run("02_explain.py", tmp_path / "red.png", "--model", out, "--max-new-tokens", 3)
    assert explained.startswith("red.png: ")
    assert "the answer was cut off after 3 tokens" in explained


def test_annotate_pairs(run, repository, tmp_path):
    photo = Image.open(repository / "examples/images/authentic_coffee.jpg").convert("RGB")
    photo.save(tmp_path / "original.png")
    edited = photo.copy()
    edited.paste((0, 200, 0), (160, 100, 260, 200))
    edited.save(tmp_path / "edited.png")
    photo.save(tmp_path / "same.png")
    (tmp_path / "pairs.csv").write_text(
        "original,edited,id\noriginal.png,edited.png,square\noriginal.png,same.png,same\n"
    )
    printed = run("06_annotate_pairs.py", tmp_path / "pairs.csv", "--out", tmp_path / "corpus")
    assert "1 pairs with masks, rejected: {'nothing was edited': 1}" in printed
    share = float(re.search(r"square \(\w+\): ([\d.]+)% of the image was edited", printed)[1])
    square = 100 * 100 * 100 / (photo.width * photo.height)
    assert square < share < 1.5 * square  # the mask's cells are larger than a pixel


def test_refine(run, repository, tmp_path):
    examples = repository / "examples"
    shutil.copy(examples / "masks/inpainting_rocket.png", tmp_path / "0.png")
    artifact = {"phrase": "the lower right", "explanation": "It was filled in.", "mask": "0.png"}
    (tmp_path / "artifacts.json").write_text(json.dumps({"artifacts": [artifact]}))
    image, out = examples / "images/inpainting_rocket.jpg", tmp_path / "refined"
    printed = run("07_refine.py", image, tmp_path / "artifacts.json", "--out", out)
    assert printed.startswith("1 regions filled, ")
    before, after = (np.asarray(Image.open(file).convert("RGB")) for file in (image, out / "refined.png"))
    far = np.asarray(Image.open(tmp_path / "0.png").convert("L").resize((before.shape[1], before.shape[0]))) == 0
    assert (before != after).any()
    assert (before == after).all(axis=2)[far].mean() > 0.85
    assert (out / "strip.png").is_file()


def test_evaluate(run, small_corpus, tiny_checkpoint, tmp_path):
    printed = run("08_evaluate.py", small_corpus, "--model", tiny_checkpoint, "--json", tmp_path / "rows.json")
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert "examples: pixel_f1 " in printed
    assert {(row["reduction"], row["empty_rule"]) for row in rows if row["metric"] == "pixel_f1"} == {
        ("image", "skip"),
        ("pooled", "zero"),
    }
    assert {row["n"] for row in rows if row["metric"] == "pixel_f1"} == {6, 8}
