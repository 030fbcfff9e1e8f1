"""DiffSeg30k's baselines elsewhere: their code without forgescope and without timm, backbones from the Hub."""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save
from tiny_models import drawn, tiny_model

from forgescope.hub import save_with_code
from forgescope.modeling.configuration_diffseg import DiffSegConfig
from forgescope.modeling.modeling_diffseg import DiffSegForEditSegmentation
from forgescope.processing.image_processing_forgery import ForgeryImageProcessor

DEEPLAB = {
    "architecture": "deeplabv3plus",
    "backbone": "resnet10t",
    "pyramid_hidden_size": 16,
    "low_level_hidden_size": 8,
}
# Loads the folders named after the absent modules, and writes what comes out.
CHILD = """
import json, sys
from pathlib import Path
root, absent, *names = Path(sys.argv[1]), sys.argv[2].split(","), *sys.argv[3:]
sys.modules.update(dict.fromkeys(absent))
import numpy as np, torch
from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation
errors = {}
for name in names:
    try:
        model = AutoModelForSemanticSegmentation.from_pretrained(root / name, trust_remote_code=True)
    except ImportError as error:
        errors[name] = str(error)
        continue
    processor = AutoImageProcessor.from_pretrained(root / name, trust_remote_code=True)
    image, mask = np.load(root / "image.npy"), np.load(root / "mask.npy")
    inputs = processor(image, mask, return_tensors="pt")
    with torch.no_grad():
        outputs = model(**inputs)
    np.savez(root / f"{name}.npz", logits=outputs.logits, labels=inputs["labels"], loss=outputs.loss)
(root / "errors.json").write_text(json.dumps(errors))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Checkpoints with their code, and an image with a mask of ids."""
    root = tmp_path_factory.mktemp("code")
    generator = np.random.default_rng(0)
    np.save(root / "image.npy", generator.integers(0, 256, (50, 70, 3), dtype=np.uint8))
    np.save(root / "mask.npy", generator.integers(0, 9, (50, 70), dtype=np.uint8))
    for name, settings in (("segformer", {}), ("deeplabv3plus", DEEPLAB)):
        model = tiny_model("diffseg", **settings)
        processor = ForgeryImageProcessor(size={"height": 64, "width": 64}, **model.config.processor_settings)
        save_with_code(model, processor, root / name)
    return root


def run_child(folder, absent, *names):
    """Errors by name."""
    arguments = [sys.executable, "-c", textwrap.dedent(CHILD), str(folder), absent, *names]
    child = subprocess.run(
        arguments, env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert child.returncode == 0, child.stderr[-3000:]
    return json.loads((folder / "errors.json").read_text())


def assert_same_results(folder, name):
    model = DiffSegForEditSegmentation.from_pretrained(folder / name)
    processor = ForgeryImageProcessor.from_pretrained(folder / name)
    inputs = processor(np.load(folder / "image.npy"), np.load(folder / "mask.npy"), return_tensors="pt")
    found = np.load(folder / f"{name}.npz")
    np.testing.assert_array_equal(found["labels"], inputs["labels"])
    assert found["labels"].max() == 8
    with torch.no_grad():
        outputs = model(**inputs)
    np.testing.assert_allclose(found["logits"], outputs.logits, rtol=1e-3, atol=1e-3)
    assert found["loss"] == pytest.approx(outputs.loss.item(), rel=1e-3)


def test_the_code_that_a_checkpoint_carries(folder):
    assert {path.name for path in (folder / "segformer").glob("*.py")} == {
        "configuration_diffseg.py",
        "configuration_parts.py",
        "image_conversion.py",
        "image_enlarging.py",
        "image_processing_forgery.py",
        "mask_conversion.py",
        "mlp_decoder.py",
        "modeling_diffseg.py",
        "modeling_forgescope.py",
        "segformer_encoder.py",
        "segmentation_cnn.py",
    }


def test_segformer_loads_without_timm(folder):
    errors = run_child(folder, "forgescope,timm", "segformer", "deeplabv3plus")
    assert errors.keys() == {"deeplabv3plus"}
    assert "requires the timm library" in errors["deeplabv3plus"]
    assert "pip install timm" in errors["deeplabv3plus"]
    assert_same_results(folder, "segformer")


@pytest.mark.slow
def test_deeplabv3plus_loads_without_forgescope(folder):
    assert run_child(folder, "forgescope", "deeplabv3plus") == {}
    assert_same_results(folder, "deeplabv3plus")


def test_a_backbone_comes_from_the_hub_and_then_from_the_cache(mini_hub, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", mini_hub.url)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        mini_hub.url + "/{repo_id}/resolve/{revision}/{filename}",
    )
    weights = drawn(timm.create_model("resnet10t")).state_dict()
    config = DiffSegConfig(**DEEPLAB)
    with pytest.raises(ValueError, match="got resnet10t: .*Repository Not Found"):
        DiffSegForEditSegmentation.from_pretrained_backbone(config, cache_dir=str(tmp_path))
    mini_hub.create("timm/resnet10t.c3_in1k")
    mini_hub.commit("timm/resnet10t.c3_in1k", {"model.safetensors": save(weights)})
    for offline in (False, True):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
        model = DiffSegForEditSegmentation.from_pretrained_backbone(config, cache_dir=str(tmp_path))
        for name, tensor in model.segmenter.backbone.state_dict().items():
            assert torch.equal(tensor, weights[name]), name
