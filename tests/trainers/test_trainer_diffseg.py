import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from training_runs import (
    EDITORS,
    SHORT,
    Interruption,
    assert_equal_weights,
    command_line,
    logs_of,
    run_command_line,
    weights_of,
    write_recipe,
)
from transformers import EvalPrediction, SegformerConfig, SegformerModel, Trainer, TrainingArguments

from forgescope.modeling.configuration_diffseg import DiffSegConfig
from forgescope.modeling.modeling_diffseg import DiffSegForEditSegmentation
from forgescope.processing.image_processing_forgery import ForgeryImageProcessor
from forgescope.trainers.data import ForgeryCollator, ForgeryDataset
from forgescope.trainers.pixel_counts import class_counts
from forgescope.trainers.rows_diffseg import DiffSegDataConfig
from forgescope.trainers.train_diffseg import ARCHITECTURES, build_model, build_trainer, train
from forgescope.trainers.trainer_diffseg import OptimizerConfig, edit_metrics, head_parameters
from forgescope.trainers.training_run import load_splits

STEPWISE = {"save_strategy": "steps", "save_steps": 3}


@pytest.fixture(scope="module")
def splits(edit_folder):
    return load_splits(edit_folder)


def test_confusion_matrices_equal_a_loop_and_skip_ignored_pixels():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 5, 6, generator=generator)
    labels = torch.randint(0, 4, (3, 5, 6), generator=generator)
    labels[1, :2] = 255
    labels[2] = 255
    expected = np.zeros((3, 4, 4), int)
    for image, row, column in np.ndindex(3, 5, 6):
        label = labels[image, row, column].item()
        if label != 255:
            expected[image, label, logits[image, :, row, column].argmax().item()] += 1
    assert class_counts(logits, labels, 255).tolist() == expected.tolist()


def test_metrics_equal_the_definitions():
    first, second = np.array([[5, 1, 0], [2, 3, 1], [0, 0, 4]]), np.array([[7, 0, 1], [0, 0, 0], [0, 2, 6]])
    scores = edit_metrics(EvalPrediction(predictions=(np.stack([first, second]),), label_ids=np.zeros(2)), ("a", "b"))
    ious = [3 / (6 + 6 - 3), 10 / (12 + 12 - 10)]
    expected = {"pixel_accuracy": 25 / 32, "iou_a": ious[0], "iou_b": ious[1], "mean_iou": sum(ious) / 2}
    assert scores == pytest.approx(expected)


def test_classes_that_are_nowhere_have_no_iou():
    counts = np.array([[[5, 0, 2], [0, 0, 0], [0, 0, 0]]])
    scores = edit_metrics(EvalPrediction(predictions=(counts,), label_ids=np.zeros(1)), ("a", "b"))
    assert scores == pytest.approx({"pixel_accuracy": 5 / 7, "iou_b": 0, "mean_iou": 0})
    counts[0, 0] = [5, 0, 0]
    scores = edit_metrics(EvalPrediction(predictions=(counts,), label_ids=np.zeros(1)), ("a", "b"))
    assert scores == {"pixel_accuracy": 1.0}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_training_changes_every_weight_and_lowers_the_loss(splits, tiny_diffseg_recipe, tmp_path, architecture):
    trainer = build_trainer(splits, tiny_diffseg_recipe(architecture), str(tmp_path))
    before = {name: weight.clone() for name, weight in trainer.model.state_dict().items()}
    trainer.train()
    logs = logs_of(trainer)
    assert len(logs) == 6
    assert logs[-1]["loss"] < logs[0]["loss"]
    fixed = [name for name, weight in trainer.model.named_parameters() if torch.equal(weight, before[name])]
    # keys of an attention start with gradient zero; so does what a dead ReLU of so small a network hides
    assert all(name.endswith(("k_proj.bias", "key.bias")) for name in fixed), fixed


@pytest.mark.parametrize("task", ["semantic", "binary"])
def test_evaluation_equals_the_model_at_full_resolution(splits, tiny_diffseg_recipe, tmp_path, task):
    trainer = build_trainer(splits, tiny_diffseg_recipe(task=task), str(tmp_path))
    metrics = trainer.evaluate()
    batch = trainer.data_collator([trainer.eval_dataset[index] for index in range(7)])
    assert batch["labels"].shape == (7, 64, 64)
    with torch.no_grad():
        outputs = trainer.model.eval()(pixel_values=batch["pixel_values"])
    assert outputs.logits.shape[-2:] == (16, 16)
    called = F.interpolate(outputs.logits, size=(64, 64), mode="bilinear").argmax(dim=1)
    labels = batch["labels"]
    assert metrics["eval_pixel_accuracy"] == pytest.approx((called == labels).float().mean().item(), abs=1e-3)
    names = EDITORS if task == "semantic" else ("edited",)
    ious = []
    for index, name in enumerate(names, start=1):
        both, either = ((called == index) & (labels == index)).sum(), ((called == index) | (labels == index)).sum()
        ious.append((both / either).item())
        assert metrics[f"eval_iou_{name}"] == pytest.approx(ious[-1], abs=1e-3)
    assert metrics["eval_mean_iou"] == pytest.approx(np.mean(ious), abs=1e-3)
    (kept,) = trainer.predict(trainer.eval_dataset).predictions
    assert kept.shape == (7, len(names) + 1, len(names) + 1)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_head_has_its_own_learning_rate(splits, tiny_diffseg_recipe, tmp_path, architecture):
    recipe = replace(tiny_diffseg_recipe(architecture), optimizer=OptimizerConfig(head_learning_rate_factor=10.0))
    schedule = {"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": {"power": 1.0, "lr_end": 0.0}}
    trainer = build_trainer(splits, recipe, str(tmp_path), weight_decay=0.1, max_steps=2, **schedule)
    trainer.create_optimizer_and_scheduler(2)
    head = {id(parameter) for parameter in head_parameters(trainer.model.segmenter)}
    seen = []
    for group in trainer.optimizer.param_groups:
        for parameter in group["params"]:
            assert group["lr"] == pytest.approx(1e-2 if id(parameter) in head else 1e-3)
            seen.append(id(parameter))
    assert sorted(seen) == sorted(id(parameter) for parameter in trainer.model.parameters())
    assert 0 < len(head) < len(seen)
    decayed = {id(p) for group in trainer.optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    names = trainer.get_decay_parameter_names(trainer.model)
    assert decayed == {id(p) for name, p in trainer.model.named_parameters() if name in names}
    trainer.optimizer.step()
    trainer.lr_scheduler.step()
    assert {round(group["lr"], 6) for group in trainer.optimizer.param_groups} == {5e-4, 5e-3}


def test_the_optimizer_takes_its_momentum_from_the_recipe(splits, tiny_diffseg_recipe, tmp_path):
    settings = {"optim": "sgd", "optim_args": "momentum=0.9"}
    trainer = build_trainer(splits, tiny_diffseg_recipe("fcn8s"), str(tmp_path), **settings)
    optimizer = trainer.create_optimizer()
    assert isinstance(optimizer, torch.optim.SGD)
    assert {group["momentum"] for group in optimizer.param_groups} == {0.9}


def test_a_run_that_was_killed_resumes_bit_exactly(splits, tiny_diffseg_recipe, tmp_path):
    # dropout and the head's learning rate are on, and the schedule moves: all of it is resumed, inside an epoch
    recipe = tiny_diffseg_recipe("deeplabv3plus", decoder_dropout=0.3)
    recipe = replace(recipe, optimizer=OptimizerConfig(head_learning_rate_factor=5.0))
    settings = STEPWISE | {"optim": "sgd", "optim_args": "momentum=0.9", "lr_scheduler_type": "polynomial"}
    whole, halves = str(tmp_path / "whole"), str(tmp_path / "halves")
    train(splits, recipe, whole, **settings)
    trainer = build_trainer(splits, recipe, halves, **settings)
    trainer.add_callback(Interruption(4))
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert sorted(os.listdir(halves)) == ["checkpoint-3"]
    train(splits, recipe, halves, resume=True, **settings)
    assert_equal_weights(weights_of(whole), weights_of(halves))


def recipe_file(recipe, path, **training):
    """The recipe as YAML, with untouched photographs."""
    return write_recipe(
        path,
        model=recipe.model,
        data={"negatives": 2, "negative_edge": 64},
        processor=recipe.processor,
        augmentation={"crop_probability": 0.5, "jpeg_probability": 0.0, "flip_probability": 0.5},
        optimizer={"head_learning_rate_factor": 2.0},
        training=recipe.training | training,
    )


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(5)
    for number in range(3):
        Image.fromarray(rng.integers(0, 256, (70, 90, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize(
    "architecture",
    [
        "deeplabv3plus",
        pytest.param("segformer", marks=pytest.mark.slow),
        pytest.param("fcn8s", marks=pytest.mark.slow),
    ],
)
def test_two_processes_equal_one(edit_folder, photographs, tiny_diffseg_recipe, tmp_path, architecture):
    # 18 images, so the fourth step begins another epoch
    recipe = tiny_diffseg_recipe(architecture)
    steps = {"max_steps": 4, "optim": "sgd", "learning_rate": 0.01}
    one = recipe_file(recipe, tmp_path / "one.yaml", per_device_train_batch_size=6, **steps)
    two = recipe_file(recipe, tmp_path / "two.yaml", per_device_train_batch_size=3, **steps)
    common = ("diffseg", "--data", str(edit_folder), "--negatives", str(photographs))
    for path, output, processes in ((one, tmp_path / "one", 1), (two, tmp_path / "two", 2)):
        run = run_command_line(*common, "--recipe", path, "--output", str(output), processes=processes)
        assert run.returncode == 0, run.stderr[-2000:]
    first, second = weights_of(tmp_path / "one"), weights_of(tmp_path / "two")
    assert_equal_weights(first, second, tolerance=1e-5)
    logs = [json.loads((tmp_path / name / "trainer_state.json").read_text())["log_history"] for name in ("one", "two")]
    losses = [[entry["loss"] for entry in log if "loss" in entry] for log in logs]
    assert len(losses[0]) == 4
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    results = [json.loads((tmp_path / name / "eval_results.json").read_text()) for name in ("one", "two")]
    for key in ("eval_pixel_accuracy", "eval_mean_iou"):
        assert results[0][key] == pytest.approx(results[1][key], abs=2e-3), key


def test_untouched_photographs_are_trained_on(splits, photographs, tiny_diffseg_recipe, tmp_path):
    recipe = replace(tiny_diffseg_recipe(), data=DiffSegDataConfig(negatives=2, negative_edge=64))
    files = sorted(photographs.iterdir())
    trainer = build_trainer(splits, recipe, str(tmp_path), photographs=files)
    assert (len(trainer.train_dataset), len(trainer.eval_dataset)) == (18, 7)
    batch = trainer.data_collator([trainer.train_dataset[index] for index in (16, 17)])
    assert not batch["labels"].any()
    with pytest.raises(
        ValueError, match=r"the recipe adds 2 untouched photographs, name their folder \(--negatives\)"
    ):
        build_trainer(splits, recipe, str(tmp_path))


def test_table_4_is_for_binary_segmentation(splits, tiny_diffseg_recipe, tmp_path):
    data = DiffSegDataConfig(held_out_editors=("striped",), negatives=0)
    with pytest.raises(ValueError, match="data.held_out_editors needs model.task=binary: no class could be learnt"):
        build_trainer(splits, replace(tiny_diffseg_recipe(), data=data), str(tmp_path))
    recipe = replace(tiny_diffseg_recipe(task="binary"), data=data)
    trainer = build_trainer(splits, recipe, str(tmp_path))
    assert (len(trainer.train_dataset), len(trainer.eval_dataset)) == (8, 2)  # 7 images: two striped ones


def test_base_decides_how_the_model_is_filled(tmp_path, tiny_diffseg_recipe):
    recipe = tiny_diffseg_recipe()
    SegformerModel(SegformerConfig(**recipe.model["encoder_config"])).save_pretrained(tmp_path / "segformer")
    model = build_model(recipe, str(tmp_path / "segformer"))
    given = SegformerModel.from_pretrained(tmp_path / "segformer").state_dict()
    assert all((model.segmenter.encoder.state_dict()[name] == weight).all() for name, weight in given.items())

    model.save_pretrained(tmp_path / "diffseg")
    again = build_model(replace(recipe, model={"id2editor": list(EDITORS)}), str(tmp_path / "diffseg"))
    assert_equal_weights(dict(model.state_dict()), dict(again.state_dict()))
    with pytest.raises(ValueError, match="asks for another network than the checkpoint's: model.architecture differs"):
        build_model(tiny_diffseg_recipe("deeplabv3plus"), str(tmp_path / "diffseg"))
    with pytest.raises(ValueError, match="is a checkpoint of type 'segformer'; fcn8s needs diffseg or a timm model"):
        build_model(tiny_diffseg_recipe("fcn8s"), str(tmp_path / "segformer"))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="is a checkpoint of type 'bert'; segformer needs diffseg or segformer"):
        build_model(recipe, str(tmp_path))


def test_a_backbone_is_filled_from_a_file_of_timm_weights(tmp_path, tiny_diffseg_recipe):
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(1)
    whole = timm.create_model("test_resnet").state_dict()
    save_file(whole, tmp_path / "weights.safetensors")
    model = build_model(tiny_diffseg_recipe("deeplabv3plus"), str(tmp_path / "weights.safetensors"))
    assert torch.equal(model.segmenter.backbone.conv1[0].weight, whole["conv1.0.weight"])
    with pytest.raises(ValueError, match="expected weights of vgg11, as the name of a timm model or a file, got"):
        build_model(tiny_diffseg_recipe("fcn8s"), str(tmp_path / "weights.safetensors"))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_random_weights_may_begin_as_high_pass_filters(tiny_diffseg_recipe, architecture):
    from forgescope.trainers.high_pass_start import StartConfig, first_convolution

    recipe = replace(tiny_diffseg_recipe(architecture), start=StartConfig(high_pass_gain=7.0, high_pass_share=0.5))
    weight = first_convolution(build_model(recipe).segmenter).weight.detach()
    filters = weight[len(weight) // 2 :]
    assert torch.allclose(filters.flatten(1).norm(dim=1), torch.tensor(7.0))
    assert filters.sum(dim=(2, 3)).abs().max() < 1e-4


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_saved_run_loads_with_its_image_processor(splits, tiny_diffseg_recipe, tmp_path, architecture):
    train(splits, tiny_diffseg_recipe(architecture), str(tmp_path), max_steps=1)
    model = DiffSegForEditSegmentation.from_pretrained(tmp_path)
    assert_equal_weights(dict(model.state_dict()), weights_of(tmp_path))
    processor = ForgeryImageProcessor.from_pretrained(tmp_path)
    assert processor.mask_stride == model.config.mask_stride
    assert (processor.mask_values, list(processor.id2editor)) == ("ids", list(EDITORS))
    assert model.config.id2label == {0: "authentic", 1: "flat", 2: "striped"}


def test_a_plain_trainer_goes_on_with_what_was_saved(splits, tiny_diffseg_recipe, tmp_path):
    train(splits, tiny_diffseg_recipe(), str(tmp_path / "run"), max_steps=1)
    trainer = Trainer(
        model=DiffSegForEditSegmentation.from_pretrained(tmp_path / "run"),
        args=TrainingArguments(output_dir=str(tmp_path / "plain"), remove_unused_columns=False, **SHORT),
        data_collator=ForgeryCollator(ForgeryImageProcessor.from_pretrained(tmp_path / "run")),
        train_dataset=ForgeryDataset(splits["train"]),
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0]


def test_errors_of_workers_are_the_reason_alone(edit_folder, tiny_diffseg_recipe, tmp_path):
    copy = tmp_path / "data"
    shutil.copytree(edit_folder, copy)
    Image.new("L", (64, 64), 255).save(copy / "train/mask/edit-3.png")
    Image.new("L", (64, 32), 1).save(copy / "train/mask/edit-2.png")
    recipe = tiny_diffseg_recipe()
    for index, message in (
        (3, "^expected ids of editors, got a mask of 0 and 255"),
        (2, "^image 'edit-2' is 64 x 64"),
    ):
        chosen = {"train": load_splits(copy)["train"].select([index]), "validation": load_splits(copy)["validation"]}
        with pytest.raises(ValueError, match=message):
            train(chosen, recipe, str(tmp_path / "out"), dataloader_num_workers=1)


def test_the_command_line_trains_a_row_of_table_4_on_the_corpus(
    edit_folder, tiny_diffseg_recipe, tmp_path, monkeypatch, capsys
):
    corpus = tmp_path / "corpus"
    for split in ("train", "validation"):
        (corpus / split).mkdir(parents=True)
        for row in map(json.loads, (edit_folder / split / "metadata.jsonl").read_text().splitlines()):
            image, mask = edit_folder / split / row["file_name"], row["mask_file_name"]
            shutil.copy(image, corpus / split / f"{row['id']}.image.png")
            pixels = Image.open(edit_folder / split / mask) if mask else Image.new("L", (64, 64))
            pixels.save(corpus / split / f"{row['id']}.mask.png")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    recipe = write_recipe(tmp_path / "tiny.yaml", **{"model": tiny_diffseg_recipe().model, "training": SHORT})
    common = ("--data", str(corpus), "--corpus", "diffseg30k", "--recipe", recipe, "--output", str(tmp_path / "out"))
    changes = ("--task", "binary", "--set", "data.held_out_editors=[striped]", "--set", "data.negatives=0")
    assert command_line(monkeypatch, "diffseg", *common, *changes, "--set", "training.max_steps=1") == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.startswith("validation (pooled pixels, mean IoU of the editors): iou_edited ")
    assert DiffSegConfig.from_pretrained(tmp_path / "out").task == "binary"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "missing"), "missing is not a folder"),
        (("--data", "missing", "--architecture", "unet"), "no architecture 'unet': expected one of fcn8s, deeplabv3p"),
        (("--data", "missing", "--task", "panoptic"), "section model: Field 'task' expected one of ('semantic', 'bi"),
        (("--data", "missing", "--negatives", "nowhere"), "nowhere does not exist: give photographs or folders"),
        (("--data", "missing", "--base", "iclnet-mini"), "checkpoint 'iclnet-mini' has model type 'iclnet', which"),
        (("--data", "missing", "--set", "model.id2editor=[a, a]"), "id2editor must name at least one editor and none"),
    ],
)
def test_command_line_errors_are_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    assert command_line(monkeypatch, "diffseg", *arguments, "--output", str(tmp_path / "out")) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
