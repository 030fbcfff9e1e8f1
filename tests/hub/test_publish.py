"""Publish to a real HTTP server, load in a process without forgescope: the chain a stranger goes through."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from tiny_models import TEXT_MODELS, tiny_model, tiny_processor

from forgescope.auto import MODELS

HERE = Path(__file__).parent
TOKEN = "hf_test"
every_model = pytest.mark.parametrize("model_type", MODELS)
CARD = """---
license: cc-by-4.0
language: en
tags:
- mine
---
# A card of my own

| column | value |
|---|---|
| *kept* | **exactly**, trailing spaces too  |

No newline at the end"""
CARD_TEXT = CARD.split("---\n", 2)[2]
ROWS = [
    {
        "protocol": "tampered",
        "source": "Copy move, hard",
        "metric": "f1",
        "value": 0.25,
        "n": 12,
        "reduction": "image",
        "classes": "forged",
        "empty_rule": "skip",
        "threshold": 0.5,
    },
    {"protocol": "tampered", "source": "all", "metric": "auc", "value": 0.75, "n": 40, "reduction": "dataset"},
    {"protocol": "tampered", "source": "all", "metric": "iou", "value": None, "n": 0, "reduction": "image"},
]


def run_child(script, *arguments, endpoint):
    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_TOKEN": TOKEN,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "OMP_NUM_THREADS": "1",
    }
    child = subprocess.run(
        [sys.executable, str(HERE / script), *map(str, arguments)],
        env=environment,
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    return child


@pytest.fixture(scope="module")
def published(mini_hub, tmp_path_factory):
    """Folder with the results of both children, and what the first one printed."""
    folder = tmp_path_factory.mktemp("published")
    for name in MODELS:
        tiny_model(name).save_pretrained(folder / "checkpoints" / name)
        tiny_processor(name).save_pretrained(folder / "checkpoints" / name)
    (folder / "card.md").write_text(CARD, encoding="utf-8")
    (folder / "metrics.json").write_text(json.dumps(ROWS))
    (folder / "wrong.json").write_text(json.dumps([{**ROWS[0], "value": "good"}]))
    images = np.random.default_rng(0).integers(0, 256, (2, 50, 70, 3), dtype=np.uint8)
    np.save(folder / "inputs.npy", images)
    mini_hub.create("org/empty")
    mini_hub.create("org/segformer")
    mini_hub.commit("org/segformer", {"config.json": b'{"model_type": "segformer"}'})
    child = run_child("publish_child.py", folder, endpoint=mini_hub.url)
    run_child("load_child.py", folder, *(f"org/{name}" for name in MODELS), endpoint=mini_hub.url)
    return folder, child


def loaded(published, model_type):
    return json.loads((published[0] / model_type / "loaded.json").read_text())


def reference(published, model_type):
    """Model, processor and first image as they are here."""
    folder = published[0] / "checkpoints" / model_type
    model = MODELS[model_type].task_model.from_pretrained(folder)
    return model, MODELS[model_type].processor.from_pretrained(folder), np.load(published[0] / "inputs.npy")[0]


def card_of(mini_hub, repo_id):
    return ModelCard(mini_hub.files(repo_id)["README.md"].decode())


def test_exit_statuses(published):
    statuses = json.loads((published[0] / "published.json").read_text())["statuses"]
    fine = {name for name, status in statuses.items() if status == 0}
    assert fine == {"template", "carded", "again", "from hub", *MODELS}
    assert {status for name, status in statuses.items() if name not in fine} == {2}


def test_the_address_is_printed(published, mini_hub):
    assert published[1].stdout.splitlines()[:2] == [f"{mini_hub.url}/org/template", f"{mini_hub.url}/org/carded"]


@pytest.mark.parametrize(
    "message",
    [
        "error: unknown checkpoint 'org/absent': no such folder here, and no such repository on {url} (a private one "
        "needs `hf auth login`); expected iclnet-mini, a folder, or a Hub id (organization/name)",
        "error: unknown checkpoint 'org/empty': no such folder here, and the repository on {url} has no config.json; "
        "expected iclnet-mini, a folder, or a Hub id (organization/name)",
        "error: checkpoint 'org/segformer' has model type 'segformer', which cannot be used here; expected "
        + " or ".join(MODELS),
        'error: "license" must be one of a known list',
        "error: metrics row 1 has the value 'good', which is no number: expected the rows that `forgescope evaluate "
        "--json` writes",
    ],
)
def test_errors_are_one_line(published, mini_hub, message):
    assert message.format(url=mini_hub.url) in published[1].stderr.splitlines()


def test_what_cannot_be_published_makes_no_repository(published, mini_hub):
    assert any(line.startswith("error: no card file '") for line in published[1].stderr.splitlines())
    assert "org/never" not in mini_hub.repositories


@every_model
def test_repository_without_forgescope_has_all_code(published, mini_hub, model_type):
    files, family = mini_hub.files(f"org/{model_type}"), MODELS[model_type]
    sources = {name for name in files if name.endswith(".py")}
    processor_file = family.processor.__module__.rpartition(".")[2]
    expected = {f"configuration_{model_type}.py", f"modeling_{model_type}.py", f"{processor_file}.py"}
    assert expected <= sources
    model_class = f"modeling_{model_type}.{family.task_model.__name__}"
    assert json.loads(files["config.json"])["auto_map"] == {
        "AutoConfig": f"configuration_{model_type}.{family.config.__name__}",
        "AutoModel": model_class,
        family.task_auto_class.__name__: model_class,
    }
    assert json.loads(files[family.processor_file])["auto_map"] == {
        family.processor_auto_class: f"{processor_file}.{family.processor.__name__}"
    }


@every_model
def test_classes_of_the_remote_code(published, model_type):
    family = MODELS[model_type]
    assert (published[0] / "forgescope-is-absent").exists()
    assert loaded(published, model_type)["classes"] == {
        "config": family.config.__name__,
        "processor": family.processor.__name__,
        "AutoModel": family.task_model.__name__,
        family.task_auto_class.__name__: family.task_model.__name__,
    }


@every_model
def test_remote_code_gives_bit_equal_outputs(published, model_type):
    expected = np.load(published[0] / f"{model_type}.npz")
    assert "logits" in expected
    for auto_class in ("AutoModel", MODELS[model_type].task_auto_class.__name__):
        found = np.load(published[0] / model_type / f"{auto_class}.npz")
        assert set(found) == set(expected)
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_plain_push_gives_bit_equal_outputs(published):
    plain, expected = (np.load(published[0] / f"{name}.npz") for name in ("plain", "iclnet"))
    np.testing.assert_array_equal(plain["logits"], expected["logits"])


@pytest.mark.parametrize("model_type", ["iclnet", "diffseg"])
def test_stock_pipeline_gives_the_mask(published, model_type):
    model, processor, image = reference(published, model_type)
    with torch.no_grad():
        outputs = model(**processor(image, return_tensors="pt"))
    expected = processor.post_process_semantic_segmentation(outputs, target_sizes=[(50, 70)])[0].numpy()
    masks = np.load(published[0] / model_type / "pipeline.npz")
    assert set(masks) == {model.config.id2label[index] for index in np.unique(expected)}
    for index, name in model.config.id2label.items():
        if name in masks:
            np.testing.assert_array_equal(masks[name], (expected == index) * 255)


def test_stock_pipeline_gives_the_verdict(published):
    model, processor, image = reference(published, "gamma")
    with torch.no_grad():
        fake = model(**processor(image, return_tensors="pt")).logits[0, 1].sigmoid().item()
    scores = np.load(published[0] / "gamma" / "pipeline.npz")
    assert {name: float(score) for name, score in scores.items()} == {
        "fake": pytest.approx(fake, rel=1e-5),
        "real": pytest.approx(1 - fake, rel=1e-5),
    }


@pytest.mark.parametrize("model_type", TEXT_MODELS)
def test_stock_pipeline_gives_a_text(published, model_type):
    model, processor, image = reference(published, model_type)
    prompt = processor.inference_inputs([image], question="Real or fake?")
    prompt = {name: prompt[name] for name in ("input_ids", "attention_mask", "pixel_values")}
    ids = model.generate(**prompt, max_new_tokens=3, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    text = str(np.load(published[0] / model_type / "pipeline.npz")["text"])
    # the pipeline decodes prompt and answer as one, so the answer keeps the blank before it
    assert text.strip() == processor.tokenizer.decode(ids, skip_special_tokens=True).strip()


@every_model
def test_remote_code_logs_no_error(published, model_type):
    messages = loaded(published, model_type)["messages"]
    assert [message for level, message in messages if level in ("ERROR", "CRITICAL")] == []


def test_plain_push_loads_our_classes(published):
    classes = json.loads((published[0] / "published.json").read_text())["classes"]
    assert set(classes.values()) == {"forgescope.modeling.modeling_iclnet"}


def test_card_keeps_its_text_through_every_push(published, mini_hub):
    assert card_of(mini_hub, "org/carded").text == CARD_TEXT


def test_card_metadata(published, mini_hub):
    data = card_of(mini_hub, "org/carded").data
    assert (data.license, data.language) == ("cc-by-4.0", "en")
    assert (data.library_name, data.pipeline_tag) == ("transformers", "image-segmentation")
    assert data.tags == ["mine", "forgescope", "image-forensics", "forgery-localization", "iclnet", "pushed-again"]
    assert data.metrics == ["auc", "f1"]


def test_card_metrics_name_their_conditions(published, mini_hub):
    f1, auc = card_of(mini_hub, "org/carded").data.eval_results
    assert (f1.metric_type, f1.metric_value, f1.metric_name) == ("f1", 0.25, "f1 (image, forged)")
    assert (f1.dataset_type, f1.dataset_name, f1.dataset_config) == ("copy-move-hard", "Copy move, hard", "tampered")
    assert f1.metric_args == {
        "reduction": "image",
        "classes": "forged",
        "empty_rule": "skip",
        "threshold": 0.5,
        "n": 12,
    }
    assert (auc.metric_type, auc.metric_value, auc.metric_args) == ("auc", 0.75, {"reduction": "dataset", "n": 40})


def test_template_card(published, mini_hub):
    card = card_of(mini_hub, "org/template")
    assert mini_hub.private["org/template"]
    assert (card.data.license, card.data.datasets) == ("mit", ["org/photos"])
    assert card.text.startswith("\n# org/template\n")
    assert "threshold of the image verdict has not been chosen" in card.text


@every_model
def test_template_card_shows_the_task(published, mini_hub, model_type):
    card, tag = card_of(mini_hub, f"org/{model_type}"), MODELS[model_type].pipeline_tag
    assert card.data.pipeline_tag == tag
    assert f'pipeline("{tag}", model="org/{model_type}", trust_remote_code=True)' in card.text
    config = reference(published, model_type)[0].config
    classes = ", ".join(f"{index} = {name}" for index, name in config.id2label.items())
    assert f"Classes: {classes}.\n" in card.text


def test_pushing_from_the_hub_takes_its_files(published, mini_hub):
    copy, original = mini_hub.files("org/copy"), mini_hub.files("org/carded")
    assert copy["model.safetensors"] == original["model.safetensors"]
