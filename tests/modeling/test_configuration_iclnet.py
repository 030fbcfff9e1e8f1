import json

import pytest
from transformers import SegformerConfig

from forgescope.modeling.configuration_iclnet import MIT_B4, ICLNetConfig

OTHER_SETTINGS = {
    "use_noise_stream": False,
    "use_frozen_stream": False,
    "use_contrastive_loss": False,
    "noise_filter": "fft",
    "noise_clip": 5.0,
    "noise_cutoff": 0.125,
    "image_std": (0.5, 0.5, 0.25),
    "feature_stages": (1, 2, 3),
    "head_hidden_sizes": (32, 16, 16, 8),
    "head_kernel_sizes": (1, 3, 3, 1),
    "head_norm_groups": 4,
    "output_stride": 4,
    "contrastive_loss_weight": 0.5,
    "dice_loss_weight": 3.0,
    "focal_loss_weight": 10.0,
    "contrastive_temperature": 0.2,
    "contrastive_mode": "sampled",
    "max_contrastive_vectors": 64,
    "normalize_negatives": True,
    "focal_gamma": 1.5,
    "focal_alpha": None,
    "dice_smooth": 0.5,
    "label_ignore_index": 200,
    "score_top_fraction": 0.05,
    "mask_threshold": 0.4,
    "forged_threshold": 0.7,
    "authentic_threshold": 0.3,
    "false_alarm_rate": 0.02,
    "calibration_images": 500,
}


def test_defaults_are_the_paper_values():
    config = ICLNetConfig()
    encoder = config.encoder_config
    assert isinstance(encoder, SegformerConfig)
    assert {name: tuple(getattr(encoder, name)) for name in MIT_B4} == MIT_B4
    # Eq. 3 and section 6.1
    assert (config.contrastive_loss_weight, config.dice_loss_weight, config.focal_loss_weight) == (1, 4, 20)
    assert len(config.head_hidden_sizes) == 4
    assert config.output_stride == 4
    assert (config.feature_stride, config.feature_channels) == (32, 512)
    assert config.id2label == {0: "authentic", 1: "forged"}
    assert config.label2id == {"authentic": 0, "forged": 1}
    assert config.num_labels == 2


def test_every_field_survives_the_file(tmp_path, tiny_encoder):
    config = ICLNetConfig(encoder_config=tiny_encoder, **OTHER_SETTINGS)
    config.save_pretrained(tmp_path)
    loaded = ICLNetConfig.from_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    own = {name for name in ICLNetConfig.__annotations__ if name != "encoder_config"}
    assert own == set(OTHER_SETTINGS), "a new field needs a value that is not its default here"
    for name, value in OTHER_SETTINGS.items():
        assert value != getattr(ICLNetConfig(), name) or name == "output_stride"
        kept = getattr(loaded, name)
        assert (tuple(kept) if isinstance(value, tuple) else kept) == value, name
        assert name in stored
    assert stored["model_type"] == "iclnet"
    assert loaded.encoder_config.to_dict() == config.encoder_config.to_dict()
    assert loaded.to_dict() == config.to_dict()


def test_class_names_can_be_replaced(tmp_path, tiny_encoder):
    config = ICLNetConfig(encoder_config=tiny_encoder, id2label={0: "real", 1: "edited"})
    config.save_pretrained(tmp_path)
    loaded = ICLNetConfig.from_pretrained(tmp_path)
    assert loaded.id2label == {0: "real", 1: "edited"}
    assert loaded.label2id == {"real": 0, "edited": 1}


def test_encoder_as_instance_equals_encoder_as_dict(tiny_encoder):
    from_dict = ICLNetConfig(encoder_config=tiny_encoder)
    from_instance = ICLNetConfig(encoder_config=SegformerConfig(**tiny_encoder))
    assert from_dict.encoder_config.to_dict() == from_instance.encoder_config.to_dict()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"feature_stages": (4,)}, r"feature_stages must name stages 0 to 3, got \(4,\)"),
        ({"feature_stages": ()}, r"feature_stages must name stages 0 to 3, got \(\)"),
        ({"head_kernel_sizes": (3, 3)}, "one entry a group, got 2 and 4"),
        ({"head_hidden_sizes": (16, 16, 8, 12)}, r"multiple of head_norm_groups=8, got \(16, 16, 8, 12\)"),
        ({"head_hidden_sizes": (16, 16), "head_kernel_sizes": (3, 3)}, "at most 2 times.*got 32"),
        ({"output_stride": 3}, "output_stride=3 the features may have stride.*got 32"),
        ({"output_stride": 64}, "got 32"),
        ({"score_top_fraction": 0.0}, r"score_top_fraction must lie in \(0, 1\], got 0.0"),
        ({"score_top_fraction": 1.5}, "got 1.5"),
        ({"authentic_threshold": 0.6}, r"authentic_threshold \(0.6\) must not exceed forged_threshold \(0.5\)"),
        ({"noise_filter": "sobel"}, "noise_filter"),
        ({"contrastive_mode": "pixels"}, "contrastive_mode"),
        ({"use_noise_stream": "yes"}, "use_noise_stream"),
    ],
)
def test_wrong_settings_are_refused(tiny_encoder, settings, message):
    with pytest.raises(Exception, match=message) as caught:
        ICLNetConfig(encoder_config=tiny_encoder, **settings)
    causes = (caught.value, caught.value.__cause__)
    assert any(isinstance(cause, (ValueError, TypeError)) for cause in causes)


@pytest.mark.parametrize(
    ("stages", "stride", "channels"), [((3,), 32, 32), ((2, 3), 16, 56), ((0, 1, 2, 3), 4, 80), ((1,), 8, 16)]
)
def test_feature_stride_and_channels(tiny_encoder, stages, stride, channels):
    config = ICLNetConfig(encoder_config=tiny_encoder, feature_stages=stages)
    assert (config.feature_stride, config.feature_channels) == (stride, channels)
