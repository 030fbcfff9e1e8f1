import shutil
from dataclasses import replace

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from training_runs import KINDS, write_gamma_folder

from forgescope.datasets_scripts.features import load_forgery_folder
from forgescope.processing.image_processing_forgery import ForgeryImageProcessor
from forgescope.trainers.augmentation_cnndetection import CNNDetectionAugmentation
from forgescope.trainers.data_gamma import EpochSubsetSampler, GammaCollator, GammaDataset
from forgescope.trainers.rows_gamma import GammaDataConfig

SMALL = GammaDataConfig(crop_size=64)


@pytest.fixture(scope="module")
def rows(gamma_folder):
    return load_forgery_folder(gamma_folder, "train")


def memory_rows(count=2, **columns):
    """A dataset with all columns, 64 x 64 pixels, that tests spoil; a column given as None is left out."""
    image, mask = Image.new("RGB", (64, 64), (9, 9, 9)), Image.new("L", (64, 64), 255)
    given = {
        "image": [image] * count,
        "label": [0] * count,
        "mask": [mask] * count,
        "ai_mask": [mask] * count,
        "id": [f"row-{index}" for index in range(count)],
    } | columns
    features = {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=["real", "fake"]),
        "mask": datasets.Image(mode="L"),
        "ai_mask": datasets.Image(mode="L"),
        "manipulation_mask": datasets.Image(mode="L"),
        "id": datasets.Value("string"),
        "task": datasets.Value("string"),
    }
    kept = {name: values for name, values in given.items() if values is not None}
    return datasets.Dataset.from_dict(kept, features=datasets.Features({name: features[name] for name in kept}))


def test_labels_and_masks_are_those_of_table_1(rows):
    dataset = GammaDataset(rows, replace(SMALL, crop_size=96))
    for index, task in enumerate(rows["task"][:]):
        label, ai = KINDS[task]
        item = dataset[index]
        assert item["label"] == label, task
        altered = item["manipulation_mask"] == 1
        assert altered.any() == (task != "authentic"), task
        expected = {"none": np.zeros_like(altered), "mask": altered, "frame": np.ones_like(altered)}[ai]
        assert np.array_equal(item["ai_mask"] == 1, expected), task
        assert not (item["ai_mask"] == 255).any(), "enlarged to the crop, so no border is inside the central window"


def test_evaluation_takes_the_central_window_as_it_is(rows):
    item = GammaDataset(rows, SMALL)[3]
    assert np.array_equal(item["image"], rows[3]["image"].crop((8, 8, 72, 72)))
    assert np.array_equal(item["manipulation_mask"], np.asarray(rows[3]["mask"])[8:72, 8:72] > 0)


def test_training_windows_keep_image_and_masks_together(rows):
    geometry_only = CNNDetectionAugmentation(blur_probability=0, jpeg_probability=0, jitter_probability=0)
    dataset = GammaDataset(rows, SMALL, geometry_only, seed=4)
    borders = 0
    for index in range(len(dataset)):
        item = dataset[index]
        pixels, mask = np.asarray(item["image"]), item["manipulation_mask"]
        inside = mask != 255
        if rows[index]["task"] != "authentic":
            assert np.array_equal((pixels == 128).all(axis=-1), mask == 1)
        assert not pixels[~inside].any()
        assert np.array_equal(inside, item["ai_mask"] != 255)
        borders += not inside.all()
    assert borders


def test_the_draw_depends_on_seed_epoch_and_position_only(rows):
    dataset = GammaDataset(rows, SMALL, CNNDetectionAugmentation(), seed=5)
    first = np.asarray(dataset[2]["image"])
    assert np.array_equal(first, dataset[2]["image"])
    dataset.set_epoch(1)
    assert not np.array_equal(first, dataset[2]["image"])
    dataset.set_epoch(0)
    assert np.array_equal(first, dataset[2]["image"])
    assert not np.array_equal(first, GammaDataset(rows, SMALL, CNNDetectionAugmentation(), seed=6)[2]["image"])


def test_batches_hold_what_the_model_takes(rows):
    dataset = GammaDataset(rows, SMALL, CNNDetectionAugmentation())
    processor = ForgeryImageProcessor(do_resize=False, smallest_edge=64)
    batch = GammaCollator(processor)([dataset[index] for index in (0, 2)])
    assert batch["pixel_values"].shape == (2, 3, 64, 64)
    assert batch["labels"].tolist() == [0, 1]
    assert batch["labels"].dtype == torch.int64
    for name in ("manipulation_mask", "ai_mask"):
        assert batch[name].shape == (2, 64, 64)
        assert batch[name].unique().tolist() in ([0, 1], [0, 1, 255])


def test_a_processor_that_changes_the_crops_is_refused(rows):
    item = GammaDataset(rows, SMALL)[0]
    message = "the image processor makes 128 x 128 pixels of crops of 64 x 64: leave do_resize, smallest_edge"
    for settings in ({"smallest_edge": 128}, {"size_divisor": 128}):
        with pytest.raises(ValueError, match=message):
            GammaCollator(ForgeryImageProcessor(do_resize=False, **settings))([item])


def test_an_epoch_is_a_subset_without_replacement_drawn_from_seed_and_epoch():
    dataset = GammaDataset(memory_rows(100), GammaDataConfig(crop_size=64))
    sampler = EpochSubsetSampler(dataset, 0.1, batch_size=4, seed=1)
    first = list(sampler)
    assert len(first) == len(set(first)) == len(sampler) == 8  # two whole batches of the 10 images
    assert list(sampler) == first
    dataset.set_epoch(1)
    assert set(sampler) != set(first)
    assert list(EpochSubsetSampler(dataset, 0.1, batch_size=4, seed=2)) != list(sampler)
    dataset.set_epoch(0)
    assert list(EpochSubsetSampler(dataset, 0.1, batch_size=4, seed=1)) == first


def test_epochs_reach_every_image_and_small_sets_give_a_batch():
    dataset = GammaDataset(memory_rows(30), GammaDataConfig(crop_size=64))
    sampler = EpochSubsetSampler(dataset, 0.2, batch_size=2)
    seen = set()
    for epoch in range(40):
        dataset.set_epoch(epoch)
        seen |= set(sampler)
    assert seen == set(range(30))
    assert len(EpochSubsetSampler(dataset, 0.1, batch_size=16)) == 3
    assert len(EpochSubsetSampler(dataset, 0.001, batch_size=16)) == 1
    assert sorted(EpochSubsetSampler(dataset, 1.0, batch_size=15)) == list(range(30))


def test_kinds_and_labels_can_be_chosen(rows):
    tasks = ("authentic", "copy_move")
    dataset = GammaDataset(rows, replace(SMALL, tasks=tasks, labels={"copy_move": "fake"}))
    assert set(dataset.rows["task"][:]) == set(tasks)
    assert dataset.labels.tolist() == [int(task == "copy_move") for task in dataset.rows["task"][:]]
    assert not (dataset[1]["ai_mask"] == 1).any(), "the masks stay those of Table 1"
    assert GammaDataset(rows, SMALL).labels.tolist() == rows["label"][:]


def test_the_manipulation_mask_of_a_corpus_wins_over_mask():
    empty = Image.new("L", (64, 64))
    rows = memory_rows(manipulation_mask=[empty, empty])
    assert not GammaDataset(rows, SMALL)[0]["manipulation_mask"].any()


def test_the_training_mix_is_read_as_it_is(tmp_path):
    from forgescope.datasets_scripts.load import load_corpus

    write_gamma_folder(tmp_path / "mix/manipulations/train", 5)
    mix = load_corpus("gamma_mix", tmp_path / "mix", split="train", cache_dir=tmp_path / "cache")
    dataset = GammaDataset(mix, SMALL)
    shares = [
        (item["label"], (item["manipulation_mask"] == 1).mean(), (item["ai_mask"] == 1).mean())
        for item in (dataset[index] for index in range(5))
    ]
    by_task = dict(zip(mix["task"][:], shares, strict=True))
    assert by_task["authentic"] == (0, 0, 0)
    assert by_task["inpainting"][2] == 1
    assert by_task["inpainting_blended"][1] == by_task["inpainting_blended"][2] > 0
    assert by_task["splicing"][1] > by_task["splicing"][2] == 0


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"ai_mask": None}, "the data have no column ai_mask: expected image, label, manipulation_mask"),
        ({"mask": None}, r"the data have no column manipulation_mask or mask: expected"),
        ({"label": [0, None]}, r"image 'row-1' has the label None: GAMMA's classifier needs 0 \(real\) or 1 \(fake\)"),
        ({"label": [0, None], "id": None}, "image number 1 has the label None"),
        ({"label": [0, 1], "ai_mask": [None, None]}, r"image 'row-1' is fake but has no ai_mask \(1 such images\)"),
    ],
)
def test_rows_that_cannot_be_learnt_from_are_named(columns, message):
    with pytest.raises(ValueError, match=message):
        GammaDataset(memory_rows(**columns), SMALL)


def test_masks_of_another_size_are_refused():
    rows = memory_rows(mask=[Image.new("L", (32, 64), 255)] * 2)
    with pytest.raises(ValueError, match="image 'row-1' is 64 x 64, its manipulation_mask 32 x 64: expected masks of"):
        GammaDataset(rows, SMALL)[1]


def test_labels_of_the_other_polarity_are_refused():
    rows = memory_rows().cast_column("label", datasets.ClassLabel(names=["fake", "real"]))
    with pytest.raises(ValueError, match="expected the labels real, fake in this order, got fake, real"):
        GammaDataset(rows, SMALL)


def test_kinds_that_are_not_there_are_named(rows):
    with pytest.raises(ValueError, match="no image is one of data.tasks paintings: the data have authentic, copy_mo"):
        GammaDataset(rows, replace(SMALL, tasks=("paintings",)))
    with pytest.raises(ValueError, match="data.tasks and data.labels need the column task"):
        GammaDataset(memory_rows(), replace(SMALL, tasks=("authentic",)))
    with pytest.raises(ValueError, match="data.tasks and data.labels need the column task"):
        GammaDataset(memory_rows(), replace(SMALL, labels={"copy_move": "fake"}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_size": 100}, "data.crop_size must be a multiple of 32 pixels, got 100"),
        ({"crop_size": 0}, "data.crop_size must be a multiple of 32 pixels, got 0"),
        ({"crop_padding": -1}, "data.crop_padding must be at least 0 pixels, got -1"),
        ({"epoch_fraction": 0.0}, r"data.epoch_fraction must lie in \(0, 1\], got 0.0"),
        ({"labels": {"copy_move": "forged"}}, "data.labels must call kinds of images real or fake, got"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        GammaDataConfig(**changes)


def test_a_folder_without_masks_is_refused(tmp_path):
    write_gamma_folder(tmp_path, 3)
    shutil.rmtree(tmp_path / "ai_mask")
    with pytest.raises(FileNotFoundError, match="files that .*metadata.jsonl names are missing"):
        load_forgery_folder(tmp_path)
