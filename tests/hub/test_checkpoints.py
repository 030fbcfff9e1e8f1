"""Finding and loading checkpoints: what a user may call one, and one clear error for everything else."""

import json

import pytest
from safetensors.torch import load_file, save_file
from tiny_models import tiny_model, tiny_processor

from forgescope.auto import MODELS
from forgescope.hub import load_checkpoint, resolve_checkpoint, save_with_code

FORMS = "expected iclnet-mini, a folder, or a Hub id (organization/name)"


# a field of each model, a value that it refuses, and a setting that makes some weights another shape
SETTINGS = {
    "iclnet": ("noise_filter", {"head_hidden_sizes": [16, 16, 8, 16]}, "head"),
    "gamma": ("cross_attention", {"decoder_hidden_size": 48}, "classifier"),
    "diffseg": ("task", {"decoder_hidden_size": 48}, "segmenter.decoder"),
    "fakereasoning": ("contrastive_pool", {"contrastive_queue_size": 8}, "forgery_contrast"),
    "legion": ("seg_token_id", {"detection_hidden_size": 8}, "detection_head"),
}


@pytest.fixture(params=MODELS)
def model_type(request):
    return request.param


@pytest.fixture
def model(model_type):
    return tiny_model(model_type)


@pytest.fixture
def checkpoint(model, tmp_path):
    folder = tmp_path / "checkpoint"
    model.save_pretrained(folder)
    tiny_processor(model.config.model_type).save_pretrained(folder)
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


def test_an_empty_name_is_not_the_embedded_checkpoint():
    with pytest.raises(ValueError, match="the name of the checkpoint is empty: expected iclnet-mini, a folder, or"):
        resolve_checkpoint("")


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


def test_model_types_may_be_narrowed(checkpoint, model_type):
    other = "gamma" if model_type == "iclnet" else "iclnet"
    message = f"has model type '{model_type}', which cannot be used here; expected {other}$"
    with pytest.raises(ValueError, match=message):
        resolve_checkpoint(checkpoint, model_types=[other])
    assert resolve_checkpoint(checkpoint, model_types=[other, model_type]) == str(checkpoint)


def test_load(checkpoint, model):
    loaded, processor = load_checkpoint(checkpoint)
    assert type(loaded) is type(model)
    assert type(processor) is MODELS[model.config.model_type].processor
    assert not loaded.training


def test_missing_weights_are_an_error(checkpoint, model):
    weights = load_file(checkpoint / "model.safetensors")
    dropped = sorted(weights)[:2]
    kept = {name: tensor for name, tensor in weights.items() if name not in dropped}
    save_file(kept, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"2 weights of {type(model).__name__} are missing .* them {dropped[0]}"):
        load_checkpoint(checkpoint)


def test_truncated_weights(checkpoint):
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match="the weights of checkpoint .* are damaged .*: get them again"):
        load_checkpoint(checkpoint)


def change_config(checkpoint, **settings):
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, **settings}))


def test_impossible_setting(checkpoint, model_type):
    field = SETTINGS[model_type][0]
    change_config(checkpoint, **{field: "nonsense"})
    with pytest.raises(ValueError, match=f"config.json of checkpoint .* is wrong: .*{field}"):
        load_checkpoint(checkpoint)


def test_config_of_other_weights(checkpoint, model, model_type):
    _, settings, first = SETTINGS[model_type]
    change_config(checkpoint, **settings)
    with pytest.raises(ValueError, match=f"weights of {type(model).__name__} .* another shape, among them {first}"):
        load_checkpoint(checkpoint)


def test_no_weights(checkpoint):
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(OSError, match="no file named model.safetensors"):
        load_checkpoint(checkpoint)


def test_no_processor(checkpoint, model_type):
    name = MODELS[model_type].processor_file
    (checkpoint / name).unlink()
    with pytest.raises(ValueError, match=f"has no {name}: save the processor to the same place"):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize("model_type", ["iclnet", "gamma", "diffseg"], indirect=True)
def test_adapters_of_a_family_without_them(checkpoint, model_type):
    (checkpoint / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match=f"type '{model_type}' cannot be loaded from adapters .*: merge them into"):
        load_checkpoint(checkpoint)


def test_saving_with_code_leaves_the_objects_alone(model, model_type, tmp_path):
    processor = tiny_processor(model_type)
    save_with_code(model, processor, tmp_path / "with")
    model.save_pretrained(tmp_path / "plain")
    processor.save_pretrained(tmp_path / "plain")
    assert not list((tmp_path / "plain").glob("*.py"))
    assert "auto_map" not in json.loads((tmp_path / "plain" / "config.json").read_text())
    assert "auto_map" not in json.loads((tmp_path / "plain" / MODELS[model_type].processor_file).read_text())


def test_saved_sources_are_those_of_the_package(model, model_type, tmp_path, repository):
    sources = save_with_code(model, tiny_processor(model_type), tmp_path)
    assert {path.name for path in sources} == {path.name for path in tmp_path.glob("*.py")}
    for path in sources:
        twins = [repository / folder / path.name for folder in ("modeling", "processing")]
        assert path.read_text() in [twin.read_text() for twin in twins if twin.exists()]


def test_a_model_without_head_is_entered_for_automodel_only(model, model_type, tmp_path):
    family = MODELS[model_type]
    if family.base_model is None:
        pytest.skip("this model has no form without head")
    save_with_code(family.base_model(model.config), tiny_processor(model_type), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["auto_map"] == {
        "AutoConfig": f"configuration_{model_type}.{family.config.__name__}",
        "AutoModel": f"modeling_{model_type}.{family.base_model.__name__}",
    }
