import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    SegformerConfig,
    SegformerForImageClassification,
    SegformerForSemanticSegmentation,
    SegformerModel,
    ViTConfig,
    ViTModel,
)

from forgescope.modeling.modeling_iclnet import ICLNetForForgerySegmentation, ICLNetModel

LEGACY_NAME = "segformer.encoder.block.0.0.attention.self.query.weight"


def drawn(model):
    """Give every parameter a value that initialisation would not."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return model.eval()


def assert_filled(model, encoder):
    expected = encoder.state_dict()
    streams = model.base_model.streams()
    assert len(streams) == 3
    for stream in streams:
        assert stream.state_dict().keys() == expected.keys()
        for name, tensor in stream.state_dict().items():
            assert torch.equal(tensor, expected[name]), name
    assert not model.training
    assert not any(one.requires_grad for one in model.base_model.frozen_encoder.parameters())


@pytest.fixture
def config(tiny_encoder):
    return SegformerConfig(**tiny_encoder, decoder_hidden_size=16, num_labels=7)


@pytest.mark.parametrize("legacy_names", [False, True])
def test_bare_encoder(config, tiny_config, tmp_path, legacy_names):
    encoder = drawn(SegformerModel(config))
    encoder.save_pretrained(tmp_path, save_original_format=legacy_names)
    assert_filled(ICLNetForForgerySegmentation.from_segformer(str(tmp_path), tiny_config()), encoder)


@pytest.mark.parametrize("model_class", [SegformerForImageClassification, SegformerForSemanticSegmentation])
@pytest.mark.parametrize("legacy_names", [False, True])
def test_encoder_of_a_whole_model(config, tiny_config, tmp_path, model_class, legacy_names):
    source = drawn(model_class(config))
    source.save_pretrained(tmp_path, save_original_format=legacy_names)
    assert (LEGACY_NAME in load_file(tmp_path / "model.safetensors")) == legacy_names
    model = ICLNetForForgerySegmentation.from_segformer(str(tmp_path), tiny_config())
    assert_filled(model, source.segformer)
    assert "id2label" not in json.loads(model.config.encoder_config.to_json_string())
    assert model.config.id2label == {0: "authentic", 1: "forged"}


def test_pickled_checkpoint_with_legacy_names(config, tiny_config, tmp_path):
    # the form in which nvidia/mit-b4 is published
    source = drawn(SegformerForImageClassification(config))
    source.save_pretrained(tmp_path, save_original_format=True)
    stored = tmp_path / "model.safetensors"
    torch.save(load_file(stored), tmp_path / "pytorch_model.bin")
    stored.unlink()
    assert_filled(ICLNetForForgerySegmentation.from_segformer(str(tmp_path), tiny_config()), source.segformer)


def test_encoder_settings_come_from_the_checkpoint_the_rest_from_the_caller(config, tiny_config, tmp_path):
    SegformerModel(config).save_pretrained(tmp_path)
    settings = tiny_config(encoder_config=None, contrastive_temperature=0.3, feature_stages=(2, 3))
    model = ICLNetModel.from_segformer(str(tmp_path), settings)
    assert tuple(model.config.encoder_config.hidden_sizes) == (8, 16, 24, 32)
    assert model.config.contrastive_temperature == 0.3
    assert tuple(model.config.feature_stages) == (2, 3)


def test_other_settings_default_to_the_paper(config, tmp_path):
    SegformerModel(config).save_pretrained(tmp_path)
    model = ICLNetForForgerySegmentation.from_segformer(str(tmp_path))
    assert tuple(model.config.head_hidden_sizes) == (512, 256, 128, 64)
    assert model.head.layers[0].in_channels == 3 * 32


def test_saved_model_keeps_the_streams(config, tiny_config, tmp_path, pixel_values):
    encoder = drawn(SegformerModel(config))
    encoder.save_pretrained(tmp_path / "encoder")
    model = ICLNetForForgerySegmentation.from_segformer(str(tmp_path / "encoder"), tiny_config())
    model.save_pretrained(tmp_path / "iclnet")
    loaded = ICLNetForForgerySegmentation.from_pretrained(tmp_path / "iclnet")
    assert_filled(loaded, encoder)


def test_another_model_is_refused(tiny_config, tmp_path):
    vit = ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, image_size=16)
    ViTModel(vit).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="SegFormer checkpoint such as nvidia/mit-b4.*has model_type 'vit'"):
        ICLNetForForgerySegmentation.from_segformer(str(tmp_path), tiny_config())


def test_our_own_checkpoint_is_refused(tiny_model, tiny_config, tmp_path):
    tiny_model().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="has model_type 'iclnet'"):
        ICLNetForForgerySegmentation.from_segformer(str(tmp_path), tiny_config())


def test_an_empty_folder_is_refused(tiny_config, tmp_path):
    with pytest.raises(ValueError, match="has model_type None"):
        ICLNetForForgerySegmentation.from_segformer(str(tmp_path), tiny_config())


def test_a_missing_folder_is_refused(tiny_config, tmp_path):
    with pytest.raises(ValueError, match=r"expected a folder or Hub id of a SegFormer checkpoint.*nowhere"):
        ICLNetForForgerySegmentation.from_segformer(str(tmp_path / "nowhere"), tiny_config())


def test_missing_weights_are_named(config, tiny_config, tmp_path):
    encoder = SegformerModel(config)
    encoder.save_pretrained(tmp_path, save_original_format=False)
    tensors = load_file(tmp_path / "model.safetensors")
    dropped = sorted(tensors)[:2]
    kept = {name: tensor for name, tensor in tensors.items() if name not in dropped}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"2 encoder weights are missing, the first is {dropped[0]}"):
        ICLNetForForgerySegmentation.from_segformer(str(tmp_path), tiny_config())
