"""The one template of model cards: valid for every family, snippets that run, and what a push makes of it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from PIL import Image
from tiny_models import TEXT_MODELS, tiny_model, tiny_processor

from forgescope.auto import MODELS
from forgescope.hub import load_checkpoint, save_with_code
from forgescope.trainers.model_card import CARD_FILE, MAX_ROWS, eval_results, new_card, update_metadata

HERE = Path(__file__).parent
ROW = {
    "protocol": "custom",
    "source": "mine | yours",
    "metric": "pixel_f1",
    "value": 0.123456,
    "n": 6,
    "reduction": "image",
    "classes": "forged",
    "empty_rule": "skip",
    "threshold": 0.5,
}
every_model = pytest.mark.parametrize("model_type", MODELS)


def full_card(model_type, metadata=None, rows=(ROW,)):
    card = new_card(tiny_model(model_type), f"org/{model_type}", f"org/{model_type}", list(rows))
    tag = MODELS[model_type].pipeline_tag
    update_metadata(card, f"org/{model_type}", model_type, tag, list(rows), metadata)
    return card


def test_the_hub_takes_every_card(mini_hub, tmp_path):
    metadata = {"license": "llama2", "base_model": "org/base", "datasets": ["org/photos"]}
    for name in MODELS:
        full_card(name, metadata).save(tmp_path / f"{name}.md")
    child = subprocess.run(
        [sys.executable, str(HERE / "validate_child.py"), str(tmp_path)],
        env={**os.environ, "HF_ENDPOINT": mini_hub.url, "HF_HUB_OFFLINE": "0"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert child.returncode == 0, child.stderr[-2000:]
    assert child.stdout.split() == sorted(MODELS)


@every_model
def test_metadata_come_back_from_the_text(model_type):
    data = ModelCard(str(full_card(model_type, {"base_model": "org/base"}))).data
    assert (data.pipeline_tag, data.base_model) == (MODELS[model_type].pipeline_tag, "org/base")
    (result,) = data.eval_results
    assert (result.metric_value, result.metric_args["empty_rule"]) == (0.123456, "skip")


def test_the_table_has_the_four_definitions():
    text = full_card("iclnet").text
    assert "| custom | mine \\| yours | pixel_f1 | 0.1235 | 6 | image | forged | skip | 0.5 |\n" in text
    many = full_card("iclnet", rows=[ROW | {"source": f"s{n}"} for n in range(MAX_ROWS + 3)]).text
    assert many.count("| custom |") == MAX_ROWS
    assert "3 more rows are in this card's metadata" in many


def test_an_incomplete_row_is_refused():
    with pytest.raises(ValueError, match="metrics row 1 has the value 'good', which is no number: expected the rows"):
        eval_results([dict.fromkeys(("protocol", "source", "metric"), "a") | {"value": "good"}], "image-segmentation")
    with pytest.raises(ValueError, match="metrics row 1 lacks value: expected the rows"):
        full_card("iclnet", rows=[{key: ROW[key] for key in ROW if key != "value"}])


def test_a_calibrated_threshold_is_stated():
    settings = {"forged_threshold": 0.8, "authentic_threshold": 0.3, "false_alarm_rate": 0.05}
    text = new_card(tiny_model("gamma", **settings, calibration_images=40), "x").text
    assert (
        "fake at a score of 0.8 or more, chosen on 40 real images for a false-alarm rate of 0.05; real below" in text
    )


def test_terms_follow_the_architecture():
    assert "NVIDIA's own licence" in new_card(tiny_model("diffseg"), "x").text
    other = tiny_model("diffseg", architecture="fcn8s", backbone="vgg11", fully_connected_size=16)
    assert "an encoder of timm" in new_card(other, "x").text
    for model_type, words in (
        ("legion", ("Llama 2", "CLIP", "SAM")),
        ("fakereasoning", ("Llama 2", "CLIP", "DINOv2")),
    ):
        text = new_card(tiny_model(model_type), "x").text
        assert all(word in text for word in words)


@every_model
def test_snippets_run(model_type, tmp_path, monkeypatch, capsys):
    processor = tiny_processor(model_type)
    if model_type == "gamma":  # tiles must be larger than what two of them share
        processor = type(processor)(do_resize=False, smallest_edge=128, size={"height": 128, "width": 128})
    save_with_code(tiny_model(model_type), processor, tmp_path)
    text = new_card(tiny_model(model_type), "x").text
    Image.new("RGB", (70, 64), (90, 120, 40)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    ours, stock = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    if model_type in TEXT_MODELS:
        stock = stock.replace("max_new_tokens=512", "max_new_tokens=3")
    exec(stock, {})
    printed = capsys.readouterr().out
    assert ("generated_text" if model_type in TEXT_MODELS else "score") in printed
    if model_type not in TEXT_MODELS:  # a tiny one writes hundreds of tokens
        exec(ours, {})
        assert capsys.readouterr().out.split()[0] in ("authentic", "inconclusive", "forged")


def test_adapters_are_published_with_the_card_beside_them(tmp_path):
    from peft import LoraConfig, get_peft_model

    base = tmp_path / "base"
    tiny_model("legion").save_pretrained(base)
    tiny_processor("legion").save_pretrained(base)
    model = MODELS["legion"].task_model.from_pretrained(base)
    wrapped = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"]))
    folder = tmp_path / "adapters"
    wrapped.save_pretrained(folder)
    model.config.save_pretrained(folder)
    tiny_processor("legion").save_pretrained(folder)
    (folder / CARD_FILE).write_text("# Mine\n")
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == str(base)
    loaded, _ = load_checkpoint(str(folder))
    assert loaded.name_or_path == str(folder)
