"""LEGION's stage 2: class tokens are computed once, and the head that is trained on them is saved with the model."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from training_runs import Interruption, assert_equal_weights, command_line, run_command_line, weights_of

from forgescope.datasets_scripts.load import load_corpus
from forgescope.modeling.modeling_legion import LegionForGroundedExplanation
from forgescope.processing.processing_legion import LegionProcessor
from forgescope.trainers.train_legion_detection import build_trainer, detection_recipe, train

QUICK = (
    "training.per_device_train_batch_size=5",
    "training.use_cpu=true",
    "training.dataloader_num_workers=0",
    "training.logging_steps=1",
    "training.learning_rate=0.02",
    "data.batch_size=4",
)
SGD = {"optim": "sgd", "max_grad_norm": 0.0, "learning_rate": 0.1}


@pytest.fixture(scope="module")
def splits(progan_folder):
    return load_corpus("cnnspot", progan_folder, config="progan_train")


@pytest.fixture
def recipe():
    return detection_recipe(overrides=QUICK)


def test_the_head_alone_is_trained_and_saved_into_the_whole_model(splits, recipe, legion_base, tmp_path):
    metrics = train(splits, recipe, str(tmp_path), str(legion_base), num_train_epochs=10)
    assert metrics["eval_accuracy"] == 1.0
    before, after = weights_of(legion_base), weights_of(tmp_path)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.startswith("detection_head.")}
    assert len(changed) == 4
    # checkpoints of the run hold the head alone, and the cache stands beside them
    names = sorted(os.listdir(tmp_path / "checkpoint-40"))
    assert "adapter_model.safetensors" in names
    assert "model.safetensors" not in names
    model = LegionForGroundedExplanation.from_pretrained(tmp_path).eval()
    inputs = LegionProcessor.from_pretrained(tmp_path).detection_inputs([row["image"] for row in splits["validation"]])
    with torch.no_grad():
        logits = model(**inputs).detection_logits
    assert (logits.argmax(dim=1).numpy() == np.array(splits["validation"]["label"])).all()


def test_the_best_epoch_is_kept(splits, recipe, legion_base, tmp_path):
    trainer = build_trainer(splits, recipe, str(tmp_path), str(legion_base), num_train_epochs=6)
    trainer.train()
    accuracies = [entry["eval_accuracy"] for entry in trainer.state.log_history if "eval_accuracy" in entry]
    first_best = int(np.argmax(accuracies))
    assert trainer.state.best_model_checkpoint == str(tmp_path / f"checkpoint-{4 * (first_best + 1)}")
    assert trainer.evaluate()["eval_accuracy"] == max(accuracies)


def test_metrics_are_those_of_scikit_learn(splits, recipe, legion_base, tmp_path):
    trainer = build_trainer(splits, recipe, str(tmp_path), str(legion_base))
    metrics = trainer.evaluate()
    labels, tokens = np.array(trainer.eval_dataset.labels), torch.stack(trainer.eval_dataset.tokens)
    with torch.no_grad():
        fake = trainer.model.eval()(image_features=tokens).detection_logits.softmax(dim=1)[:, 1].numpy()
    assert labels.tolist() == splits["validation"]["label"][:]
    assert metrics["eval_accuracy"] == pytest.approx(((fake >= 0.5) == labels).mean())
    assert metrics["eval_auc"] == pytest.approx(roc_auc_score(labels, fake))
    assert metrics["eval_average_precision"] == pytest.approx(average_precision_score(labels, fake))
    expected = -np.log(np.where(labels == 1, fake, 1 - fake)).mean()
    assert metrics["eval_loss"] == pytest.approx(expected, rel=1e-4) == metrics["eval_loss_detection"]


class ImageDataset(torch.utils.data.Dataset):
    """The same images without a cache."""

    def __init__(self, rows, processor):
        self.rows, self.processor = rows, processor

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        row = self.rows[index]
        pixel_values = self.processor.detection_inputs([row["image"]])["pixel_values"][0]
        return {"pixel_values": pixel_values, "forgery_labels": torch.tensor(row["label"])}


def test_training_on_class_tokens_equals_training_on_images(splits, recipe, legion_base, tmp_path):
    settings = SGD | {"max_steps": 6}
    weights = []
    for name in ("tokens", "images"):
        trainer = build_trainer(splits, recipe, str(tmp_path / name), str(legion_base), **settings)
        if name == "images":
            trainer.train_dataset = ImageDataset(splits["train"], trainer.processing_class)
            trainer.eval_dataset = ImageDataset(splits["validation"], trainer.processing_class)
        trainer.train()
        trainer.save_model()
        weights.append(weights_of(tmp_path / name))
    assert_equal_weights(*weights, tolerance=1e-6)


def test_a_run_that_was_killed_resumes_bit_exactly(splits, recipe, legion_base, tmp_path):
    whole, halves, cache = str(tmp_path / "whole"), str(tmp_path / "halves"), tmp_path / "cache"
    train(splits, recipe, whole, str(legion_base), cache=cache)
    trainer = build_trainer(splits, recipe, halves, str(legion_base), cache)
    trainer.add_callback(Interruption(6))
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert sorted(os.listdir(halves)) == ["checkpoint-4"]
    train(splits, recipe, halves, str(legion_base), resume=True, cache=cache)
    assert_equal_weights(weights_of(whole), weights_of(halves))
    assert len(list(cache.iterdir())) == 1


def test_validation_rows_are_held_out(splits, recipe, legion_base, tmp_path):
    recipe = replace(recipe, data=replace(recipe.data, validation_rows=4))
    trainer = build_trainer({"train": splits["train"]}, recipe, str(tmp_path), str(legion_base))
    assert (len(trainer.train_dataset), len(trainer.eval_dataset)) == (16, 4)


@pytest.mark.slow
def test_two_processes_equal_one(progan_folder, splits, legion_base, tmp_path):
    steps = ("training.max_steps=4", "training.optim=sgd", "training.learning_rate=0.1", "training.max_grad_norm=0")
    # a last batch that is not full would be filled up with images again, and its loss be another
    both = (*QUICK, *steps, "training.per_device_eval_batch_size=3")
    one = detection_recipe(overrides=[*both, "training.per_device_train_batch_size=10"])
    train(splits, one, str(tmp_path / "one"), str(legion_base))
    sets = [part for text in both for part in ("--set", text)]
    arguments = ("--data", str(progan_folder), "--base", str(legion_base), "--output", str(tmp_path / "two"), *sets)
    run = run_command_line("legion-detection", *arguments, processes=2)
    assert run.returncode == 0, run.stderr[-2000:]
    assert_equal_weights(weights_of(tmp_path / "one"), weights_of(tmp_path / "two"), tolerance=1e-6)
    # each process has computed a part of both splits
    (folder,) = (tmp_path / "two" / "class_tokens").iterdir()
    assert len(list(folder.glob("*.safetensors"))) == 4
    results = [json.loads((tmp_path / name / "eval_results.json").read_text()) for name in ("one", "two")]
    for key in ("eval_accuracy", "eval_auc", "eval_loss_detection"):
        assert results[0][key] == pytest.approx(results[1][key], abs=1e-5), key


def write_genimage(folder, progan_folder):
    """The images of ProGAN's folders in GenImage's."""
    for split, source in (("train", "progan_train"), ("val", "progan_val")):
        for name, kind in (("nature", "0_real"), ("ai", "1_fake")):
            shutil.copytree(progan_folder / source / "cat" / kind, folder / "imagenet_ai_0419_sdv5" / split / name)


def test_the_command_line_trains_on_any_corpus_of_labelled_images(
    progan_folder, legion_base, tmp_path, monkeypatch, capsys
):
    write_genimage(tmp_path / "genimage", progan_folder)
    settings = [part for text in (*QUICK, "training.max_steps=4") for part in ("--set", text)]
    settings += ["--base", str(legion_base), "--cache", str(tmp_path / "cache")]
    corpora = {"progan_train": progan_folder, "genimage": tmp_path / "genimage"}
    for corpus, folder in corpora.items():
        arguments = ("--data", str(folder), "--corpus", corpus, "--output", str(tmp_path / corpus), *settings)
        assert command_line(monkeypatch, "legion-detection", *arguments) == 0
        last = capsys.readouterr().out.strip().splitlines()[-1]
        assert last.startswith("validation (verdicts at 0.5): accuracy ")
    # one CLIP has one folder
    (clip,) = (tmp_path / "cache").iterdir()
    assert len(list(clip.iterdir())) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "missing", "--base", "nowhere/at/all"), "unknown checkpoint 'nowhere/at/all': no such folder"),
        (
            ("--data", "missing", "--base", "iclnet-mini"),
            "has model type 'iclnet', which cannot be used here",
        ),
    ],
)
def test_command_line_errors_are_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    assert command_line(monkeypatch, "legion-detection", *arguments, "--output", str(tmp_path / "out")) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
