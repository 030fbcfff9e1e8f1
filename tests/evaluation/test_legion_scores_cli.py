"""Verdicts by family of generators, and a tiny LEGION that is asked through its processor."""

import json
import re
import sys

import numpy as np
import pytest
import torch
from artifact_corpora import write_synthscars, write_universal
from legion_processor import legion_processor
from PIL import Image

from forgescope.cli import main
from forgescope.evaluation.perturbations import parse_perturbations
from forgescope.evaluation.protocols import find_protocol
from forgescope.evaluation.protocols_legion import FAMILIES, GENERATORS
from forgescope.grounded_data import draw_grounded_images
from forgescope.grounded_evaluation import evaluate_grounded
from forgescope.grounded_model import GroundedModel, load_scorer
from forgescope.image_scores import evaluate_families, read_scores, score_key
from forgescope.modeling.configuration_legion import LegionConfig
from forgescope.modeling.modeling_legion import LegionForGroundedExplanation
from forgescope.processing.grounded_text import parse_grounded_text
from forgescope.protocol_data import draw_test_images

PER_CLASS = 2
# real images of both shared folders, of the other generators, and fakes
IMAGES = 2 * PER_CLASS + 11 * PER_CLASS + 19 * PER_CLASS


@pytest.fixture(scope="module")
def universal(tmp_path_factory):
    return write_universal(tmp_path_factory.mktemp("universal"), FAMILIES, PER_CLASS)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line in this process: exit status, standard output, standard error."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["forgescope", "evaluate", *(str(word) for word in words)])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return exit_.value.code, " ".join(captured.out.split()), captured.err

    return call


class Brightness:
    """Calls bright images fake."""

    def __init__(self):
        self.asked = 0

    def __call__(self, photos):
        self.asked += len(photos)
        return [float(np.asarray(photo).mean()) / 255 for photo in photos]


def scored(universal, file, scorer, **changes):
    protocol = find_protocol("legion-detection")
    images = draw_test_images(protocol, universal, **changes)
    return evaluate_families(images, protocol, file, scorer, model="brightness", resamples=0)


def accuracies(run):
    return {row.source: row for row in run.rows if row.metric == "image_accuracy"}


def test_families_beside_the_paper_and_shared_photographs_asked_once(universal, tmp_path, monkeypatch):
    monkeypatch.setattr("forgescope.image_scores.ASKED_TOGETHER", 7)
    scorer = Brightness()
    whole = scored(universal, tmp_path / "whole.jsonl", scorer)
    assert scorer.asked == len((tmp_path / "whole.jsonl").read_text().splitlines()) == IMAGES
    found = accuracies(whole)
    assert {found[name].value for name in (*FAMILIES, *GENERATORS, "average")} == {1.0}
    assert (found["Diffusion"].paper_value, found["Diffusion"].n) == (0.831, 8 * 2 * PER_CLASS)
    lines = (tmp_path / "whole.jsonl").read_bytes().splitlines(keepends=True)
    # killed in the middle of a line
    (tmp_path / "half.jsonl").write_bytes(b"".join(lines[:20]) + lines[20][:10])
    again = Brightness()
    assert scored(universal, tmp_path / "half.jsonl", again).rows == whole.rows
    assert again.asked == IMAGES - 20
    finished = Brightness()
    assert scored(universal, tmp_path / "half.jsonl", finished).rows == whole.rows
    assert finished.asked == 0
    with pytest.raises(ValueError, match="line 1 of .* is of the model 'brightness', this run of 'other': choose"):
        read_scores(tmp_path / "half.jsonl", model="other")


def test_scores_of_another_system(run, universal, tmp_path):
    """CRN is called fake throughout, and SAN has no scores; paths begin elsewhere."""
    lines = []
    for file in sorted(universal.rglob("*.png")):
        own = file.relative_to(universal / "test").as_posix()
        if not own.startswith("san/"):
            score = 0.9 if "1_fake" in own or own.startswith("crn/") else 0.1
            lines.append({"path": f"C:\\sets\\{own}".replace("/", "\\"), "fake_probability": score})
    answers = tmp_path / "other.jsonl"
    answers.write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ("--protocol", "legion-detection", "--data", universal, "--answers", answers, "--resamples", 0)
    status, out, err = run(*words, "--json", tmp_path / "rows.json", "--plot", tmp_path / "plots")
    assert status == 1
    assert "skipped test/san/0_real/0.png: no score of it" in err
    rows = json.loads((tmp_path / "rows.json").read_text())
    found = {row["source"]: row for row in rows if row["metric"] == "image_accuracy"}
    assert (found["CRN"]["value"], found["IMLE"]["value"], found["GANs"]["paper_value"]) == (0.5, 1, 0.9701)
    assert not {"SAN", "san", "average"} & set(found)
    assert "not measured: san" in out
    assert "LEGION, Table 5" in out
    assert Image.open(tmp_path / "plots/chart.png").width > 600


def test_images_that_fail_are_named(universal, tmp_path):
    def failing(photos):
        raise RuntimeError("no memory")

    with pytest.raises(ValueError, match="legion-detection needs fake and real images: none of"):
        scored(universal, tmp_path / "a.jsonl", failing)
    nonsense = scored(universal, tmp_path / "b.jsonl", lambda photos: [2.0, *[0.5] * (len(photos) - 1)])
    reasons = {one.reason for one in nonsense.results[0].skipped}
    assert reasons == {"the model gave no score from 0 to 1 (2.0)"}


def test_a_smaller_draw(universal, tmp_path):
    scorer = Brightness()
    found = accuracies(scored(universal, tmp_path / "a.jsonl", scorer, per_class=1))
    assert (found["GANs"].n, found["average"].n) == (12, 38)
    assert scorer.asked == 19 + 11 + 2


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/data/test/progan/cat/1_fake/1.png", "progan/cat/1_fake/1.png"),
        ("diffusion_datasets/laion/0_real/1.png", "laion/0_real/1.png"),
        ("x\\CRN\\1_fake\\a.png", "CRN/1_fake/a.png"),
        ("a/b.png", "a/b.png"),
    ],
)
def test_keys_of_paths(path, key):
    assert score_key(path) == key


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": "a"}', "line 1 of FILE must have id (or path) and fake_probability from 0 to 1, got {'id': 'a'}"),
        ('{"id": "a", "fake_probability": 1.5}', "fake_probability from 0 to 1"),
        ('{"id": "a", "fake_probability": true}', "fake_probability from 0 to 1"),
        (
            '{"id": "a", "fake_probability": 1}\n{"path": "a", "fake_probability": 0}',
            "line 2 of FILE: a has two scores",
        ),
    ],
)
def test_wrong_files_of_scores(tmp_path, text, message):
    file = tmp_path / "a.jsonl"
    file.write_text(text)
    with pytest.raises(ValueError, match=re.escape(message.replace("FILE", str(file)))):
        read_scores(file)


def test_wrong_usage_of_detection(run, universal, checkpoint):
    words = ("--data", universal, "--protocol", "legion-detection")
    for more, message in (
        ((), "MODEL is missing: name a checkpoint, or --answers FILE"),
        (("x",), "give --answers FILE or --json FILE"),
        (("--answers", "no.jsonl"), "no file no.jsonl: expected JSON lines with id (or path) and fake_probability"),
        ((str(checkpoint), "--answers", "a.jsonl"), "does not tell fake from real images: expected a classifier"),
    ):
        status, _, err = run(*words, *more)
        assert (status, message in err) == (2, True), err


@pytest.fixture(scope="module")
def tiny_legion():
    """LEGION of a few units, that writes tags and little else, with Llama's tokenizer."""
    torch.manual_seed(1)
    sizes = {"image_size": 64, "patch_size": 16}
    config = LegionConfig(
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
        },
        text_config={
            "model_type": "llama",
            "vocab_size": 32007,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "pad_token_id": 0,
        },
        grounding_config={
            "vision_config": {
                **sizes,
                "hidden_size": 16,
                "output_channels": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "global_attn_indexes": (0,),
                "window_size": 2,
                "num_pos_feats": 8,
                "mlp_dim": 16,
            },
            "prompt_encoder_config": {**sizes, "hidden_size": 16},
            "mask_decoder_config": {
                "hidden_size": 16,
                "mlp_dim": 16,
                "num_attention_heads": 2,
                "iou_head_hidden_dim": 16,
                "layer_norm_eps": 1e-5,
            },
        },
        image_token_id=32007,
        seg_token_id=32004,
        phrase_start_token_id=32005,
        phrase_end_token_id=32006,
        detection_hidden_size=8,
    )
    model = LegionForGroundedExplanation(config).eval()
    processor = legion_processor()
    tags = [config.phrase_start_token_id, config.phrase_end_token_id, config.seg_token_id]
    with torch.no_grad():
        model.lm_head.weight.zero_()
        model.lm_head.weight[tags] = torch.randn(len(tags), 16)
    return GroundedModel(model, processor, max_new_tokens=6)


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
        threshold=tiny_legion.threshold,
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
    found = scored(universal, tmp_path / "a.jsonl", tiny_legion.fake_probabilities, per_class=1)
    assert accuracies(found)["GANs"].paper_value == 0.9701


def test_a_checkpoint_of_another_type_is_no_grounder(run, tmp_path, checkpoint):
    data = write_synthscars(tmp_path / "data")
    words = ("--data", data, "--protocol", "legion-synthscars", "--answers", tmp_path / "a.jsonl")
    status, _, err = run(*words, checkpoint)
    assert status == 2
    assert "has model type 'iclnet', which cannot be used here; expected legion" in err
    assert not (tmp_path / "a.jsonl").exists()
    with pytest.raises(ValueError, match="expected dtype"):
        load_scorer(str(checkpoint), dtype="half")
