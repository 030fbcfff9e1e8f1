import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import drawn, tiny_config, tiny_model
from transformers import (
    SegformerConfig,
    SegformerForImageClassification,
    SegformerForSemanticSegmentation,
    SegformerModel,
    ViTConfig,
    ViTModel,
)

from forgescope.auto import MODELS

LEGACY_NAME = "segformer.encoder.block.0.0.attention.self.query.weight"
# the models whose encoders a SegFormer checkpoint fills, and how many each has
ENCODERS = {"iclnet": 3, "gamma": 1}


@pytest.fixture(params=ENCODERS)
def model_type(request):
    return request.param


@pytest.fixture
def model_class(model_type):
    return MODELS[model_type].task_model


def assert_filled(model, encoder):
    expected = encoder.state_dict()
    encoders = [module for module in model.modules() if isinstance(module, SegformerModel)]
    assert len(encoders) == ENCODERS[model.config.model_type]
    for one in encoders:
        assert one.state_dict().keys() == expected.keys()
        for name, tensor in one.state_dict().items():
            assert torch.equal(tensor, expected[name]), name
    assert not model.training
    frozen = [name for name, one in model.named_parameters() if not one.requires_grad]
    assert all(name.startswith(("iclnet.frozen_encoder.", "iclnet.high_pass.")) for name in frozen)


@pytest.fixture
def config(tiny_encoder):
    return SegformerConfig(**tiny_encoder, decoder_hidden_size=16, num_labels=7)


@pytest.mark.parametrize("legacy_names", [False, True])
def test_bare_encoder(config, model_type, model_class, tmp_path, legacy_names):
    encoder = drawn(SegformerModel(config)).eval()
    encoder.save_pretrained(tmp_path, save_original_format=legacy_names)
    assert_filled(model_class.from_segformer(str(tmp_path), tiny_config(model_type)), encoder)


@pytest.mark.parametrize("source_class", [SegformerForImageClassification, SegformerForSemanticSegmentation])
@pytest.mark.parametrize("legacy_names", [False, True])
def test_encoder_of_a_whole_model(config, model_type, model_class, tmp_path, source_class, legacy_names):
    source = drawn(source_class(config))
    source.save_pretrained(tmp_path, save_original_format=legacy_names)
    assert (LEGACY_NAME in load_file(tmp_path / "model.safetensors")) == legacy_names
    settings = tiny_config(model_type)
    model = model_class.from_segformer(str(tmp_path), settings)
    assert_filled(model, source.segformer)
    assert "id2label" not in json.loads(model.config.encoder_config.to_json_string())
    assert model.config.id2label == settings.id2label


def test_pickled_checkpoint_with_legacy_names(config, model_type, model_class, tmp_path):
    # the form in which nvidia/mit-b4 is published
    source = drawn(SegformerForImageClassification(config))
    source.save_pretrained(tmp_path, save_original_format=True)
    stored = tmp_path / "model.safetensors"
    torch.save(load_file(stored), tmp_path / "pytorch_model.bin")
    stored.unlink()
    assert_filled(model_class.from_segformer(str(tmp_path), tiny_config(model_type)), source.segformer)


OTHER_SETTINGS = {
    "iclnet": {"contrastive_temperature": 0.3, "feature_stages": (2, 3)},
    "gamma": {"cross_attention": "dual", "use_ai_head": False},
}


def test_encoder_settings_come_from_the_checkpoint_the_rest_from_the_caller(config, model_type, tmp_path):
    SegformerModel(config).save_pretrained(tmp_path)
    settings = tiny_config(model_type, encoder_config=None, **OTHER_SETTINGS[model_type])
    model = MODELS[model_type].base_model.from_segformer(str(tmp_path), settings)
    assert tuple(model.config.encoder_config.hidden_sizes) == (8, 16, 24, 32)
    for name, value in OTHER_SETTINGS[model_type].items():
        kept = getattr(model.config, name)
        assert (tuple(kept) if isinstance(value, tuple) else kept) == value


def test_other_settings_default_to_the_paper(config, model_type, model_class, tmp_path):
    SegformerModel(config).save_pretrained(tmp_path)
    found = model_class.from_segformer(str(tmp_path)).config.to_dict()
    paper = MODELS[model_type].config().to_dict()
    assert {name for name in paper if found[name] != paper[name]} <= {"encoder_config", "dtype", "architectures"}


def test_dtype_of_the_checkpoint(config, model_type, model_class, tmp_path):
    SegformerModel(config).to(torch.bfloat16).save_pretrained(tmp_path)
    assert model_class.from_segformer(str(tmp_path), tiny_config(model_type)).dtype == torch.bfloat16
    asked = model_class.from_segformer(str(tmp_path), tiny_config(model_type), dtype=torch.float32)
    assert asked.dtype == torch.float32


def test_saved_model_keeps_the_encoders(config, model_type, model_class, tmp_path):
    encoder = drawn(SegformerModel(config)).eval()
    encoder.save_pretrained(tmp_path / "encoder")
    model = model_class.from_segformer(str(tmp_path / "encoder"), tiny_config(model_type))
    model.save_pretrained(tmp_path / "saved")
    assert_filled(model_class.from_pretrained(tmp_path / "saved"), encoder)


def test_another_model_is_refused(model_type, model_class, tmp_path):
    vit = ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, image_size=16)
    ViTModel(vit).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="SegFormer checkpoint such as nvidia/mit-b4.*has model_type 'vit'"):
        model_class.from_segformer(str(tmp_path), tiny_config(model_type))


def test_our_own_checkpoint_is_refused(model_type, model_class, tmp_path):
    tiny_model(model_type).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=f"has model_type '{model_type}'"):
        model_class.from_segformer(str(tmp_path), tiny_config(model_type))


def test_an_empty_folder_is_refused(model_type, model_class, tmp_path):
    with pytest.raises(ValueError, match="has model_type None"):
        model_class.from_segformer(str(tmp_path), tiny_config(model_type))


def test_a_missing_folder_is_refused(model_type, model_class, tmp_path):
    with pytest.raises(ValueError, match=r"expected a folder or Hub id of a SegFormer checkpoint.*nowhere"):
        model_class.from_segformer(str(tmp_path / "nowhere"), tiny_config(model_type))


def test_missing_weights_are_named(config, model_type, model_class, tmp_path):
    encoder = SegformerModel(config)
    encoder.save_pretrained(tmp_path, save_original_format=False)
    tensors = load_file(tmp_path / "model.safetensors")
    dropped = sorted(tensors)[:2]
    kept = {name: tensor for name, tensor in tensors.items() if name not in dropped}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"2 encoder weights are missing, the first is {dropped[0]}"):
        model_class.from_segformer(str(tmp_path), tiny_config(model_type))
