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

from forgescope.modeling.configuration_iclnet import ICLNetConfig
from forgescope.modeling.modeling_iclnet import ICLNetForForgerySegmentation
from forgescope.processing.image_processing_forgery import ForgeryImageProcessor

HERE = Path(__file__).parent
TOKEN = "hf_test"
ENCODER = {
    "depths": (1, 1, 1, 1),
    "hidden_sizes": (8, 16, 24, 32),
    "num_attention_heads": (1, 2, 3, 4),
    "sr_ratios": (4, 2, 1, 1),
    "drop_path_rate": 0.0,
}
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
    torch.manual_seed(0)
    config = ICLNetConfig(encoder_config=ENCODER, head_hidden_sizes=(16, 16, 8, 8))
    ICLNetForForgerySegmentation(config).save_pretrained(folder / "checkpoint")
    ForgeryImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder / "checkpoint")
    (folder / "card.md").write_text(CARD, encoding="utf-8")
    (folder / "metrics.json").write_text(json.dumps(ROWS))
    images = np.random.default_rng(0).integers(0, 256, (2, 50, 70, 3), dtype=np.uint8)
    np.save(folder / "inputs.npy", images)
    mini_hub.create("org/empty")
    mini_hub.create("org/segformer")
    mini_hub.commit("org/segformer", {"config.json": b'{"model_type": "segformer"}'})
    child = run_child("publish_child.py", folder, endpoint=mini_hub.url)
    run_child("load_child.py", folder, "org/carded", endpoint=mini_hub.url)
    return folder, child


@pytest.fixture(scope="module")
def loaded(published):
    return json.loads((published[0] / "loaded.json").read_text())


def card_of(mini_hub, repo_id):
    return ModelCard(mini_hub.files(repo_id)["README.md"].decode())


def test_exit_statuses(published):
    statuses = json.loads((published[0] / "published.json").read_text())["statuses"]
    fine = {name for name, status in statuses.items() if status == 0}
    assert fine == {"template", "carded", "again", "from hub"}
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
        "error: checkpoint 'org/segformer' has model type 'segformer', which cannot be used here; expected iclnet",
        'error: "license" must be one of a known list',
    ],
)
def test_errors_are_one_line(published, mini_hub, message):
    assert message.format(url=mini_hub.url) in published[1].stderr.splitlines()


def test_repository_without_forgescope_has_all_code(published, mini_hub):
    files = mini_hub.files("org/carded")
    sources = {name for name in files if name.endswith(".py")}
    assert {"configuration_iclnet.py", "modeling_iclnet.py", "image_processing_forgery.py"} <= sources
    assert json.loads(files["config.json"])["auto_map"] == {
        "AutoConfig": "configuration_iclnet.ICLNetConfig",
        "AutoModel": "modeling_iclnet.ICLNetForForgerySegmentation",
        "AutoModelForSemanticSegmentation": "modeling_iclnet.ICLNetForForgerySegmentation",
    }
    assert json.loads(files["preprocessor_config.json"])["auto_map"] == {
        "AutoImageProcessor": "image_processing_forgery.ForgeryImageProcessor"
    }


def test_classes_of_the_remote_code(loaded):
    assert loaded["classes"] == {
        "config": "ICLNetConfig",
        "processor": "ForgeryImageProcessor",
        "AutoModel": "ICLNetForForgerySegmentation",
        "AutoModelForSemanticSegmentation": "ICLNetForForgerySegmentation",
        "forgescope": "absent",
    }


@pytest.mark.parametrize("file", ["AutoModel.npy", "AutoModelForSemanticSegmentation.npy", "plain_logits.npy"])
def test_logits_are_bit_equal(published, loaded, file):
    folder = published[0]
    expected = np.load(folder / "local_logits.npy")
    assert expected.shape == (2, 1, 16, 16)
    np.testing.assert_array_equal(np.load(folder / file), expected)


def test_stock_pipeline_gives_the_mask(published, loaded):
    folder = published[0]
    masks = np.load(folder / "pipeline.npz")
    model = ICLNetForForgerySegmentation.from_pretrained(folder / "checkpoint")
    processor = ForgeryImageProcessor.from_pretrained(folder / "checkpoint")
    image = np.load(folder / "inputs.npy")[0]
    with torch.no_grad():
        outputs = model(**processor(image, return_tensors="pt"))
    expected = processor.post_process_semantic_segmentation(outputs, target_sizes=[(50, 70)])[0].numpy()
    assert set(masks) <= {"authentic", "forged"}
    np.testing.assert_array_equal(masks["forged"] if "forged" in masks else np.zeros_like(expected), expected * 255)


def test_remote_code_logs_no_error(loaded):
    assert [message for level, message in loaded["messages"] if level in ("ERROR", "CRITICAL")] == []


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


def test_pushing_from_the_hub_takes_its_files(published, mini_hub):
    copy, original = mini_hub.files("org/copy"), mini_hub.files("org/carded")
    assert copy["model.safetensors"] == original["model.safetensors"]
