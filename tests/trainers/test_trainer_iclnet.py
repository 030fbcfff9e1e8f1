import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from training_runs import assert_equal_weights, run_command_line, weights_of, write_recipe
from transformers import EvalPrediction

from forgescope.trainers.train_iclnet import build_trainer, train
from forgescope.trainers.trainer_iclnet import image_counts, pooled_metrics


def test_counts_equal_a_loop_and_skip_ignored_pixels():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 1, 5, 6, generator=generator)
    labels = torch.randint(0, 2, (3, 5, 6), generator=generator)
    labels[1, :2] = 255
    expected = np.zeros((3, 4), int)
    for image in range(3):
        for row in range(5):
            for column in range(6):
                label, called = (
                    labels[image, row, column].item(),
                    logits[image, 0, row, column].sigmoid().item() >= 0.6,
                )
                if label != 255:
                    expected[image, [[3, 1], [2, 0]][label][called]] += 1
    assert image_counts(logits, labels, 0.6, 255).tolist() == expected.tolist()


def test_pooled_metrics_equal_the_definitions():
    counts = np.array([[3, 1, 2, 10], [0, 4, 0, 12]])
    parts = np.array([[1.0, 0.5, 0.1], [3.0, 0.7, 0.3]])
    metrics = pooled_metrics(EvalPrediction(predictions=(counts, parts), label_ids=np.zeros(2)))
    assert metrics["precision"] == pytest.approx(3 / 8)
    assert metrics["recall"] == pytest.approx(3 / 5)
    assert metrics["f1"] == pytest.approx(6 / 13)
    assert metrics["iou"] == pytest.approx(3 / 10)
    assert metrics["loss_contrastive"] == pytest.approx(2.0)
    nothing = pooled_metrics(EvalPrediction(predictions=(np.array([[0, 0, 0, 9]]), parts[:1]), label_ids=np.zeros(1)))
    assert nothing["f1"] == nothing["precision"] == nothing["recall"] == nothing["iou"] == 0.0


def test_training_logs_every_part_and_trains_everything_but_the_frozen_stream(forgery_folder, tiny_recipe, tmp_path):
    trainer = build_trainer(str(forgery_folder), tiny_recipe, str(tmp_path))
    before = {name: weight.clone() for name, weight in trainer.model.state_dict().items()}
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert len(logs) == 6
    for entry in logs:
        total = entry["loss_contrastive"] + 4 * entry["loss_dice"] + 20 * entry["loss_focal"]
        assert entry["loss"] == pytest.approx(total, rel=1e-4)
    assert logs[-1]["loss"] < logs[0]["loss"]
    for name, parameter in trainer.model.named_parameters():
        changed = not torch.equal(parameter, before[name])
        # keys of the attention start with gradient zero: a constant added to all scores cannot matter
        assert changed != name.startswith("iclnet.frozen_encoder") or name.endswith("k_proj.bias"), name
    assert torch.equal(trainer.model.iclnet.high_pass.weight, before["iclnet.high_pass.weight"])


def test_evaluation_keeps_counts_only_and_equals_the_model(forgery_folder, tiny_recipe, tmp_path):
    trainer = build_trainer(str(forgery_folder), tiny_recipe, str(tmp_path))
    metrics = trainer.evaluate()
    batch = trainer.data_collator([trainer.eval_dataset[index] for index in range(7)])
    with torch.no_grad():
        outputs = trainer.model.eval()(**batch)
    tp, fp, fn, _ = image_counts(outputs.logits, batch["labels"], 0.5, 255).sum(dim=0).tolist()
    assert metrics["eval_precision"] == pytest.approx(tp / (tp + fp))
    assert metrics["eval_recall"] == pytest.approx(tp / (tp + fn))
    assert metrics["eval_f1"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert metrics["eval_loss_dice"] == pytest.approx(outputs.loss_dice.item(), abs=0.02)
    predictions = trainer.predict(trainer.eval_dataset).predictions
    assert predictions[0].shape == (7, 4)
    assert predictions[1].shape == (7, 3)


def test_switched_off_contrastive_loss_is_in_no_log(forgery_folder, tiny_recipe, tmp_path):
    recipe = replace(tiny_recipe, model=tiny_recipe.model | {"use_contrastive_loss": False})
    trainer = build_trainer(str(forgery_folder), recipe, str(tmp_path), max_steps=1)
    trainer.train()
    assert not any("loss_contrastive" in entry for entry in trainer.state.log_history)
    assert "eval_loss_contrastive" not in trainer.evaluate()


def test_resume_is_bit_exact(forgery_folder, tiny_recipe, tmp_path):
    whole, halves = str(tmp_path / "whole"), str(tmp_path / "halves")
    saving = {"save_strategy": "steps", "save_steps": 3}
    train(str(forgery_folder), tiny_recipe, whole, **saving)
    # 16 images in batches of 4: step 3 lies inside the first epoch, so the draws of a started epoch are resumed too
    build_trainer(str(forgery_folder), tiny_recipe, halves, **saving).train()
    import shutil

    shutil.rmtree(os.path.join(halves, "checkpoint-6"))
    train(str(forgery_folder), tiny_recipe, halves, resume=True, **saving)
    assert_equal_weights(weights_of(whole), weights_of(halves))
    saved = weights_of(halves)
    initial = build_trainer(str(forgery_folder), tiny_recipe, str(tmp_path / "other")).model.state_dict()
    frozen = [name for name in saved if name.startswith("iclnet.frozen_encoder")]
    assert frozen
    assert all(saved[name].shape == initial[name].shape for name in frozen)


def test_gradient_accumulation_equals_one_large_batch(forgery_folder, tiny_recipe, tmp_path):
    steps = {"max_steps": 2, "optim": "sgd", "save_strategy": "no"}
    train(str(forgery_folder), tiny_recipe, str(tmp_path / "one"), per_device_train_batch_size=8, **steps)
    halves = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    train(str(forgery_folder), tiny_recipe, str(tmp_path / "two"), **halves, **steps)
    assert_equal_weights(weights_of(tmp_path / "one"), weights_of(tmp_path / "two"), tolerance=1e-6)


def recipe_file(recipe, path, **training):
    return write_recipe(
        path,
        model=recipe.model,
        processor=recipe.processor,
        augmentation={"flip_probability": 0.5},
        training=recipe.training | training,
    )


def test_two_processes_equal_one(forgery_folder, tiny_recipe, tmp_path):
    steps = {"max_steps": 3, "optim": "sgd", "learning_rate": 0.01}
    one = recipe_file(tiny_recipe, tmp_path / "one.yaml", per_device_train_batch_size=8, **steps)
    two = recipe_file(tiny_recipe, tmp_path / "two.yaml", per_device_train_batch_size=4, **steps)
    common = ("--data", str(forgery_folder))
    for recipe, output, processes in ((one, tmp_path / "one", 1), (two, tmp_path / "two", 2)):
        run = run_command_line("iclnet", *common, "--recipe", recipe, "--output", str(output), processes=processes)
        assert run.returncode == 0, run.stderr[-2000:]
    assert_equal_weights(weights_of(tmp_path / "one"), weights_of(tmp_path / "two"), tolerance=2e-6)
    results = [json.loads((tmp_path / name / "eval_results.json").read_text()) for name in ("one", "two")]
    for key in ("eval_f1", "eval_iou", "eval_precision", "eval_recall"):
        assert results[0][key] == pytest.approx(results[1][key], abs=2e-3), key
    logs = [json.loads((tmp_path / name / "trainer_state.json").read_text())["log_history"] for name in ("one", "two")]
    for first, second in zip(*logs, strict=True):
        for part in ("loss_contrastive", "loss_dice", "loss_focal"):
            if part in first:
                assert first[part] == pytest.approx(second[part], abs=1e-4)


def test_a_saved_run_loads_with_its_image_processor(forgery_folder, tiny_recipe, tmp_path):
    from forgescope.modeling.modeling_iclnet import ICLNetForForgerySegmentation
    from forgescope.processing.image_processing_forgery import ForgeryImageProcessor

    train(str(forgery_folder), tiny_recipe, str(tmp_path), max_steps=1)
    model = ICLNetForForgerySegmentation.from_pretrained(tmp_path)
    assert_equal_weights(dict(model.state_dict()), weights_of(tmp_path))
    assert dict(ForgeryImageProcessor.from_pretrained(tmp_path).size) == {"height": 64, "width": 64}


def test_an_earlier_run_is_not_overwritten(forgery_folder, tiny_recipe, tmp_path):
    with pytest.raises(ValueError, match="nothing to resume"):
        train(str(forgery_folder), tiny_recipe, str(tmp_path), resume=True)
    train(str(forgery_folder), tiny_recipe, str(tmp_path), max_steps=1, save_strategy="steps", save_steps=1)
    with pytest.raises(ValueError, match="holds checkpoints of an earlier run; go on with --resume"):
        train(str(forgery_folder), tiny_recipe, str(tmp_path))


def test_command_line_errors_are_one_line(tmp_path):
    run = run_command_line("iclnet", "--data", str(tmp_path / "missing"), "--output", str(tmp_path / "out"))
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
    assert run.stderr.strip().splitlines()[-1].startswith("error: ")
