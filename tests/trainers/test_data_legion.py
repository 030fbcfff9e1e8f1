"""Rows and batches of LEGION's stage 1."""

import logging

import datasets
import numpy as np
import pytest
import torch
from legion_runs import RECORDS, caption_of, load_synthscars, picture, tiny_recipe
from PIL import Image

from forgescope.datasets_scripts.load import load_corpus
from forgescope.trainers.base_legion import build_processor
from forgescope.trainers.data_legion import LegionCollator, LegionDataConfig, LegionDataset, grounded_rows

TEXT = datasets.Value("string")
FEATURES = datasets.Features(
    {
        "image": datasets.Image(),
        "id": TEXT,
        "caption": TEXT,
        "regions": datasets.List({"sentence": TEXT, "explanation": TEXT, "mask": datasets.Image(mode="L")}),
    }
)


def mask_of(*sides, size=(8, 6)):
    """A mask of a rectangle (left, top, right, bottom)."""
    pixels = np.zeros(size[::-1], np.uint8)
    left, top, right, bottom = sides
    pixels[top:bottom, left:right] = 255
    return Image.fromarray(pixels)


def rows_of(*rows):
    """Dataset of (caption, sentences) pairs with ids a, b, c, ...; region number n has n + 1 columns of pixels."""
    columns = {
        "image": [Image.new("RGB", (8, 6)) for _ in rows],
        "id": list("abcdefghij"[: len(rows)]),
        "caption": [caption for caption, _ in rows],
        "regions": [
            [
                {"sentence": sentence, "explanation": "", "mask": mask_of(0, 0, number + 1, 6)}
                for number, sentence in enumerate(sentences)
            ]
            for _, sentences in rows
        ],
    }
    return datasets.Dataset.from_dict(columns, features=FEATURES)


def test_texts_and_masks_go_together_in_the_order_of_the_caption():
    rows = rows_of(("An eye: odd. A hand: fused.", ["A hand", "An eye", "A foot"]))
    dataset = LegionDataset(rows)
    example = dataset[0]
    assert example["text"] == "<p> An eye </p> [SEG]: odd. <p> A hand </p> [SEG]: fused."
    assert example["masks"].shape == (2, 6, 8)
    assert example["masks"].dtype == np.uint8
    # the second sentence comes first, and the third is not in the caption
    assert example["masks"].sum(axis=(1, 2)).tolist() == [2 * 6, 1 * 6]
    assert set(np.unique(example["masks"])) == {0, 1}


def test_repeated_phrases_get_places_of_their_own_unless_first_places_are_asked_for():
    rows = rows_of(("The left hand:a.The left:b.", ["The left", "The left hand"]))
    assert LegionDataset(rows)[0]["text"] == "<p> The left hand </p> [SEG]:a.<p> The left </p> [SEG]:b."
    assert LegionDataset(rows)[0]["masks"].sum(axis=(1, 2)).tolist() == [12, 6]
    twice = rows_of(("The left hand:a.The left hand:b.", ["The left hand", "The left hand"]))
    assert LegionDataset(twice)[0]["text"] == "<p> The left hand </p> [SEG]:a.<p> The left hand </p> [SEG]:b."
    published = LegionDataset(twice, first_places=True)[0]
    assert published["text"] == "<p> <p> The left  </p> [SEG]hand </p> [SEG]:a.The left hand:b."
    assert len(published["masks"]) == 2


def test_rows_that_do_not_fit_are_left_out_and_reported(caplog):
    rows = rows_of(
        ("An eye: odd.", ["An eye"]),
        ("An eye: odd.", []),
        ("", ["An eye"]),
        (None, ["An eye"]),
        ("An eye: odd.", ["A hand"]),
        ("<p> An eye </p>: odd.", ["An eye"]),
        ("An eye: odd.", ["An eye", None, "A hand"]),
    )
    with caplog.at_level(logging.WARNING):
        taught = grounded_rows(rows)
    assert taught.kept == [0, 6]
    assert taught.orders == [[0], [0]]
    assert [record.getMessage() for record in caplog.records] == [
        "2 of 7 rows: no caption, left out (c, d)",
        "1 of 7 rows: no region whose sentence is in the caption, left out (e)",
        "1 of 7 rows: no region, left out (b)",
        "1 of 7 rows: regions whose sentence has no place in the caption, left out (g)",
        "1 of 7 rows: the caption or a sentence has tags, left out (f)",
    ]
    dataset = LegionDataset(rows)
    assert (len(dataset), dataset.names) == (2, ["a", "g"])


def test_no_row_left_says_why():
    with pytest.raises(ValueError, match=r"no row of 2 can be taught: no region, left out \(2\)"):
        LegionDataset(rows_of(("An eye.", []), ("An eye.", [])))
    with pytest.raises(ValueError, match="no row of 0 can be taught: there are none"):
        LegionDataset(rows_of())


def test_other_data_are_refused(legion_folder):
    with pytest.raises(
        ValueError, match=r"no column caption: expected image, caption and regions with sentence and m"
    ):
        LegionDataset(rows_of(("An eye.", ["An eye"])).remove_columns(["caption"]))
    for config, missing in (("union", "regions.mask"), ("per_ref", "regions")):
        rows = load_corpus("synthscars", legion_folder, config=config, split="train")
        with pytest.raises(ValueError, match=f"no column {missing}: .* as the configuration grounded of the corpus"):
            LegionDataset(rows)


@pytest.mark.parametrize(("mask", "found"), [(mask_of(0, 0, 1, 1, size=(6, 8)), "6 x 8"), (None, "missing")])
def test_masks_of_another_size_are_refused(mask, found):
    rows = rows_of(("An eye.", ["An eye"])).to_list()
    rows[0]["regions"][0]["mask"] = mask
    dataset = LegionDataset(datasets.Dataset.from_list(rows, features=FEATURES))
    with pytest.raises(
        ValueError, match=f"image a is 8 x 6, the mask of a region {found}: expected masks of the image"
    ):
        dataset[0]


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="data.validation_rows must be at least 1, got 0"):
        LegionDataConfig(validation_rows=0)
    with pytest.raises(ValueError, match=r"data.longest_edge must be at least 1 \(or null\), got 0"):
        LegionDataConfig(longest_edge=0)


def test_a_batch_is_what_the_processor_makes(legion_folder, legion_tokenizer):
    processor = build_processor(tiny_recipe(legion_tokenizer))
    dataset = LegionDataset(load_synthscars(legion_folder))
    assert dataset.names == list("012345")
    batch = LegionCollator(processor)([dataset[0], dataset[1]])
    images, texts = [picture(0), picture(1)], [dataset[index]["text"] for index in (0, 1)]
    for text, artifacts in zip(texts, RECORDS, strict=True):
        assert text.count("[SEG]") == len(artifacts)
        plain = text.replace("<p> ", "").replace(" </p> [SEG]", "")
        assert plain == caption_of(artifacts)
    expected = processor.training_inputs(images, texts, masks=[dataset[index]["masks"] for index in (0, 1)])
    assert batch.keys() == expected.keys()
    for name in ("input_ids", "labels", "attention_mask", "pixel_values", "grounding_pixel_values", "grounding_sizes"):
        assert torch.equal(batch[name], expected[name]), name
    assert [one.shape for one in batch["masks"]] == [(2, 64, 64), (1, 64, 64)]
    assert (batch["input_ids"] == processor.seg_token_id).sum(dim=1).tolist() == [2, 1]


def test_the_view_of_sam_may_be_smaller(legion_folder, legion_tokenizer):
    processor = build_processor(tiny_recipe(legion_tokenizer))
    row = LegionDataset(load_synthscars(legion_folder))[0]
    batch = LegionCollator(processor, longest_edge=32)([row])
    assert batch["grounding_sizes"].tolist() == [[32, 32]]
    assert batch["grounding_pixel_values"].shape == (1, 3, 64, 64)
    assert not batch["grounding_pixel_values"][..., 32:].any()
    assert batch["masks"][0].shape == (2, 64, 64)
    with pytest.raises(ValueError, match="expected a longest_edge of 1 to 64 pixels"):
        LegionCollator(processor, longest_edge=65)([row])
