"""Finding and loading checkpoints: what a user may call one, and one clear error for everything else."""

import json

import pytest
from safetensors.torch import load_file, save_file

from forgescope.hub import load_checkpoint, resolve_checkpoint, save_with_code
from forgescope.modeling.configuration_iclnet import ICLNetConfig
from forgescope.modeling.modeling_iclnet import ICLNetForForgerySegmentation, ICLNetModel
from forgescope.processing.image_processing_forgery import ForgeryImageProcessor

FORMS = "expected iclnet-mini, a folder, or a Hub id (organization/name)"


@pytest.fixture
def tiny_model():
    encoder = {
        "depths": (1, 1, 1, 1),
        "hidden_sizes": (8, 16, 24, 32),
        "num_attention_heads": (1, 2, 3, 4),
        "sr_ratios": (4, 2, 1, 1),
    }
    return ICLNetForForgerySegmentation(ICLNetConfig(encoder_config=encoder, head_hidden_sizes=(16, 16, 8, 8)))


@pytest.fixture
def checkpoint(tiny_model, tmp_path):
    folder = tmp_path / "checkpoint"
    tiny_model.save_pretrained(folder)
    ForgeryImageProcessor().save_pretrained(folder)
    return folder


def test_folder(checkpoint):
    assert resolve_checkpoint(checkpoint) == str(checkpoint)


def test_home_is_expanded(checkpoint, monkeypatch):
    monkeypatch.setenv("HOME", str(checkpoint.parent))
    assert resolve_checkpoint("~/checkpoint") == str(checkpoint)


@pytest.mark.parametrize("name", ["./absent", "absent", "a/b/c", "/absent", "C:\\absent"])
def test_absent_folder(name):
    with pytest.raises(ValueError, match="unknown checkpoint") as caught:
        resolve_checkpoint(name)
    assert str(caught.value) == f"unknown checkpoint '{name}': no such folder; {FORMS}"


def test_impossible_hub_id():
    with pytest.raises(ValueError, match="not a possible name of a repository"):
        resolve_checkpoint("org/what is this?")


def test_hub_without_network():
    with pytest.raises(ValueError, match="unknown checkpoint 'org/name'.*cannot be reached, nor is it in the cache"):
        resolve_checkpoint("org/name")


def test_file_instead_of_folder(checkpoint):
    with pytest.raises(ValueError, match=r"is a file: give the folder that holds config.json and the weights"):
        resolve_checkpoint(checkpoint / "config.json")


def test_folder_of_checkpoints_names_the_last(checkpoint):
    with pytest.raises(ValueError, match=f"has no config.json: give one of its sub-folders, such as '{checkpoint}'"):
        resolve_checkpoint(checkpoint.parent)


def test_empty_folder(tmp_path):
    with pytest.raises(ValueError, match=r"has no config.json: give one that save_pretrained wrote"):
        resolve_checkpoint(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '"text"'])
def test_damaged_config(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match="no model configuration: expected JSON with a model_type"):
        resolve_checkpoint(tmp_path)


def test_other_model_type(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "segformer"}))
    with pytest.raises(ValueError, match="has model type 'segformer', which cannot be used here; expected iclnet"):
        resolve_checkpoint(tmp_path)


def test_model_types_may_be_narrowed(checkpoint):
    with pytest.raises(ValueError, match="has model type 'iclnet', which cannot be used here; expected gamma"):
        resolve_checkpoint(checkpoint, model_types=["gamma"])


def test_load(checkpoint):
    model, processor = load_checkpoint(checkpoint)
    assert type(model) is ICLNetForForgerySegmentation
    assert type(processor) is ForgeryImageProcessor
    assert not model.training


def test_missing_weights_are_an_error(checkpoint):
    weights = load_file(checkpoint / "model.safetensors")
    del weights["head.classifier.bias"], weights["head.classifier.weight"]
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ValueError, match="2 weights of ICLNetForForgerySegmentation are missing .* them head.classifier"
    ):
        load_checkpoint(checkpoint)


def test_truncated_weights(checkpoint):
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match="the weights of checkpoint .* are damaged .*: get them again"):
        load_checkpoint(checkpoint)


def change_config(checkpoint, **settings):
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, **settings}))


def test_impossible_setting(checkpoint):
    change_config(checkpoint, noise_filter="nonsense")
    with pytest.raises(ValueError, match="config.json of checkpoint .* is wrong: .*noise_filter"):
        load_checkpoint(checkpoint)


def test_config_of_other_weights(checkpoint):
    change_config(checkpoint, head_hidden_sizes=[16, 16, 8, 16])
    with pytest.raises(
        ValueError, match="4 weights of ICLNetForForgerySegmentation .* another shape, among them head"
    ):
        load_checkpoint(checkpoint)


def test_no_weights(checkpoint):
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(OSError, match="no file named model.safetensors"):
        load_checkpoint(checkpoint)


def test_no_processor(checkpoint):
    (checkpoint / "preprocessor_config.json").unlink()
    with pytest.raises(ValueError, match="has no preprocessor_config.json: save the processor to the same place"):
        load_checkpoint(checkpoint)


def test_saving_with_code_leaves_the_objects_alone(tiny_model, tmp_path):
    processor = ForgeryImageProcessor()
    save_with_code(tiny_model, processor, tmp_path / "with")
    tiny_model.save_pretrained(tmp_path / "plain")
    processor.save_pretrained(tmp_path / "plain")
    assert not list((tmp_path / "plain").glob("*.py"))
    assert "auto_map" not in json.loads((tmp_path / "plain" / "config.json").read_text())
    assert "auto_map" not in json.loads((tmp_path / "plain" / "preprocessor_config.json").read_text())


def test_saved_sources_are_those_of_the_package(tiny_model, tmp_path, repository):
    sources = save_with_code(tiny_model, ForgeryImageProcessor(), tmp_path)
    assert {path.name for path in sources} == {path.name for path in tmp_path.glob("*.py")}
    for path in sources:
        twins = [repository / folder / path.name for folder in ("modeling", "processing")]
        assert path.read_text() in [twin.read_text() for twin in twins if twin.exists()]


def test_a_model_without_head_is_entered_for_automodel_only(tiny_model, tmp_path):
    save_with_code(ICLNetModel(tiny_model.config), ForgeryImageProcessor(), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["auto_map"] == {
        "AutoConfig": "configuration_iclnet.ICLNetConfig",
        "AutoModel": "modeling_iclnet.ICLNetModel",
    }
