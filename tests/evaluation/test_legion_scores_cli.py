"""A tiny LEGION measured by its protocols, in Python and from the command line."""

import json

import numpy as np
import pytest
import torch
from artifact_corpora import write_synthscars, write_universal
from PIL import Image
from tiny_models import tiny_model, tiny_processor

from forgescope.edit_evaluation import load_judge
from forgescope.evaluation.perturbations import parse_perturbations
from forgescope.evaluation.protocols import find_protocol
from forgescope.evaluation.protocols_legion import FAMILIES
from forgescope.evaluation_runs import load_verdicts
from forgescope.grounded_data import draw_grounded_images
from forgescope.grounded_evaluation import evaluate_grounded
from forgescope.grounded_model import GroundedModel, load_scorer
from forgescope.image_scores import evaluate_families
from forgescope.processing.grounded_text import parse_grounded_text
from forgescope.protocol_data import draw_test_images


@pytest.fixture(scope="module")
def universal(tmp_path_factory):
    return write_universal(tmp_path_factory.mktemp("universal"), FAMILIES)


@pytest.fixture(scope="module")
def tiny_legion():
    """LEGION of a few units, that writes tags and little else, with Llama's tokenizer."""
    model = tiny_model("legion")
    tags = [model.config.phrase_start_token_id, model.config.phrase_end_token_id, model.config.seg_token_id]
    torch.manual_seed(4)
    with torch.no_grad():
        model.lm_head.weight.zero_()
        model.lm_head.weight[tags] = torch.randn(len(tags), model.lm_head.in_features)
    return GroundedModel(model, tiny_processor("legion"), max_new_tokens=6)


def test_a_model_is_asked_and_what_it_said_is_scored(tiny_legion, tmp_path):
    data = write_synthscars(tmp_path / "data")
    protocol = find_protocol("legion-synthscars")
    images = draw_grounded_images(protocol, data)
    photos = [photo for _, photo in images.read({item.id for item in images.items})]
    found = tiny_legion.grounded(photos)
    assert len(found) == len(photos) == 4
    assert any("[SEG]" in one.text for one in found)
    assert all(len(parse_grounded_text(one.text).phrases) == len(one.phrases) for one in found)
    assert all(one.mask.shape == (16, 24) for one in found)
    # one by one and together, the same
    alone = GroundedModel(tiny_legion.model, tiny_legion.processor, 1, 6).grounded(photos)
    assert [one.text for one in alone] == [one.text for one in found]
    run = evaluate_grounded(
        images,
        tmp_path / "a.jsonl",
        parse_perturbations("none,jpeg:20"),
        tiny_legion,
        model="tiny",
        settings=tiny_legion.settings,
        seed=0,
        resamples=0,
    )
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [line["text"] for line in lines[:4]] == [one.text for one in found]
    assert sum(mask is not None for line in lines[:4] for mask in (one["mask"] for one in line["phrases"])) == sum(
        phrase.score is not None for one in found for phrase in one.phrases
    )
    (miou,) = [
        row.value
        for row in run.rows
        if (row.metric, row.classes, row.targets, row.reduction, row.perturbation)
        == ("pixel_iou", "macro", "union", "image", "none")
    ]
    values = []
    for item, one in zip(images.items, found, strict=True):
        truth, union = item.whole(), one.mask
        if truth.any():
            front = (truth & union).sum() / (truth | union).sum()
            back = ((1 - truth) & (1 - union)).sum() / ((1 - truth) | (1 - union)).sum()
            values.append((front + back) / 2)
    assert miou == pytest.approx(np.mean(values))


def test_the_detection_head_is_asked_alone(tiny_legion, universal, tmp_path):
    photos = [Image.open(file).convert("RGB") for file in sorted(universal.rglob("*.png"))[:5]]
    inputs = tiny_legion.processor.detection_inputs(photos)
    with torch.no_grad():
        tokens = tiny_legion.model.class_tokens(inputs["pixel_values"])
        expected = tiny_legion.model.detection_head(tokens).softmax(-1)[:, 1]
    scores = tiny_legion.fake_probabilities(photos)
    assert scores == pytest.approx(expected.tolist(), abs=1e-6)
    one_by_one = GroundedModel(tiny_legion.model, tiny_legion.processor, 1).fake_probabilities(photos)
    assert one_by_one == pytest.approx(scores, abs=1e-6)
    protocol = find_protocol("legion-detection")
    images = draw_test_images(protocol, universal, per_class=1)
    found = evaluate_families(images, protocol, tmp_path / "a.jsonl", tiny_legion.fake_probabilities, resamples=0)
    assert [row.n for row in found.rows if (row.source, row.metric) == ("GANs", "image_accuracy")] == [12]


def test_a_checkpoint_from_the_command_line(run, tiny_legion, universal, tmp_path):
    """Rows beside the answers; a second run asks nobody and gives the same, and so do the answers alone."""
    for part in (tiny_legion.model, tiny_legion.processor):
        part.save_pretrained(tmp_path / "tiny")
    data = write_synthscars(tmp_path / "data")
    words = (tmp_path / "tiny", "--data", data, "--protocol", "legion-robustness", "--device", "cpu", "--resamples", 0)
    words += ("--perturb", "none,blur:15", "--per-class", 2, "--json", tmp_path / "rows.json", "--longest-edge", 32)
    status, out, err = run(*words)
    assert (status, "skipped" in err) == (0, False)
    assert "threshold 0.5" in out
    lines = [json.loads(line) for line in (tmp_path / "rows.answers.jsonl").read_text().splitlines()]
    assert [(line["perturbation"], line["longest_edge"], line["threshold"]) for line in lines] == [
        *([("none", 32, 0.5)] * 2),
        *([("blur:15", 32, 0.5)] * 2),
    ]
    rows = (tmp_path / "rows.json").read_text()
    assert {row["threshold"] for row in json.loads(rows)} == {0.5}
    assert run(*words)[0] == 0
    assert (tmp_path / "rows.json").read_text() == rows
    assert len((tmp_path / "rows.answers.jsonl").read_text().splitlines()) == 4
    status, _, err = run(*words[:-1], 64)
    assert (status, "longest_edge 32, " in err, "longest_edge 64, " in err) == (2, True, True)
    words = (tmp_path / "tiny", "--data", universal, "--protocol", "legion-detection", "--per-class", 1)
    status, out, err = run(*words, "--resamples", 0, "--json", tmp_path / "verdicts.json")
    assert (status, "skipped" in err) == (0, False)
    assert "GANs" in out
    assert len((tmp_path / "verdicts.answers.jsonl").read_text().splitlines()) == 19 + 11 + 2


def test_tables_of_verdicts_ask_for_no_explanation(tiny_legion, checkpoint, tmp_path):
    for part in (tiny_legion.model, tiny_legion.processor):
        part.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text()) | {"detection_head_trained": True}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    photo = Image.new("RGB", (40, 30), (200, 40, 90))
    whole = load_verdicts(str(tmp_path), device="cpu")
    judge = load_judge(str(tmp_path), find_protocol("diffseg-classification"), device="cpu")
    for analyzer in (whole, judge):
        (found,) = analyzer.localizer.examine([photo])
        assert (found.explanation, found.phrases) == (None, None)
        assert found.score == pytest.approx(*tiny_legion.fake_probabilities([photo]), abs=1e-6)
    assert load_verdicts(str(checkpoint)).analyze(photo).probability_map is not None


def test_a_checkpoint_of_another_type_is_no_grounder(run, tmp_path, checkpoint):
    data = write_synthscars(tmp_path / "data")
    words = ("--data", data, "--protocol", "legion-synthscars", "--answers", tmp_path / "a.jsonl")
    status, _, err = run(*words, checkpoint)
    assert status == 2
    assert "has model type 'iclnet', which cannot be used here; expected legion" in err
    assert not (tmp_path / "a.jsonl").exists()
    with pytest.raises(ValueError, match="expected dtype"):
        load_scorer(str(checkpoint), dtype="half")
