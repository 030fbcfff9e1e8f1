import json
import os
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from training_runs import (
    Interruption,
    assert_equal_weights,
    command_line,
    logs_of,
    run_command_line,
    weights_of,
    write_recipe,
)
from transformers import EvalPrediction, SegformerConfig, SegformerModel

from forgescope.trainers.recipe import available_ablations
from forgescope.trainers.train_gamma import EarlyStopping, build_model, build_trainer, train
from forgescope.trainers.trainer_gamma import detection_metrics
from forgescope.trainers.training_run import load_splits

STEPWISE = {"save_strategy": "steps", "save_steps": 3}
EVALUATED = {
    "eval_strategy": "steps",
    "eval_steps": 1,
    "save_strategy": "steps",
    "save_steps": 1,
    "metric_for_best_model": "accuracy",
    "greater_is_better": True,
}


@pytest.fixture(scope="module")
def splits(gamma_folder):
    return load_splits(gamma_folder)


def test_training_logs_every_part_and_lowers_the_loss(splits, tiny_gamma_recipe, tmp_path):
    trainer = build_trainer(splits, tiny_gamma_recipe, str(tmp_path))
    before = {name: weight.clone() for name, weight in trainer.model.state_dict().items()}
    trainer.train()
    logs = logs_of(trainer)
    assert len(logs) == 6
    for entry in logs:
        total = 2 * (entry["loss_classification"] + entry["loss_ai"]) + entry["loss_manipulation"]
        assert entry["loss"] == pytest.approx(total, rel=1e-4)
    assert logs[-1]["loss"] < logs[0]["loss"]
    changed = {
        name for name, parameter in trainer.model.named_parameters() if not torch.equal(parameter, before[name])
    }
    # keys of an attention start with gradient zero: a constant added to all scores cannot matter
    fixed = set(dict(trainer.model.named_parameters())) - changed
    assert all(name.endswith("k_proj.bias") for name in fixed), fixed


def test_an_epoch_is_a_subset_of_whole_batches(splits, tiny_gamma_recipe, tmp_path):
    recipe = replace(tiny_gamma_recipe, data=replace(tiny_gamma_recipe.data, epoch_fraction=0.6))
    trainer = build_trainer(splits, recipe, str(tmp_path), max_steps=-1, num_train_epochs=3)
    seen = []
    collate = trainer.data_collator
    trainer.data_collator = lambda rows: (seen.append(len(rows)), collate(rows))[1]
    trainer.train()
    assert seen == [4] * 6  # 16 images, 0.6 of them are 10, two batches an epoch
    assert trainer.state.epoch == 3


def test_evaluation_equals_the_model_on_central_windows(splits, tiny_gamma_recipe, tmp_path):
    trainer = build_trainer(splits, tiny_gamma_recipe, str(tmp_path))
    metrics = trainer.evaluate()
    batch = trainer.data_collator([trainer.eval_dataset[index] for index in range(7)])
    with torch.no_grad():
        outputs = trainer.model.eval()(**batch)
    labels = batch["labels"].numpy()
    fake = outputs.logits.softmax(dim=-1)[:, 1].numpy()
    assert metrics["eval_accuracy"] == pytest.approx(((fake >= 0.5) == labels).mean())
    assert metrics["eval_auc"] == pytest.approx(roc_auc_score(labels, fake))
    for head in ("manipulation", "ai"):
        logits = F.interpolate(outputs[f"{head}_logits"], size=(64, 64), mode="bilinear")[:, 0]
        mask = batch[f"{head}_mask"]
        called, forged = (logits >= 0)[mask != 255], (mask == 1)[mask != 255]
        both, either = (called & forged).sum().item(), (called | forged).sum().item()
        # batches of another size may move a logit across 0
        assert metrics[f"eval_{head}_iou"] == pytest.approx(both / either, abs=1e-3)
        assert metrics[f"eval_{head}_f1"] == pytest.approx(2 * both / (both + either), abs=1e-3)
    kept = trainer.predict(trainer.eval_dataset).predictions
    assert [part.shape for part in kept] == [(7,), (7, 4), (7, 4), (7, 3)]


def test_metrics_leave_out_what_does_not_exist():
    counts, nothing = np.array([[3, 1, 2, 10], [0, 4, 0, 12]]), np.zeros((2, 4), int)
    parts = np.array([[0.5, np.nan, 0.2], [0.7, np.nan, 0.4]])
    predictions = (np.array([0.5, 0.4]), counts, nothing, parts)
    metrics = detection_metrics(EvalPrediction(predictions=predictions, label_ids=np.array([1, 1])))
    expected = {
        "accuracy": 0.5,
        "manipulation_iou": 3 / 10,
        "manipulation_f1": 6 / 13,
        "loss_classification": 0.6,
        "loss_manipulation": 0.3,
    }
    assert metrics == pytest.approx(expected)


def test_switched_off_heads_are_in_no_log(splits, tiny_gamma_recipe, tmp_path):
    recipe = replace(tiny_gamma_recipe, model=tiny_gamma_recipe.model | {"use_ai_head": False})
    trainer = build_trainer(splits, recipe, str(tmp_path), max_steps=1)
    trainer.train()
    assert "loss_manipulation" in logs_of(trainer)[0]
    assert not any("loss_ai" in entry for entry in trainer.state.log_history)
    metrics = trainer.evaluate()
    assert "eval_manipulation_iou" in metrics
    assert not any(name.startswith("eval_ai") for name in metrics)


@pytest.mark.parametrize("ablation", ["table4-classification", "table8-none", "table8-dual"])
def test_variants_train_and_are_evaluated(splits, tiny_gamma_recipe, tmp_path, ablation):
    changes = available_ablations("gamma")[ablation]["model"]
    recipe = replace(tiny_gamma_recipe, model=tiny_gamma_recipe.model | changes)
    metrics = train(splits, recipe, str(tmp_path), max_steps=1)
    assert 0 <= metrics["eval_accuracy"] <= 1
    assert ("eval_ai_iou" in metrics) == (ablation != "table4-classification")


@pytest.mark.parametrize("stopped_at", [4, 5])
def test_a_run_that_was_killed_resumes_bit_exactly(splits, tiny_gamma_recipe, tmp_path, stopped_at):
    # dropout and drop path are on: the states of the random generators are resumed too; of 16 images in batches of 4
    # step 3 lies inside the first epoch, and 0.8 of the images are 3 batches, so there it is its end
    encoder = tiny_gamma_recipe.model["encoder_config"] | {"drop_path_rate": 0.1}
    model = tiny_gamma_recipe.model | {"decoder_dropout": 0.1, "encoder_config": encoder}
    data = replace(tiny_gamma_recipe.data, epoch_fraction=1.0 if stopped_at == 4 else 0.8)
    recipe = replace(tiny_gamma_recipe, model=model, data=data)
    whole, halves = str(tmp_path / "whole"), str(tmp_path / "halves")
    train(splits, recipe, whole, **STEPWISE)
    trainer = build_trainer(splits, recipe, halves, **STEPWISE)
    trainer.add_callback(Interruption(stopped_at))
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert sorted(os.listdir(halves)) == ["checkpoint-3"]
    train(splits, recipe, halves, resume=True, **STEPWISE)
    assert_equal_weights(weights_of(whole), weights_of(halves))


def test_early_stopping_counts_on_after_a_resume(splits, tiny_gamma_recipe, tmp_path):
    # nothing is learnt, so the first evaluation stays the best
    recipe = replace(tiny_gamma_recipe, early_stopping=EarlyStopping(patience=3, delta=0.01))
    settings = EVALUATED | {"learning_rate": 0.0, "max_steps": 20}
    whole = build_trainer(splits, recipe, str(tmp_path / "whole"), **settings)
    whole.train()
    assert whole.state.global_step == 4
    halves = str(tmp_path / "halves")
    first = build_trainer(splits, recipe, halves, **settings)
    first.add_callback(Interruption(3))
    with pytest.raises(KeyboardInterrupt):
        first.train()
    second = build_trainer(splits, recipe, halves, **settings)
    second.train(resume_from_checkpoint=os.path.join(halves, "checkpoint-3"))
    assert second.state.global_step == 4


def test_early_stopping_needs_evaluations(splits, tiny_gamma_recipe, tmp_path):
    recipe = replace(tiny_gamma_recipe, early_stopping=EarlyStopping())
    with pytest.raises(ValueError, match="early stopping needs evaluations: set training.eval_strategy=epoch, or"):
        build_trainer(splits, recipe, str(tmp_path))


def test_kinds_that_the_recipe_names_must_be_in_the_training_data(splits, tiny_gamma_recipe, tmp_path):
    data = replace(tiny_gamma_recipe.data, tasks=("authentic", "removal"))
    with pytest.raises(
        ValueError, match="the training data have no image of the kind removal, which the recipe names"
    ):
        build_trainer(splits, replace(tiny_gamma_recipe, data=data), str(tmp_path))


def test_workers_must_not_persist(splits, tiny_gamma_recipe, tmp_path):
    persistent = {"dataloader_num_workers": 1, "dataloader_persistent_workers": True}
    with pytest.raises(ValueError, match="training.dataloader_persistent_workers must be off"):
        build_trainer(splits, tiny_gamma_recipe, str(tmp_path), **persistent)


def test_workers_change_nothing(splits, tiny_gamma_recipe, tmp_path):
    for workers in (0, 2):
        train(splits, tiny_gamma_recipe, str(tmp_path / str(workers)), max_steps=5, dataloader_num_workers=workers)
    assert_equal_weights(weights_of(tmp_path / "0"), weights_of(tmp_path / "2"))


def test_base_decides_how_the_model_is_filled(tmp_path, tiny_gamma_recipe):
    SegformerModel(SegformerConfig(**tiny_gamma_recipe.model["encoder_config"])).save_pretrained(
        tmp_path / "segformer"
    )
    model = build_model(tiny_gamma_recipe, str(tmp_path / "segformer"))
    given = SegformerModel.from_pretrained(tmp_path / "segformer").state_dict()
    assert all((model.gamma.encoder.state_dict()[name] == weight).all() for name, weight in given.items())

    model.save_pretrained(tmp_path / "gamma")
    again = build_model(replace(tiny_gamma_recipe, model={"ai_loss_weight": 3.0}), str(tmp_path / "gamma"))
    assert again.config.ai_loss_weight == 3.0
    assert_equal_weights(dict(model.state_dict()), dict(again.state_dict()))

    with pytest.raises(
        ValueError, match=r"asks for another network than the checkpoint's: model.cross_attention diff"
    ):
        build_model(replace(tiny_gamma_recipe, model={"cross_attention": "none"}), str(tmp_path / "gamma"))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="is a checkpoint of type 'bert'; expected segformer or gamma"):
        build_model(tiny_gamma_recipe, str(tmp_path))


def recipe_file(recipe, path, **training):
    """The recipe as YAML, with the augmentation of the tests' recipe."""
    data = {"crop_size": recipe.data.crop_size, "epoch_fraction": recipe.data.epoch_fraction}
    return write_recipe(
        path,
        model=recipe.model,
        data=data,
        augmentation=json.loads(json.dumps(asdict(recipe.augmentation))),
        early_stopping={"patience": None},
        training=recipe.training | training,
    )


def test_two_processes_equal_one(gamma_folder, tiny_gamma_recipe, tmp_path):
    # epochs of one step: the second and third draw the subset of another epoch in both processes
    recipe = replace(tiny_gamma_recipe, data=replace(tiny_gamma_recipe.data, epoch_fraction=0.5))
    steps = {"max_steps": 3, "optim": "sgd", "learning_rate": 0.05}
    one = recipe_file(recipe, tmp_path / "one.yaml", per_device_train_batch_size=8, **steps)
    two = recipe_file(recipe, tmp_path / "two.yaml", per_device_train_batch_size=4, **steps)
    common = ("--data", str(gamma_folder))
    for path, output, processes in ((one, tmp_path / "one", 1), (two, tmp_path / "two", 2)):
        run = run_command_line("gamma", *common, "--recipe", path, "--output", str(output), processes=processes)
        assert run.returncode == 0, run.stderr[-2000:]
    first, second = weights_of(tmp_path / "one"), weights_of(tmp_path / "two")
    assert_equal_weights(first, second, tolerance=1e-5)
    assert any("running_mean" in name for name in first)
    logs = [json.loads((tmp_path / name / "trainer_state.json").read_text())["log_history"] for name in ("one", "two")]
    for entries in zip(*logs, strict=True):
        for part in ("loss", "loss_classification", "loss_ai", "loss_manipulation"):
            if part in entries[0]:
                assert entries[0][part] == pytest.approx(entries[1][part], abs=1e-5), part
    results = [json.loads((tmp_path / name / "eval_results.json").read_text()) for name in ("one", "two")]
    for key in ("eval_accuracy", "eval_auc", "eval_ai_iou", "eval_manipulation_f1"):
        assert results[0][key] == pytest.approx(results[1][key], abs=2e-3), key


@pytest.mark.slow
def test_two_processes_resume_bit_exactly(gamma_folder, tiny_gamma_recipe, tmp_path):
    path = recipe_file(tiny_gamma_recipe, tmp_path / "recipe.yaml", per_device_train_batch_size=2, **STEPWISE)
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    common = ("gamma", "--data", str(gamma_folder), "--recipe", path, "--output")
    assert run_command_line(*common, str(whole), processes=2).returncode == 0
    shutil.copytree(whole / "checkpoint-3", halves / "checkpoint-3")
    assert run_command_line(*common, str(halves), "--resume", processes=2).returncode == 0
    assert_equal_weights(weights_of(whole), weights_of(halves))


def test_a_saved_run_loads_with_its_image_processor(splits, tiny_gamma_recipe, tmp_path):
    from forgescope.modeling.modeling_gamma import GammaForDetection
    from forgescope.processing.image_processing_forgery import ForgeryImageProcessor

    train(splits, tiny_gamma_recipe, str(tmp_path), max_steps=1)
    model = GammaForDetection.from_pretrained(tmp_path)
    assert_equal_weights(dict(model.state_dict()), weights_of(tmp_path))
    processor = ForgeryImageProcessor.from_pretrained(tmp_path)
    assert (processor.do_resize, processor.smallest_edge) == (False, 64)


def test_the_command_line_trains_an_ablation_on_a_corpus(
    gamma_folder, tiny_gamma_recipe, tmp_path, monkeypatch, capsys
):
    mix = tmp_path / "mix"
    shutil.copytree(gamma_folder, mix / "manipulations")
    recipe = recipe_file(tiny_gamma_recipe, tmp_path / "tiny.yaml", max_steps=1)
    common = ("--data", str(mix), "--corpus", "gamma_mix", "--recipe", recipe, "--output", str(tmp_path / "out"))
    assert command_line(monkeypatch, "gamma", *common, "--ablation", "table4-ai") == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.startswith("validation (masks: pooled pixels, forged class): accuracy ")
    assert not any("decoders.manipulation" in name for name in weights_of(tmp_path / "out"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "missing"), "missing is not a folder"),
        (("--data", "missing", "--ablation", "table9"), "no ablation 'table9': expected one of table4-classification"),
        (("--data", "missing", "--set", "data.crop_size=100"), "data.crop_size must be a multiple of 32 pixels, got"),
    ],
)
def test_command_line_errors_are_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    assert command_line(monkeypatch, "gamma", *arguments, "--output", str(tmp_path / "out")) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
