"""LEGION's stage 1: what it logs, evaluates and saves, and that steps, resumes and processes are exact."""

import json
import os
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from legion_runs import RECORDS, load_synthscars, tiny_recipe, write_synthscars
from training_runs import (
    Interruption,
    Watcher,
    assert_equal_weights,
    command_line,
    logs_of,
    run_command_line,
    trained_weights,
    weights_of,
    write_recipe,
)
from transformers import EvalPrediction

from forgescope.trainers.recipe import CHECKPOINTING
from forgescope.trainers.train_legion import build_trainer, train
from forgescope.trainers.trainer_legion import grounding_metrics

PLAIN_SGD = {"optim": "sgd", "learning_rate": 0.05, "max_grad_norm": 0.0}
UNTAUGHT = re.compile(r"iou_prediction_head|output_hypernetworks_mlps\.[123]|k_proj\.bias")


@pytest.fixture(scope="module")
def splits(legion_folder):
    rows = load_synthscars(legion_folder)
    return {"train": rows, "validation": rows.select(range(3))}


@pytest.fixture
def recipe(legion_tokenizer):
    return tiny_recipe(legion_tokenizer)


def test_training_logs_every_part_and_lowers_the_loss(splits, recipe, tmp_path):
    trainer = build_trainer(splits, recipe, str(tmp_path))
    before = trained_weights(trainer)
    trainer.train()
    logs = logs_of(trainer)
    assert len(logs) == 6
    for entry in logs:
        total = entry["loss_lm"] + 0.4 * entry["loss_mask_bce"] + 0.2 * entry["loss_mask_dice"]
        assert entry["loss"] == pytest.approx(total, rel=1e-4)
    for part in ("loss_lm", "loss_mask_bce"):
        assert logs[-1][part] < logs[0][part]
    fixed = {name for name, weight in trained_weights(trainer).items() if torch.equal(weight, before[name])}
    # of the decoder's four masks one is taken and none is scored; a constant added to all keys cannot matter
    assert not [name for name in fixed if not UNTAUGHT.search(name)]


def test_evaluation_equals_masks_counted_by_hand(splits, recipe, tmp_path):
    trainer = build_trainer(splits, recipe, str(tmp_path))
    metrics = trainer.evaluate()
    batch = trainer.data_collator([trainer.eval_dataset[index] for index in range(3)])
    with torch.no_grad():
        outputs = trainer.model.eval()(**batch)
    forged, mean, phrases = [], [], []
    for logits, masks in zip(outputs.mask_logits, batch["masks"], strict=True):
        called, given = (logits >= 0).numpy(), masks.numpy() > 0
        forged.append(iou(called.any(axis=0), given.any(axis=0)))
        mean.append((forged[-1] + iou(~called.any(axis=0), ~given.any(axis=0))) / 2)
        phrases.append(np.mean([iou(one, two) for one, two in zip(called, given, strict=True)]))
    assert 0 < metrics["eval_mask_iou"] < 1
    # batches of another size may move a logit across 0
    assert metrics["eval_mask_iou"] == pytest.approx(np.mean(forged), abs=1e-3)
    assert metrics["eval_mask_mean_iou"] == pytest.approx(np.mean(mean), abs=1e-3)
    assert metrics["eval_phrase_iou"] == pytest.approx(np.mean(phrases), abs=1e-3)
    for name in ("loss", "loss_lm", "loss_mask_bce", "loss_mask_dice"):
        assert metrics[f"eval_{name}"] == pytest.approx(outputs[name].item(), rel=1e-4), name
    kept = trainer.predict(trainer.eval_dataset)
    assert [part.shape for part in kept.predictions] == [(3, 4), (3,), (3, 3)]
    assert kept.label_ids.tolist() == [2, 1, 2]


def iou(called, given):
    return (called & given).sum() / (called | given).sum()


def test_masks_without_a_pixel_count_one_where_none_is_predicted():
    counts = np.array([[6, 2, 2, 6], [0, 0, 0, 16]])
    prediction = EvalPrediction(predictions=(counts, np.array([0.5, 1.0]), np.ones((2, 3))), label_ids=np.ones(2))
    metrics = grounding_metrics(prediction)
    parts = {"loss_lm": 1, "loss_mask_bce": 1, "loss_mask_dice": 1}
    assert metrics == pytest.approx({"mask_iou": 0.8, "mask_mean_iou": 0.8, "phrase_iou": 0.75} | parts)


def test_phrases_that_max_length_cuts_off_have_no_mask(splits, recipe, tmp_path):
    trainer = build_trainer(splits, recipe, str(tmp_path), max_steps=1)
    ids = trainer.data_collator([trainer.train_dataset[0]])["input_ids"][0]
    first = int((ids == trainer.processing_class.seg_token_id).nonzero()[0])
    for length, kept in ((first + 1, 1), (first, 0)):
        short = replace(recipe, processor={"max_length": length})
        trainer = build_trainer(splits, short, str(tmp_path), max_steps=1)
        batch = trainer.data_collator([trainer.train_dataset[0]])
        assert batch["masks"][0].shape == (kept, 64, 64)
        trainer.train()
        metrics = trainer.evaluate(trainer.eval_dataset)
        assert 0 <= metrics["eval_phrase_iou"] <= 1


def test_accumulation_is_the_mean_of_the_batches(splits, recipe, tmp_path):
    settings = PLAIN_SGD | {"max_steps": 1, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 2}
    trainer = build_trainer(splits, recipe, str(tmp_path / "a"), **settings)
    batches, gradients = [], {}
    collate = trainer.data_collator
    trainer.data_collator = lambda rows: (batches.append(collate(rows)), batches[-1])[1]
    trainer.add_callback(Watcher(gradients))
    trainer.train()

    twin = build_trainer(splits, recipe, str(tmp_path / "b"), **settings).model.train()
    losses = []
    for batch in batches[:2]:
        loss = twin(**batch).loss
        losses.append(loss.item())
        loss.backward()
    assert logs_of(trainer)[0]["loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    expected = {name: one.grad / 2 for name, one in twin.named_parameters() if one.grad is not None}
    assert gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-4, atol=1e-6)


def test_activation_checkpointing_changes_nothing(splits, legion_tokenizer, tmp_path):
    recipe = tiny_recipe(legion_tokenizer, tuning={"lora_dropout": 0.1})
    results, calls = [], []
    for checkpointing in (False, True):
        settings = PLAIN_SGD | {"max_steps": 1, CHECKPOINTING: checkpointing}
        trainer = build_trainer(splits, recipe, str(tmp_path / str(checkpointing)), **settings)
        calls.append([])
        layer = trainer.model.base_model.model.model.language_model.layers[0]
        # the first part of a layer: computing it anew stops at the last value that is needed
        layer.input_layernorm.register_forward_hook(lambda *_, seen=calls[-1]: seen.append(1))
        trainer.train()
        results.append(trained_weights(trainer))
    assert [len(seen) for seen in calls] == [1, 2]
    assert_equal_weights(*results, tolerance=1e-6)


def test_a_run_that_was_killed_resumes_bit_exactly(splits, legion_tokenizer, tmp_path):
    # dropout is on: the states of the random generators are resumed too; of 6 images in batches of 4 the second step
    # of an epoch is smaller, and step 3 lies inside the second
    recipe = tiny_recipe(legion_tokenizer, tuning={"lora_dropout": 0.1})
    settings = {"save_strategy": "steps", "save_steps": 3}
    whole, halves = str(tmp_path / "whole"), str(tmp_path / "halves")
    train(splits, recipe, whole, **settings)
    trainer = build_trainer(splits, recipe, halves, **settings)
    trainer.add_callback(Interruption(4))
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert sorted(os.listdir(halves)) == ["checkpoint-3"]
    assert not os.path.exists(os.path.join(halves, "checkpoint-3", "model.safetensors"))
    train(splits, recipe, halves, resume=True, **settings)
    assert_equal_weights(weights_of(whole), weights_of(halves))


def recipe_file(recipe, path, **training):
    """A recipe as YAML."""
    return write_recipe(
        path,
        model=recipe.model,
        start={"tokenizer": recipe.start.tokenizer},
        data={"validation_rows": recipe.data.validation_rows},
        tuning={"lora_rank": recipe.tuning.lora_rank, "lora_dropout": 0.0, "save": "merged"},
        training=recipe.training | training,
    )


def test_two_processes_equal_one(recipe, tmp_path):
    # all texts have as many tokens and masks: means over batches are comparable
    write_synthscars(tmp_path / "data", 10, records=RECORDS[:1])
    rows = {"train": load_synthscars(tmp_path / "data")}
    steps = PLAIN_SGD | {"max_steps": 3, "ddp_find_unused_parameters": True}
    train(rows, recipe, str(tmp_path / "one"), per_device_train_batch_size=4, **steps)
    path = recipe_file(recipe, tmp_path / "two.yaml", per_device_train_batch_size=2, **steps)
    arguments = ("--data", str(tmp_path / "data"), "--recipe", path, "--output", str(tmp_path / "two"))
    run = run_command_line("legion", *arguments, processes=2)
    assert run.returncode == 0, run.stderr[-2000:]
    assert_equal_weights(weights_of(tmp_path / "one"), weights_of(tmp_path / "two"), tolerance=2e-5)
    logs = [json.loads((tmp_path / name / "trainer_state.json").read_text())["log_history"] for name in ("one", "two")]
    for entries in zip(*logs, strict=True):
        for part in ("loss", "loss_lm", "loss_mask_bce", "loss_mask_dice"):
            if part in entries[0]:
                assert entries[0][part] == pytest.approx(entries[1][part], abs=1e-4), part
    results = [json.loads((tmp_path / name / "eval_results.json").read_text()) for name in ("one", "two")]
    for key in ("eval_mask_iou", "eval_mask_mean_iou", "eval_phrase_iou", "eval_loss_lm"):
        assert results[0][key] == pytest.approx(results[1][key], abs=1e-3), key


def test_the_command_line_holds_rows_out(legion_folder, recipe, tmp_path, monkeypatch, capsys):
    path = recipe_file(recipe, tmp_path / "tiny.yaml", max_steps=1)
    arguments = ("--data", str(legion_folder), "--recipe", path, "--output", str(tmp_path / "out"))
    assert command_line(monkeypatch, "legion", *arguments, "--set", "data.longest_edge=32") == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.startswith("validation (masks on given texts, means over images): loss ")
    assert "mask_iou 0." in last
    assert (tmp_path / "out" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "missing"), "missing does not exist: expected SynthScars.zip or the folders"),
        (("--data", "missing", "--set", "tuning.lora_rank=0"), "tuning needs a lora_rank of at least 1 (or null)"),
        (("--data", "missing", "--base", "nowhere/at/all"), "unknown checkpoint 'nowhere/at/all': no such folder"),
        (("--data", ".", "--rasterizer", "none"), "unknown rasterizer 'none'"),
    ],
)
def test_command_line_errors_are_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    assert command_line(monkeypatch, "legion", *arguments, "--output", str(tmp_path / "out")) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last


def test_a_damaged_image_is_named(legion_folder, recipe, tmp_path):
    shutil.copytree(legion_folder, tmp_path / "data")
    file = tmp_path / "data" / "train" / "images" / "1.png"
    file.write_bytes(file.read_bytes()[:2000])  # its header is whole, so the corpus takes it
    splits = {"train": load_synthscars(tmp_path / "data")}
    with pytest.raises(ValueError, match=r"image 1 cannot be read: .*leave it out"):
        train(splits, recipe, str(tmp_path / "out"), max_steps=3)
