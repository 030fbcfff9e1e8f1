import json

import pytest
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, SegformerConfig

from forgescope.datasets_scripts import diffseg30k
from forgescope.modeling.configuration_diffseg import FIGURE_6_EDITORS, MIT_B2, DiffSegConfig
from forgescope.processing.image_processing_forgery import ForgeryImageProcessor

OTHER_SETTINGS = {
    "architecture": "deeplabv3plus",
    "task": "binary",
    "id2editor": ("one", "two", "three"),
    "backbone": "resnet10t",
    "decoder_hidden_size": 24,
    "decoder_dropout": 0.2,
    "backbone_output_stride": 8,
    "atrous_rates": (12, 24, 36),
    "pyramid_hidden_size": 16,
    "low_level_hidden_size": 8,
    "fully_connected_size": 32,
    "fully_connected_dropout": 0.25,
    "initializer_range": 0.01,
    "label_ignore_index": 200,
    "mask_threshold": 0.4,
    "score_top_fraction": 0.05,
    "forged_threshold": 0.7,
    "authentic_threshold": 0.3,
    "false_alarm_rate": 0.02,
    "calibration_images": 500,
}


def test_defaults_are_segformer_b2_with_the_eight_editors():
    config = DiffSegConfig()
    assert isinstance(config.encoder_config, SegformerConfig)
    assert {name: tuple(getattr(config.encoder_config, name)) for name in MIT_B2} == MIT_B2
    assert config.decoder_hidden_size == 768
    assert config.num_labels == 9
    assert config.id2label == dict(enumerate(("authentic", *FIGURE_6_EDITORS)))
    assert config.label2id["kandinsky2.2"] == 8


def test_the_corpus_has_the_same_editors():
    assert diffseg30k.FIGURE_6_EDITORS == FIGURE_6_EDITORS


@pytest.mark.parametrize(
    ("architecture", "backbone", "stride"),
    [("fcn8s", "vgg16", 1), ("deeplabv3plus", "resnet50", 4), ("segformer", None, 4)],
)
def test_architectures(architecture, backbone, stride):
    config = DiffSegConfig(architecture=architecture)
    assert (config.backbone, config.mask_stride) == (backbone, stride)
    assert DiffSegConfig(architecture=architecture, backbone="other").backbone == "other"


def test_classes_follow_from_task_and_editors():
    assert DiffSegConfig(task="binary").id2label == {0: "authentic", 1: "edited"}
    assert DiffSegConfig(id2editor=("a", "b")).id2label == {0: "authentic", 1: "a", 2: "b"}
    assert DiffSegConfig(id2editor=("a", "b"), num_labels=3).num_labels == 3
    with pytest.raises(ValueError, match="num_labels follows from task and id2editor: 9; name other editors instead"):
        DiffSegConfig(num_labels=5)


@pytest.mark.parametrize(("task", "mask_values"), [("semantic", "ids"), ("binary", "any")])
def test_processor_settings(task, mask_values):
    config = DiffSegConfig(architecture="fcn8s", task=task, id2editor=("a", "b"))
    processor = ForgeryImageProcessor(**config.processor_settings)
    assert (processor.mask_stride, processor.mask_values, processor.id2editor) == (1, mask_values, ["a", "b"])


def test_every_field_survives_the_file(tmp_path):
    encoder = {"depths": (1, 1, 1, 1), "hidden_sizes": (8, 16, 24, 32)}
    config = DiffSegConfig(encoder_config=encoder, **OTHER_SETTINGS)
    config.save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    assert stored["model_type"] == "diffseg"
    assert "mask_stride" not in stored
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert type(loaded) is DiffSegConfig
    for name, value in OTHER_SETTINGS.items():
        found = getattr(loaded, name)
        assert (tuple(found) if isinstance(found, list) else found) == value, name
        assert value != getattr(DiffSegConfig(), name), f"{name} is the default, so this test shows nothing"
    assert loaded.id2label == {0: "authentic", 1: "edited"}
    assert tuple(loaded.encoder_config.hidden_sizes) == (8, 16, 24, 32)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "unet"}, "architecture.*expected one of .*segformer.*, got unet"),
        ({"task": "panoptic"}, "task.*expected one of .*semantic.*, got panoptic"),
        ({"id2editor": ()}, r"id2editor must name at least one editor and none twice, got \(\)"),
        ({"id2editor": ("sd2", "glide", "sd2")}, "none twice, got .*'sd2', 'glide', 'sd2'"),
        ({"id2editor": ("sd2", "authentic")}, "id2editor must not hold 'authentic'.* id 0"),
        ({"id2editor": "sd2"}, "id2editor"),
        ({"id2editor": tuple(f"e{number}" for number in range(255))}, "no id of a class, 0 to 255, got 255"),
        ({"label_ignore_index": 8}, "label_ignore_index must be no id of a class, 0 to 8, got 8"),
        ({"backbone_output_stride": 4}, "backbone_output_stride must be 8, 16 or 32, got 4"),
        ({"score_top_fraction": 0.0}, r"score_top_fraction must lie in \(0, 1\], got 0.0"),
        ({"authentic_threshold": 0.6}, r"authentic_threshold \(0.6\) must not exceed forged_threshold \(0.5\)"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(StrictDataclassError, match=f"(?s){message}"):
        DiffSegConfig(**settings)
