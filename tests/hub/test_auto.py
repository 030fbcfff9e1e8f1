"""Registration with transformers after `import forgescope`."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import TEXT_MODELS, tiny_config, tiny_model, tiny_processor
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageClassification,
    AutoProcessor,
    pipeline,
)

from forgescope.auto import MODELS, register_auto_classes

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))


@pytest.fixture(params=MODELS)
def family(request):
    return MODELS[request.param]


@pytest.fixture
def config(family):
    return tiny_config(family.config.model_type)


@pytest.fixture
def checkpoint(family, tmp_path):
    tiny_model(family.config.model_type).save_pretrained(tmp_path)
    tiny_processor(family.config.model_type).save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def auto_processor(family):
    return AutoProcessor if family.processor_auto_class == "AutoProcessor" else AutoImageProcessor


@pytest.fixture
def messages(caplog, monkeypatch):
    """Make a list of what transformers says from the given level on."""
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    return lambda level: [record.getMessage() for record in caplog.records if record.levelno >= level]


def test_rows_are_keyed_by_model_type():
    assert all(family.config.model_type == model_type for model_type, family in MODELS.items())
    assert all(family.task_model.config_class is family.config for family in MODELS.values())


def test_auto_classes_load_the_full_checkpoint(family, checkpoint, auto_processor):
    assert type(AutoConfig.from_pretrained(checkpoint)) is family.config
    assert type(AutoModel.from_pretrained(checkpoint)) is family.task_model
    assert type(family.task_auto_class.from_pretrained(checkpoint)) is family.task_model
    assert type(auto_processor.from_pretrained(checkpoint)) is family.processor


def test_automodel_loads_a_base_checkpoint(family, config, tmp_path):
    if family.base_model is None:
        pytest.skip("this model has no form without head")
    family.base_model(config).save_pretrained(tmp_path)
    assert type(AutoModel.from_pretrained(tmp_path)) is family.base_model


def test_processor_is_found_by_the_config_alone(family, config, checkpoint, auto_processor):
    processor = auto_processor.from_pretrained(checkpoint, config=config)
    assert type(processor) is family.processor


def test_registering_twice_is_harmless(family, config):
    register_auto_classes()
    register_auto_classes()
    assert type(family.task_auto_class.from_config(config)) is family.task_model


def test_stock_pipeline_logs_no_error(family, checkpoint, messages):
    if family.config.model_type in TEXT_MODELS:
        pytest.skip("its pipeline reads a prompt: next test")
    predict = pipeline(family.pipeline_tag, model=str(checkpoint))
    assert type(predict.model) is family.task_model
    single, pair = predict(IMAGE), predict([IMAGE, IMAGE], batch_size=2)
    assert messages(logging.ERROR) == []
    for result in pair:
        assert [entry["label"] for entry in result] == [entry["label"] for entry in single]
        for batched, alone in zip(result, single, strict=True):
            if "mask" in alone:
                np.testing.assert_array_equal(np.array(batched["mask"]), np.array(alone["mask"]))
            else:
                assert batched["score"] == pytest.approx(alone["score"], rel=1e-5)


@pytest.mark.parametrize("family", TEXT_MODELS, indirect=True)
def test_text_pipeline_logs_no_error(family, checkpoint, messages):
    answer = pipeline(family.pipeline_tag, model=str(checkpoint))
    assert type(answer.model) is family.task_model
    parts = [{"type": "image", "image": IMAGE}, {"type": "text", "text": "Real or fake?"}]
    chat = [{"role": "user", "content": parts}]
    (result,) = answer(text=chat, max_new_tokens=3, do_sample=False, return_full_text=False)
    assert isinstance(result["generated_text"], str)
    assert messages(logging.ERROR) == []


@pytest.mark.parametrize("family", ["iclnet", "diffseg"], indirect=True)
def test_segmentation_pipeline_gives_masks_of_the_image(checkpoint):
    assert {entry["mask"].size for entry in pipeline("image-segmentation", model=str(checkpoint))(IMAGE)} == {(60, 40)}


@pytest.mark.parametrize("family", ["gamma"], indirect=True)
def test_classification_pipeline_gives_the_probability_to_be_fake(family, checkpoint, messages):
    classify = pipeline("image-classification", model=str(checkpoint))
    scores = {entry["label"]: entry["score"] for entry in classify(IMAGE)}
    assert messages(logging.WARNING) == []
    assert set(scores) == {"real", "fake"}
    assert sum(scores.values()) == pytest.approx(1, abs=1e-6)
    model, processor = family.task_model.from_pretrained(checkpoint), family.processor.from_pretrained(checkpoint)
    with torch.no_grad():
        inputs = processor(IMAGE, return_tensors="pt")
        assert inputs["pixel_values"].shape == (1, 3, 64, 96)  # enlarged to 64 x 96, a multiple of 32
        logits = model(**inputs).logits
    assert scores["fake"] == pytest.approx(logits[0, 1].sigmoid().item(), rel=1e-5)


@pytest.mark.parametrize("family", ["gamma"], indirect=True)
def test_automodel_for_image_classification_gives_masks_too(checkpoint):
    model = AutoModelForImageClassification.from_pretrained(checkpoint)
    with torch.no_grad():
        outputs = model(torch.zeros(1, 3, 64, 64))
    assert outputs.logits.shape == (1, 2)
    assert outputs.ai_logits.shape == outputs.manipulation_logits.shape == (1, 1, 16, 16)
    assert model.config.id2label == {0: "real", 1: "fake"}
