"""The pipeline of transformers that gives reports."""

import numpy as np
import pytest
from PIL import Image
from tiny_models import tiny_model, tiny_processor
from transformers import pipeline

import forgescope
from forgescope.analyze import Analyzer
from forgescope.pipelines import TASK, ForgeryAnalysisPipeline, register_pipeline
from forgescope.reading import ImageReadError

SETTINGS = {"overlap": 16}


def photo(seed):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (70, 90, 3), dtype=np.uint8))


@pytest.fixture(scope="module", params=["iclnet", "gamma", "diffseg"])
def folder(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param)
    tiny_model(request.param).save_pretrained(path)
    tiny_processor(request.param).save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def analyse(folder):
    return pipeline(TASK, model=folder)


def same(one, other):
    assert one.verdict == other.verdict
    assert one.score == pytest.approx(other.score, rel=1e-4)
    assert np.array_equal(one.mask, other.mask)


def test_a_report_is_that_of_analyze(folder, analyse):
    assert isinstance(analyse, ForgeryAnalysisPipeline)
    same(analyse(photo(0), **SETTINGS), Analyzer(folder, **SETTINGS).analyze(photo(0)))


def test_lists_and_generators(analyse, tmp_path):
    paths = []
    for seed in range(3):
        paths.append(tmp_path / f"{seed}.png")
        photo(seed).save(paths[-1])
    listed = analyse([str(path) for path in paths], **SETTINGS)
    assert [report.path for report in listed] == [str(path) for path in paths]
    lazy = analyse((path for path in paths), batch_size=2, **SETTINGS)
    assert not isinstance(lazy, list)
    for one, other in zip(lazy, listed, strict=True):
        same(one, other)
    same(analyse(paths[0], **SETTINGS), listed[0])


def test_the_settings_of_analyze(analyse):
    assert analyse(photo(0), threshold=0.0, **SETTINGS).verdict == "forged"
    with pytest.raises(ValueError, match="threshold"):
        analyse(photo(0), threshold=2.0, **SETTINGS)


def test_a_bad_file_is_one_error(analyse, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(ImageReadError, match="bad.png"):
        analyse(str(tmp_path / "bad.png"), **SETTINGS)


def test_loaded_model_and_processor():
    model, processor = tiny_model("iclnet"), tiny_processor("iclnet")
    analyse = pipeline(TASK, model=model, image_processor=processor)
    same(analyse(photo(0), **SETTINGS), Analyzer(model, processor, **SETTINGS).analyze(photo(0)))


def test_the_embedded_checkpoint_is_the_default(repository):
    found = pipeline(TASK)(str(repository / "examples/images/inpainting_rocket.jpg"))
    same(found, Analyzer("iclnet-mini").analyze(repository / "examples/images/inpainting_rocket.jpg"))


@pytest.mark.parametrize("family", ["fakereasoning", "legion"])
def test_models_that_explain_themselves(family, tmp_path):
    tiny_model(family).save_pretrained(tmp_path)
    tiny_processor(family).save_pretrained(tmp_path)
    found, expected = pipeline(TASK, model=str(tmp_path))(photo(0)), Analyzer(str(tmp_path)).analyze(photo(0))
    same(found, expected)
    assert found.explanation == expected.explanation


def test_registering_twice_is_harmless():
    register_pipeline()
    assert forgescope.Ensemble
