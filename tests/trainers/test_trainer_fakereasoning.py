"""FakeReasoning's trainer: what it logs, evaluates and saves, and that steps, resumes and processes are exact."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from fakereasoning_runs import tiny_recipe
from sklearn.metrics import roc_auc_score
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
from transformers import EvalPrediction, TrainingArguments

from forgescope.trainers.answer_folder import load_answer_folder
from forgescope.trainers.recipe import CHECKPOINTING
from forgescope.trainers.rows_fakereasoning import FakeReasoningDataConfig
from forgescope.trainers.train_fakereasoning import build_trainer, train
from forgescope.trainers.trainer_fakereasoning import OptimizerConfig, verdict_logits, verdict_metrics
from forgescope.trainers.training_run import one_gpu_a_process

STEPWISE = {"save_strategy": "steps", "save_steps": 3}
PLAIN_SGD = {"optim": "sgd", "learning_rate": 0.05, "max_grad_norm": 0.0}
LABELS = {"classification_search": "labels"}
TERMS = ("loss_image_to_text", "loss_text_to_image", "loss_image_to_image", "loss_text_to_text")


@pytest.fixture(scope="module")
def splits(answer_folder):
    return load_answer_folder(answer_folder)


@pytest.fixture
def recipe(fakereasoning_tokenizer):
    return tiny_recipe(fakereasoning_tokenizer, model=LABELS)


def test_training_logs_every_part_and_lowers_the_loss(splits, recipe, tmp_path):
    trainer = build_trainer(splits, recipe, str(tmp_path))
    trainer.train()
    logs = logs_of(trainer)
    assert len(logs) == 6
    for entry in logs:
        assert entry["loss"] == pytest.approx(entry["loss_lm"] + entry["loss_cpm"] + entry["loss_facl"], rel=1e-4)
        assert entry["loss_facl"] == pytest.approx(np.mean([entry[term] for term in TERMS]), rel=1e-4)
        assert entry["loss_cpm"] > 0
    assert logs[-1]["loss_lm"] < logs[0]["loss_lm"]


def test_losses_that_are_switched_off_are_in_no_log(splits, fakereasoning_tokenizer, tmp_path):
    recipe = tiny_recipe(fakereasoning_tokenizer, model={"contrastive_loss_weight": 0.0})
    trainer = build_trainer(splits, recipe, str(tmp_path), max_steps=1)
    trainer.train()
    assert "loss_cpm" in logs_of(trainer)[0]
    assert not any(name in entry for entry in trainer.state.log_history for name in ("loss_facl", *TERMS))
    assert not any(name in trainer.evaluate() for name in ("eval_loss_facl", "eval_loss_text_to_text"))


def test_evaluation_equals_the_models_own_probabilities(splits, recipe, tmp_path):
    trainer = build_trainer(splits, recipe, str(tmp_path))
    metrics = trainer.evaluate()
    batch = trainer.data_collator([trainer.eval_dataset[index] for index in range(4)])
    with torch.no_grad():
        outputs = trainer.model.eval()(**batch)
    fake, labels = outputs.fake_probability.numpy(), batch["forgery_labels"].numpy()
    assert metrics["eval_accuracy"] == pytest.approx(((fake >= 0.5) == labels).mean())
    assert metrics["eval_auc"] == pytest.approx(roc_auc_score(labels, fake))
    assert metrics["eval_conclusion_found"] == 0.0
    for name in ("loss", "loss_lm", "loss_cpm", "loss_facl", *TERMS):
        assert metrics[f"eval_{name}"] == pytest.approx(outputs[name].item(), rel=1e-5), name
    kept = trainer.predict(trainer.eval_dataset).predictions
    assert [part.shape for part in kept] == [(4,), (4,), (4, 7)]
    odds = trainer.model.probability_mapper.log_temperature.exp().item() * np.log(fake / (1 - fake))
    np.testing.assert_allclose(kept[0], odds, rtol=1e-3, atol=1e-4)


def test_the_verdict_is_the_last_word_real_or_fake():
    logits = torch.arange(2 * 6 * 9, dtype=torch.float32).reshape(2, 6, 9)
    logits[0, 3, 7] = 500.0
    labels = torch.tensor([[-100, -100, 7, 4, 7, 1], [-100, -100, -100, 4, 5, 1]])
    scores = verdict_logits(logits, labels, real_token_id=3, fake_token_id=7)
    assert scores[0] == 500.0 - logits[0, 3, 3]
    assert torch.isnan(scores[1])


def test_metrics_leave_out_what_does_not_exist():
    parts = np.full((3, 7), np.nan)
    parts[:, 0] = [1.0, 2.0, 3.0]
    predictions = (np.array([0.5, -1.0, np.nan]), np.array([1.0, 0.0, 0.0]), parts)
    metrics = verdict_metrics(EvalPrediction(predictions=predictions, label_ids=np.array([1, 1, 0])))
    assert metrics == pytest.approx({"conclusion_found": 1 / 3, "accuracy": 0.5, "loss_lm": 2.0})


@pytest.mark.parametrize("target", ["reasoning", "conclusion"])
def test_other_targets_train_and_are_evaluated(splits, recipe, tmp_path, target):
    recipe = replace(recipe, data=FakeReasoningDataConfig(target=target))
    trainer = build_trainer(splits, recipe, str(tmp_path), max_steps=1)
    trainer.train()
    assert {logs_of(trainer)[0][name] for name in ("loss_cpm", "loss_facl", *TERMS)} == {0.0}
    assert 0 <= trainer.evaluate()["eval_accuracy"] <= 1


def test_projectors_may_have_a_learning_rate_of_their_own(splits, recipe, tmp_path):
    recipe = replace(recipe, optimizer=OptimizerConfig(projector_learning_rate=0.25))
    trainer = build_trainer(splits, recipe, str(tmp_path), **PLAIN_SGD, max_steps=1)
    before = trained_weights(trainer)
    gradients = {}
    trainer.add_callback(Watcher(gradients))
    trainer.train()
    for name, weight in trained_weights(trainer).items():
        rate = 0.25 if "multi_modal_projector" in name else 0.05
        torch.testing.assert_close(weight, before[name] - rate * gradients[name])


def test_accumulation_is_the_mean_of_the_batches(splits, recipe, tmp_path):
    settings = PLAIN_SGD | {"max_steps": 1, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 2}
    trainer = build_trainer(splits, recipe, str(tmp_path / "a"), **settings)
    batches, gradients = [], {}
    collate = trainer.data_collator
    trainer.data_collator = lambda rows: (batches.append(collate(rows)), batches[-1])[1]
    trainer.add_callback(Watcher(gradients))
    trainer.train()
    assert [len(batch["labels"]) for batch in batches[:2]] == [1, 1]

    twin = build_trainer(splits, recipe, str(tmp_path / "b"), **settings).model.train()
    losses = []
    for batch in batches[:2]:
        loss = twin(**batch).loss
        losses.append(loss.item())
        loss.backward()
    assert logs_of(trainer)[0]["loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    for name, parameter in twin.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(gradients[name], parameter.grad / 2, rtol=1e-4, atol=1e-6)
    assert_equal_queues(trainer.model.forgery_contrast.queue(), twin.forgery_contrast.queue())


def assert_equal_queues(first, second, tolerance=0.0):
    for one, two in zip(first, second, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=tolerance)


@pytest.mark.parametrize("tuning", [{}, {"lora_rank": None}, {"projector": False}])
def test_activation_checkpointing_changes_nothing(splits, fakereasoning_tokenizer, tmp_path, tuning):
    recipe = tiny_recipe(fakereasoning_tokenizer, model=LABELS, tuning=tuning | {"lora_dropout": 0.1})
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


@pytest.mark.parametrize("sampling", ["random", "group_by_length"])
def test_a_run_that_was_killed_resumes_bit_exactly(splits, fakereasoning_tokenizer, tmp_path, sampling):
    # dropout is on: the states of the random generators are resumed too; of 8 images in batches of 3 step 3 ends an
    # epoch, whose last batch is smaller
    recipe = tiny_recipe(fakereasoning_tokenizer, model=LABELS, tuning={"lora_dropout": 0.1})
    settings = STEPWISE | {"per_device_train_batch_size": 3, "save_steps": 2, "train_sampling_strategy": sampling}
    whole, halves = str(tmp_path / "whole"), str(tmp_path / "halves")
    train(splits, recipe, whole, **settings)
    trainer = build_trainer(splits, recipe, halves, **settings)
    trainer.add_callback(Interruption(3))
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert sorted(os.listdir(halves)) == ["checkpoint-2"]
    assert not os.path.exists(os.path.join(halves, "checkpoint-2", "model.safetensors"))
    train(splits, recipe, halves, resume=True, **settings)
    weights = weights_of(whole)
    assert_equal_weights(weights, weights_of(halves))
    assert weights["forgery_contrast.queue_filled"] == 8


def test_without_saved_queues_a_run_resumes_with_empty_ones(splits, recipe, tmp_path):
    recipe = replace(recipe, model=recipe.model | {"save_contrastive_queue": False})
    settings = STEPWISE | {"max_steps": 3, "per_device_train_batch_size": 2}
    first = build_trainer(splits, recipe, str(tmp_path), **settings)
    first.train()
    assert len(first.model.forgery_contrast.queue().labels) == 6
    second = build_trainer(splits, recipe, str(tmp_path), **settings | {"max_steps": 4})
    second.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert len(second.model.forgery_contrast.queue().labels) == 2


def test_several_gpus_in_one_process_are_refused(tmp_path):
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    one_gpu_a_process(arguments, "fakereasoning")
    arguments._n_gpu = 2  # as where there are two
    with pytest.raises(ValueError, match="one process sees 2 GPUs: start one a GPU, torchrun --nproc_per_node 2 -m"):
        one_gpu_a_process(arguments, "fakereasoning")


def recipe_file(recipe, path, **training):
    """A recipe as YAML."""
    return write_recipe(
        path,
        model=recipe.model,
        start={"tokenizer": recipe.start.tokenizer},
        tuning={"lora_rank": recipe.tuning.lora_rank, "lora_alpha": recipe.tuning.lora_alpha, "save": "merged"},
        training=recipe.training | training,
    )


def test_two_processes_equal_one(answer_folder, recipe, tmp_path):
    # all answers have as many tokens, and the conclusion is sought in the labels: means over batches are comparable
    steps = PLAIN_SGD | {"max_steps": 3, "ddp_find_unused_parameters": False, "ddp_broadcast_buffers": False}
    train(load_answer_folder(answer_folder), recipe, str(tmp_path / "one"), per_device_train_batch_size=4, **steps)
    path = recipe_file(recipe, tmp_path / "two.yaml", per_device_train_batch_size=2, **steps)
    arguments = ("--data", str(answer_folder), "--recipe", path, "--output", str(tmp_path / "two"))
    run = run_command_line("fakereasoning", *arguments, processes=2)
    assert run.returncode == 0, run.stderr[-2000:]
    first, second = weights_of(tmp_path / "one"), weights_of(tmp_path / "two")
    assert_equal_weights(first, second, tolerance=2e-5)
    assert first["forgery_contrast.queue_filled"] == 8
    assert first["forgery_contrast.image_queue"].abs().sum() > 0
    logs = [json.loads((tmp_path / name / "trainer_state.json").read_text())["log_history"] for name in ("one", "two")]
    for entries in zip(*logs, strict=True):
        for part in ("loss", "loss_lm", "loss_cpm", "loss_facl", *TERMS):
            if part in entries[0]:
                assert entries[0][part] == pytest.approx(entries[1][part], abs=1e-4), part
    results = [json.loads((tmp_path / name / "eval_results.json").read_text()) for name in ("one", "two")]
    for key in ("eval_accuracy", "eval_auc", "eval_loss_lm"):
        assert results[0][key] == pytest.approx(results[1][key], abs=1e-4), key


@pytest.mark.slow
def test_two_processes_resume_bit_exactly(answer_folder, recipe, tmp_path):
    path = recipe_file(recipe, tmp_path / "recipe.yaml", per_device_train_batch_size=2, **STEPWISE)
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    common = ("fakereasoning", "--data", str(answer_folder), "--recipe", path, "--set", "tuning.lora_dropout=0.1")
    assert run_command_line(*common, "--output", str(whole), processes=2).returncode == 0
    shutil.copytree(whole / "checkpoint-3", halves / "checkpoint-3")
    assert run_command_line(*common, "--output", str(halves), "--resume", processes=2).returncode == 0
    assert_equal_weights(weights_of(whole), weights_of(halves))


def test_the_command_line_trains_an_ablation_on_a_corpus(answer_folder, recipe, tmp_path, monkeypatch, capsys):
    corpus = tmp_path / "mmfr"
    conversations = []
    for line in (answer_folder / "train" / "metadata.jsonl").read_text().splitlines():
        row = json.loads(line)
        name = f"made/{'1_fake' if row['label'] == 'fake' else '0_real'}/{row['file_name']}"
        (corpus / name).parent.mkdir(parents=True, exist_ok=True)
        (corpus / name).write_bytes((answer_folder / "train" / row["file_name"]).read_bytes())
        turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": row["answer"]}]
        conversations.append({"image": name, "conversations": turns})
    (corpus / "forgery_reasoning_cot.json").write_text(json.dumps(conversations))
    path = recipe_file(recipe, tmp_path / "tiny.yaml", max_steps=1)
    arguments = ("--data", str(corpus), "--corpus", "mmfr", "--recipe", path, "--output", str(tmp_path / "out"))
    ablation = ("--ablation", "table5-lm", "--set", "data.validation_rows=3")
    assert command_line(monkeypatch, "fakereasoning", *arguments, *ablation) == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.startswith("validation (verdicts on given answers): accuracy ")
    assert not any("forgery_contrast" in name for name in weights_of(tmp_path / "out"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "missing"), "missing is not a folder: expected one with metadata.jsonl"),
        (("--data", "missing", "--ablation", "table9"), "no ablation 'table9': expected one of table4-without-reas"),
        (("--data", "missing", "--set", "tuning.lora_rank=0"), "tuning needs a lora_rank of at least 1 (or null)"),
        (("--data", "missing", "--base", "nowhere/at/all"), "unknown checkpoint 'nowhere/at/all': no such folder"),
        (("--data", "missing", "--corpus", "mmfr"), "missing does not exist"),
    ],
)
def test_command_line_errors_are_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    assert command_line(monkeypatch, "fakereasoning", *arguments, "--output", str(tmp_path / "out")) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
