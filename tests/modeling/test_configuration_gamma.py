import json

import pytest
from transformers import SegformerConfig

from forgescope.modeling.configuration_gamma import MIT_B2, GammaConfig

OTHER_SETTINGS = {
    "decoder_hidden_size": 256,
    "decoder_dropout": 0.0,
    "use_manipulation_head": False,
    "use_ai_head": False,
    "cross_attention": "dual",
    "cross_attention_tokens": "spatial",
    "num_attention_heads": 4,
    "classification_loss_weight": 1.5,
    "ai_loss_weight": 3.0,
    "manipulation_loss_weight": 0.5,
    "initializer_range": 0.01,
    "label_ignore_index": 200,
    "mask_threshold": 0.4,
    "score_reduction": "center",
    "forged_threshold": 0.7,
    "authentic_threshold": 0.3,
    "false_alarm_rate": 0.02,
    "calibration_images": 500,
}


def test_defaults_are_the_paper_values():
    config = GammaConfig()
    encoder = config.encoder_config
    assert isinstance(encoder, SegformerConfig)
    assert {name: tuple(getattr(encoder, name)) for name in MIT_B2} == MIT_B2
    # Eq. 6 with alpha 2, tables 4 and 8, section 3.3
    assert (config.classification_loss_weight, config.ai_loss_weight, config.manipulation_loss_weight) == (2, 2, 1)
    assert config.use_manipulation_head
    assert config.use_ai_head
    assert config.cross_attention == "reverse"
    assert config.id2label == {0: "real", 1: "fake"}
    assert config.label2id == {"real": 0, "fake": 1}
    assert config.num_labels == 2


def test_every_field_survives_the_file(tmp_path, tiny_encoder):
    config = GammaConfig(encoder_config=tiny_encoder, **OTHER_SETTINGS)
    config.save_pretrained(tmp_path)
    loaded = GammaConfig.from_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    own = {name for name in GammaConfig.__annotations__ if name != "encoder_config"}
    assert own == set(OTHER_SETTINGS), "a new field needs a value that is not its default here"
    for name, value in OTHER_SETTINGS.items():
        assert value != getattr(GammaConfig(), name), name
        assert getattr(loaded, name) == value, name
        assert name in stored
    assert stored["model_type"] == "gamma"
    assert loaded.encoder_config.to_dict() == config.encoder_config.to_dict()
    assert loaded.to_dict() == config.to_dict()


def test_class_names_can_be_replaced(tmp_path, tiny_encoder):
    config = GammaConfig(encoder_config=tiny_encoder, id2label={0: "photograph", 1: "generated"})
    config.save_pretrained(tmp_path)
    loaded = GammaConfig.from_pretrained(tmp_path)
    assert loaded.id2label == {0: "photograph", 1: "generated"}
    assert loaded.label2id == {"photograph": 0, "generated": 1}


def test_encoder_as_instance_equals_encoder_as_dict(tiny_encoder):
    from_dict = GammaConfig(encoder_config=tiny_encoder)
    from_instance = GammaConfig(encoder_config=SegformerConfig(**tiny_encoder))
    assert from_dict.encoder_config.to_dict() == from_instance.encoder_config.to_dict()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_attention_heads": 7}, "must be a multiple of num_attention_heads, at least 1, got 768 and 7"),
        ({"num_attention_heads": 0}, "at least 1, got 768 and 0"),
        ({"decoder_dropout": 1.0}, r"decoder_dropout must lie in \[0, 1\), got 1.0"),
        ({"decoder_dropout": -0.1}, "got -0.1"),
        ({"id2label": {0: "real", 1: "fake", 2: "unsure"}}, "id2label must name two classes, real and fake, got"),
        ({"authentic_threshold": 0.6}, r"authentic_threshold \(0.6\) must not exceed forged_threshold \(0.5\)"),
        ({"cross_attention": "forward"}, "cross_attention"),
        ({"cross_attention_tokens": "all"}, "cross_attention_tokens"),
        ({"score_reduction": "median"}, "score_reduction"),
        ({"use_ai_head": "yes"}, "use_ai_head"),
    ],
)
def test_wrong_settings_are_refused(tiny_encoder, settings, message):
    with pytest.raises(Exception, match=message) as caught:
        GammaConfig(encoder_config=tiny_encoder, **settings)
    causes = (caught.value, caught.value.__cause__)
    assert any(isinstance(cause, (ValueError, TypeError)) for cause in causes)
