"""Registration with transformers after `import forgescope`."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForSemanticSegmentation,
    pipeline,
)

from forgescope.auto import MODELS, register_auto_classes

TINY = {
    "iclnet": {
        "encoder_config": {
            "depths": (1, 1, 1, 1),
            "hidden_sizes": (8, 16, 24, 32),
            "num_attention_heads": (1, 2, 3, 4),
            "sr_ratios": (4, 2, 1, 1),
        },
        "head_hidden_sizes": (16, 16, 8, 8),
    }
}


@pytest.fixture(params=MODELS)
def family(request):
    return MODELS[request.param]


def tiny_config(family):
    return family.config(**TINY[family.config.model_type])


@pytest.fixture
def checkpoint(family, tmp_path):
    family.task_model(tiny_config(family)).save_pretrained(tmp_path)
    family.processor(size={"height": 64, "width": 64}).save_pretrained(tmp_path)
    return tmp_path


def test_rows_are_keyed_by_model_type():
    assert all(family.config.model_type == model_type for model_type, family in MODELS.items())
    assert all(family.task_model.config_class is family.config for family in MODELS.values())


def test_auto_classes_load_the_full_checkpoint(family, checkpoint):
    assert type(AutoConfig.from_pretrained(checkpoint)) is family.config
    assert type(AutoModel.from_pretrained(checkpoint)) is family.task_model
    assert type(family.task_auto_class.from_pretrained(checkpoint)) is family.task_model
    assert type(AutoImageProcessor.from_pretrained(checkpoint)) is family.processor


def test_automodel_loads_a_base_checkpoint(family, tmp_path):
    family.base_model(tiny_config(family)).save_pretrained(tmp_path)
    assert type(AutoModel.from_pretrained(tmp_path)) is family.base_model


def test_processor_is_found_by_the_config_alone(family, checkpoint):
    processor = AutoImageProcessor.from_pretrained(checkpoint, config=tiny_config(family))
    assert type(processor) is family.processor


def test_registering_twice_is_harmless():
    register_auto_classes()
    register_auto_classes()
    config = tiny_config(MODELS["iclnet"])
    assert type(AutoModelForSemanticSegmentation.from_config(config)) is MODELS["iclnet"].task_model


def test_stock_pipeline_logs_no_error(checkpoint, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    segment = pipeline("image-segmentation", model=str(checkpoint))
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))
    torch.manual_seed(0)
    single, pair = segment(image), segment([image, image], batch_size=2)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert {entry["mask"].size for entry in single} == {(60, 40)}
    for result in pair:
        assert [entry["label"] for entry in result] == [entry["label"] for entry in single]
        for batched, alone in zip(result, single, strict=True):
            np.testing.assert_array_equal(np.array(batched["mask"]), np.array(alone["mask"]))
