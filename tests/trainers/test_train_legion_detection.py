"""LEGION's stage 2: class tokens are computed once, and the head that is trained on them is saved with the model."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from legion_runs import save_base
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score
from training_runs import Interruption, assert_equal_weights, command_line, run_command_line, weights_of

from forgescope.datasets_scripts.load import load_corpus
from forgescope.modeling.modeling_legion import LegionForGroundedExplanation
from forgescope.processing.processing_legion import LegionProcessor
from forgescope.trainers import class_tokens
from forgescope.trainers.class_tokens import ClassTokenCache, stored_images
from forgescope.trainers.data_legion_detection import ClassTokenDataset
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
def base(legion_tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("legion")
    save_base(folder, legion_tokenizer)
    return folder


@pytest.fixture(scope="module")
def progan(tmp_path_factory):
    """ProGAN's folders in small: 20 training images of one class and 6 of validation; fake ones are brighter."""
    folder = tmp_path_factory.mktemp("progan")
    rng = np.random.default_rng(0)
    for split, count in (("progan_train", 20), ("progan_val", 6)):
        for number in range(count):
            place = folder / split / "cat" / ("0_real", "1_fake")[number % 2]
            place.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 150, (40, 44, 3)) + 70 * (number % 2)
            Image.fromarray(pixels.astype(np.uint8)).save(place / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def splits(progan):
    return load_corpus("cnnspot", progan, config="progan_train")


@pytest.fixture
def recipe():
    return detection_recipe(overrides=QUICK)


@pytest.fixture(scope="module")
def loaded(base):
    return LegionForGroundedExplanation.from_pretrained(base).eval(), LegionProcessor.from_pretrained(base)


def test_the_head_alone_is_trained_and_saved_into_the_whole_model(splits, recipe, base, tmp_path):
    metrics = train(splits, recipe, str(tmp_path), str(base), num_train_epochs=10)
    assert metrics["eval_accuracy"] == 1.0
    before, after = weights_of(base), weights_of(tmp_path)
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


def test_the_best_epoch_is_kept(splits, recipe, base, tmp_path):
    trainer = build_trainer(splits, recipe, str(tmp_path), str(base), num_train_epochs=6)
    trainer.train()
    accuracies = [entry["eval_accuracy"] for entry in trainer.state.log_history if "eval_accuracy" in entry]
    first_best = int(np.argmax(accuracies))
    assert trainer.state.best_model_checkpoint == str(tmp_path / f"checkpoint-{4 * (first_best + 1)}")
    assert trainer.evaluate()["eval_accuracy"] == max(accuracies)


def test_metrics_are_those_of_scikit_learn(splits, recipe, base, tmp_path):
    trainer = build_trainer(splits, recipe, str(tmp_path), str(base))
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


def test_training_on_class_tokens_equals_training_on_images(splits, recipe, base, tmp_path):
    settings = SGD | {"max_steps": 6}
    weights = []
    for name in ("tokens", "images"):
        trainer = build_trainer(splits, recipe, str(tmp_path / name), str(base), **settings)
        if name == "images":
            trainer.train_dataset = ImageDataset(splits["train"], trainer.processing_class)
            trainer.eval_dataset = ImageDataset(splits["validation"], trainer.processing_class)
        trainer.train()
        trainer.save_model()
        weights.append(weights_of(tmp_path / name))
    assert_equal_weights(*weights, tolerance=1e-6)


def test_class_tokens_are_those_of_the_model_and_computed_once(splits, loaded, tmp_path, monkeypatch):
    model, processor = loaded
    cache = ClassTokenCache(tmp_path, model, processor)
    images = stored_images(splits["train"])
    tokens = cache.tokens(images, batch_size=8)
    with torch.no_grad():
        inputs = processor.detection_inputs([row["image"] for row in splits["train"]])
        expected = model.class_tokens(inputs["pixel_values"])
    torch.testing.assert_close(torch.stack(tokens), expected)
    monkeypatch.setattr(model, "class_tokens", None)  # whoever calls it now fails
    again = ClassTokenCache(tmp_path, model, processor).tokens(images)
    assert all(torch.equal(one, two) for one, two in zip(tokens, again, strict=True))


def test_a_cache_goes_on_where_it_was_killed(splits, loaded, tmp_path, monkeypatch):
    model, processor = loaded
    monkeypatch.setattr(class_tokens, "PART_IMAGES", 8)
    images = list(stored_images(splits["train"]))
    cache = ClassTokenCache(tmp_path, model, processor)
    seen, compute = [], ClassTokenCache._compute

    def killed_at_the_second_part(self, chosen, *settings):
        seen.append(len(chosen))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return compute(self, chosen, *settings)

    monkeypatch.setattr(ClassTokenCache, "_compute", killed_at_the_second_part)
    with pytest.raises(KeyboardInterrupt):
        cache.tokens(images)
    parts = list(cache.folder.iterdir())
    assert [part.suffix for part in parts] == [".safetensors"]
    (cache.folder / "0.17.part").write_bytes(b"half a part")  # of a process that was killed while it wrote
    tokens = cache.tokens(images)
    assert seen == [8, 8, 8, 4]
    monkeypatch.setattr(ClassTokenCache, "_compute", compute)
    whole = ClassTokenCache(tmp_path / "whole", model, processor).tokens(images)
    assert all(torch.equal(one, two) for one, two in zip(tokens, whole, strict=True))


def test_a_changed_image_or_clip_or_view_is_computed_anew(splits, loaded, base, tmp_path):
    model, processor = loaded
    cache = ClassTokenCache(tmp_path, model, processor)
    files = [Path(tmp_path / f"{number}.png") for number in range(2)]
    for file, row in zip(files, splits["train"], strict=False):
        row["image"].save(file)
    stored = [{"path": str(file), "bytes": None} for file in files]
    first = cache.tokens(stored)
    files[0].write_bytes(files[1].read_bytes())
    second = cache.tokens(stored)
    assert not torch.equal(first[0], second[0])
    torch.testing.assert_close(second[0], second[1])
    other = LegionForGroundedExplanation.from_pretrained(base)
    with torch.no_grad():
        other.model.vision_tower.embeddings.class_embedding += 1
    assert ClassTokenCache(tmp_path, other, processor).folder != cache.folder
    half = LegionForGroundedExplanation.from_pretrained(base, dtype=torch.bfloat16)
    in_half = ClassTokenCache(tmp_path, half, processor)
    assert in_half.folder != cache.folder
    assert in_half.tokens(stored)[0].dtype == torch.bfloat16
    view = LegionProcessor.from_pretrained(base)
    view.image_processor.image_mean = [0.5, 0.5, 0.5]
    assert ClassTokenCache(tmp_path, model, view).folder != cache.folder


def test_a_damaged_part_is_named(splits, loaded, tmp_path):
    cache = ClassTokenCache(tmp_path, *loaded)
    (cache.folder / "0.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"0.safetensors is damaged .* delete it, and its images are computed again"):
        cache.tokens(stored_images(splits["train"]))


def test_rows_that_do_not_fit_are_left_out_and_reported(loaded, tmp_path, caplog):
    Image.new("RGB", (40, 40), "red").save(tmp_path / "whole.png")
    content = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "half.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.png").write_text("no image")
    columns = {
        "image": [str(tmp_path / f"{name}.png") for name in ("whole", "half", "text", "gone", "whole")] + [None],
        "label": [1, 0, 1, 0, None, 1],
        "id": list("abcdef"),
    }
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["real", "fake"])}
    rows = datasets.Dataset.from_dict(columns, features=datasets.Features(features | {"id": datasets.Value("string")}))
    dataset = ClassTokenDataset(rows, ClassTokenCache(tmp_path, *loaded))
    assert dataset.labels == [1]
    messages = [record.getMessage() for record in caplog.records if "rows:" in record.getMessage()]
    assert messages == [
        "1 of 6 rows: no label, left out (e)",
        "4 of 6 rows: the image is missing or damaged, left out (b, c, d, ...)",
    ]
    with pytest.raises(ValueError, match=r"no row of 1 can be taught: the image is missing or damaged, left out"):
        ClassTokenDataset(rows.select([1]), ClassTokenCache(tmp_path, *loaded))
    with pytest.raises(ValueError, match="no column label: expected image and label"):
        ClassTokenDataset(rows.remove_columns("label"), ClassTokenCache(tmp_path, *loaded))
    swapped = rows.cast_column("label", datasets.ClassLabel(names=["fake", "real"]))
    with pytest.raises(ValueError, match="expected the labels real, fake in this order, got fake, real"):
        ClassTokenDataset(swapped, ClassTokenCache(tmp_path, *loaded))


def test_a_run_that_was_killed_resumes_bit_exactly(splits, recipe, base, tmp_path):
    whole, halves, cache = str(tmp_path / "whole"), str(tmp_path / "halves"), tmp_path / "cache"
    train(splits, recipe, whole, str(base), cache=cache)
    trainer = build_trainer(splits, recipe, halves, str(base), cache)
    trainer.add_callback(Interruption(6))
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert sorted(os.listdir(halves)) == ["checkpoint-4"]
    train(splits, recipe, halves, str(base), resume=True, cache=cache)
    assert_equal_weights(weights_of(whole), weights_of(halves))
    assert len(list(cache.iterdir())) == 1


def test_validation_rows_are_held_out(splits, recipe, base, tmp_path):
    recipe = replace(recipe, data=replace(recipe.data, validation_rows=4))
    trainer = build_trainer({"train": splits["train"]}, recipe, str(tmp_path), str(base))
    assert (len(trainer.train_dataset), len(trainer.eval_dataset)) == (16, 4)


@pytest.mark.slow
def test_two_processes_equal_one(progan, splits, base, tmp_path):
    steps = ("training.max_steps=4", "training.optim=sgd", "training.learning_rate=0.1", "training.max_grad_norm=0")
    # a last batch that is not full would be filled up with images again, and its loss be another
    both = (*QUICK, *steps, "training.per_device_eval_batch_size=3")
    one = detection_recipe(overrides=[*both, "training.per_device_train_batch_size=10"])
    train(splits, one, str(tmp_path / "one"), str(base))
    sets = [part for text in both for part in ("--set", text)]
    arguments = ("--data", str(progan), "--base", str(base), "--output", str(tmp_path / "two"), *sets)
    run = run_command_line("legion-detection", *arguments, processes=2)
    assert run.returncode == 0, run.stderr[-2000:]
    assert_equal_weights(weights_of(tmp_path / "one"), weights_of(tmp_path / "two"), tolerance=1e-6)
    # each process has computed a part of both splits
    (folder,) = (tmp_path / "two" / "class_tokens").iterdir()
    assert len(list(folder.glob("*.safetensors"))) == 4
    results = [json.loads((tmp_path / name / "eval_results.json").read_text()) for name in ("one", "two")]
    for key in ("eval_accuracy", "eval_auc", "eval_loss_detection"):
        assert results[0][key] == pytest.approx(results[1][key], abs=1e-5), key


def test_the_command_line_trains_on_any_corpus_of_labelled_images(progan, base, tmp_path, monkeypatch, capsys):
    test_set = tmp_path / "sets" / "biggan"
    shutil.copytree(progan / "progan_train" / "cat", test_set)
    shutil.copytree(progan, tmp_path / "data")
    arguments = ["--data", str(tmp_path / "data"), "--base", str(base), "--output", str(tmp_path / "out")]
    arguments += [part for text in (*QUICK, "training.max_steps=4") for part in ("--set", text)]
    assert command_line(monkeypatch, "legion-detection", *arguments, "--cache", str(tmp_path / "cache")) == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.startswith("validation (verdicts at 0.5): accuracy ")
    assert list((tmp_path / "cache").iterdir())


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
