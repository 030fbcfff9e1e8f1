"""Rows, folders and batches of FakeReasoning's trainer."""

import json
import logging

import datasets
import numpy as np
import pytest
import torch
from fakereasoning_runs import answer_of, tiny_recipe
from PIL import Image

from forgescope.processing.chain_of_thought import QUESTION
from forgescope.trainers.answer_folder import load_answer_folder
from forgescope.trainers.base_fakereasoning import build_processor
from forgescope.trainers.data_fakereasoning import FakeReasoningCollator, FakeReasoningDataset, LengthGroupSampler
from forgescope.trainers.held_out import held_out
from forgescope.trainers.rows_fakereasoning import FakeReasoningDataConfig, taught_rows, taught_text

FAKE, REAL = answer_of("fake", "red"), answer_of("real", "red")
CLASSES = datasets.ClassLabel(names=["real", "fake"])


def rows_of(*rows, label=CLASSES):
    """Dataset of (label, answer) pairs, with black images and ids a, b, c, ..."""
    columns = {
        "image": [Image.new("RGB", (4, 4)) for _ in rows],
        "label": [row[0] for row in rows],
        "answer": [row[1] for row in rows],
        "id": list("abcdefghij"[: len(rows)]),
    }
    text = datasets.Value("string")
    features = datasets.Features({"image": datasets.Image(), "label": label, "answer": text, "id": text})
    return datasets.Dataset.from_dict(columns, features=features)


def test_rows_that_do_not_fit_are_left_out_and_reported(caplog):
    truncated = FAKE[: FAKE.index("<CONCLUSION>")]
    undecided = FAKE.replace("This image is fake.", "This image is real or fake.")
    open_tag = REAL.replace("</CAPTION>", "")
    rows = rows_of(
        (1, FAKE),
        (0, FAKE),
        (None, FAKE),
        (1, None),
        (1, " "),
        (1, truncated),
        (1, undecided),
        (0, open_tag),
        (0, REAL),
    )
    with caplog.at_level(logging.WARNING):
        taught = taught_rows(rows, "chain_of_thought")
    assert taught.kept.tolist() == [0, 7, 8]
    assert taught.labels.tolist() == [1, 0, 0]
    assert taught.answers == [FAKE, open_tag, REAL]
    assert taught.questions == [QUESTION] * 3
    reported = [record.getMessage() for record in caplog.records]
    for message in (
        "1 of 9 rows: the conclusion says fake, the label real: left out (b)",
        "1 of 9 rows: no label, left out (c)",
        "2 of 9 rows: no answer, left out (d, e)",
        "1 of 9 rows: CAPTION is not closed (h)",
    ):
        assert message in reported
    assert any(text.startswith("2 of 9 rows: the conclusion is missing or says neither") for text in reported)


def test_no_row_left_says_why():
    with pytest.raises(ValueError, match=r"no row of 3 can be taught: no answer, left out \(2\), no label, left out"):
        taught_rows(rows_of((1, None), (0, None), (None, REAL)), "chain_of_thought")
    with pytest.raises(ValueError, match="no row of 0 can be taught: there are none"):
        taught_rows(rows_of(), "chain_of_thought")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            rows_of((1, FAKE)).remove_columns(["answer"]),
            "the data have no column answer: expected image, answer and l",
        ),
        (
            rows_of((1, FAKE), label=datasets.ClassLabel(names=["fake", "real"])),
            "expected the labels real, fake in this order, got fake, real",
        ),
    ],
)
def test_other_data_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        FakeReasoningDataset(rows)


def test_targets_of_table_4():
    assert taught_text(1, FAKE, "chain_of_thought") == (FAKE, [])
    reasoning = "From low-level perspective: The light is wrong. Therefore, this image is fake."
    assert taught_text(1, FAKE, "reasoning") == (reasoning, [])
    assert taught_text(0, None, "conclusion") == ("This image is real.", [])
    empty = FAKE.replace(reasoning, "")
    assert taught_text(1, empty, "reasoning") == (None, ["no reasoning, left out"])


def test_the_other_wording_of_the_conclusion_is_taught_as_it_is():
    answer = FAKE.replace("This image is fake.", "Based on the analysis above, this image is fake.")
    assert taught_text(1, answer, "chain_of_thought") == (answer, [])
    assert taught_text(0, answer, "chain_of_thought")[0] is None


def test_validation_rows_are_held_out_by_their_id():
    rows = rows_of(*[(index % 2, answer_of(("real", "fake")[index % 2], "blue")) for index in range(10)])
    splits = held_out(rows, 3)
    assert (len(splits["train"]), len(splits["validation"])) == (7, 3)
    chosen = set(splits["validation"]["id"])
    assert not chosen & set(splits["train"]["id"])
    assert set(held_out(rows.select(range(9, -1, -1)), 3)["validation"]["id"]) == chosen
    assert len(held_out(rows, 500)["validation"]) == 5
    with pytest.raises(ValueError, match="cannot hold validation rows out of 1 row"):
        held_out(rows.select([0]), 1)


def test_wrong_settings_are_refused():
    with pytest.raises(
        ValueError, match="data.target must be one of chain_of_thought, reasoning, conclusion, got 'co"
    ):
        FakeReasoningDataConfig(target="cot")
    with pytest.raises(ValueError, match="data.validation_rows must be at least 1, got 0"):
        FakeReasoningDataConfig(validation_rows=0)


def test_a_batch_is_what_the_processor_makes(answer_folder, fakereasoning_tokenizer):
    processor = build_processor(tiny_recipe(fakereasoning_tokenizer))
    dataset = FakeReasoningDataset(load_answer_folder(answer_folder)["train"])
    assert (len(dataset), dataset[1]["label"], dataset[1]["image"].size) == (8, 1, (40, 40))
    batch = FakeReasoningCollator(processor)([dataset[0], dataset[1]])
    answers = [answer_of(label, "red") for label in ("real", "fake")]
    images = [dataset[index]["image"] for index in (0, 1)]
    expected = processor.training_inputs(images, answers, forgery_labels=[0, 1])
    assert batch.keys() == expected.keys()
    assert all(torch.equal(batch[name], expected[name]) for name in batch)
    assert batch["forgery_labels"].tolist() == [0, 1]
    assert (batch["input_ids"] == processor.image_token_id).sum(dim=1).tolist() == [4, 4]
    # answers of both labels and all colours have as many tokens: tests of several processes rely on it
    whole = FakeReasoningCollator(processor)([dataset[index] for index in range(8)])
    assert (whole["labels"] != -100).sum(dim=1).unique().numel() == 1


def test_lengths_are_grouped_and_drawn_by_epoch():
    rows = rows_of(*[(1, answer_of("fake", "red" + " red" * index)) for index in range(10)])
    dataset = FakeReasoningDataset(rows)
    assert dataset.lengths == sorted(dataset.lengths)
    sampler = LengthGroupSampler(dataset, batch_size=2, seed=5)
    first, again = list(sampler), list(sampler)
    assert first == again
    assert sorted(first) == list(range(10))
    dataset.set_epoch(1)
    assert list(sampler) != first
    pairs = np.array(first).reshape(-1, 2)
    # the longest row is swapped to the front, which parts two pairs
    assert np.median(np.abs(pairs[:, 0] - pairs[:, 1])) <= 2


@pytest.mark.parametrize("kept", [2000, 60, 0])
def test_a_damaged_image_is_named(tmp_path, kept):
    answer_lines = [{"file_name": f"{number}.png", "label": "fake", "answer": FAKE} for number in range(2)]
    for line in answer_lines:
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / line["file_name"])
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, answer_lines)))
    dataset = FakeReasoningDataset(load_answer_folder(tmp_path)["train"])
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:kept])
    assert dataset[0]["image"].size == (64, 64)
    with pytest.raises(ValueError, match=r"image 1.png cannot be read: .*; leave it out of the data"):
        dataset[1]


def test_folders_are_read_with_and_without_splits(answer_folder):
    splits = load_answer_folder(answer_folder)
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 8, "validation": 4}
    rows = load_answer_folder(answer_folder / "train")["train"]
    assert rows["label"][:4] == [0, 1, 0, 1]
    assert rows[1]["id"] == "fake-1"
    assert rows[1]["question"] is None


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        (None, FileNotFoundError, r"metadata.jsonl does not exist: expected \{.*with --corpus, such as mmfr"),
        ("", ValueError, "holds no answers: expected"),
        ('{"file_name": "0.png", "label": 1}', ValueError, "holds no answers: expected"),
        ("[1", ValueError, "line 1 is not JSON"),
        ('{"answer": "x"}', ValueError, "line 1 has no file_name"),
        ('{"file_name": "9.png"}', FileNotFoundError, "line 1 names .*9.png, which does not exist"),
        (
            '{"file_name": "0.png", "label": "false"}',
            ValueError,
            "has label 'false': expected 0, 1, real, fake or null",
        ),
        ('{"file_name": "0.png", "answer": 3}', ValueError, "line 1 has no text as answer"),
    ],
)
def test_broken_folders_are_refused(tmp_path, line, error, message):
    Image.new("RGB", (4, 4)).save(tmp_path / "0.png")
    if line is not None:
        (tmp_path / "metadata.jsonl").write_text(line + "\n")
    with pytest.raises(error, match=message):
        load_answer_folder(tmp_path)


def test_an_answer_may_hold_any_line_separator(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "0.png")
    answer = FAKE + "\u2028more\u0085and more"
    line = json.dumps({"file_name": "0.png", "label": "fake", "answer": answer}, ensure_ascii=False)
    (tmp_path / "metadata.jsonl").write_bytes(f"{line}\n".encode())
    assert load_answer_folder(tmp_path)["train"]["answer"][:] == [answer]


def test_bytes_that_are_no_utf_8_are_refused(tmp_path):
    (tmp_path / "metadata.jsonl").write_bytes('{"file_name": "0.png", "answer": "caf\u00e9"}\n'.encode("latin-1"))
    with pytest.raises(ValueError, match=r"line 1 is not JSON \('utf-8' codec can't decode byte 0xe9"):
        load_answer_folder(tmp_path)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a folder: expected one with metadata.jsonl"):
        load_answer_folder(tmp_path / "none")


def test_labels_may_be_names_or_missing(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "0.png")
    lines = [{"file_name": "0.png", "label": label, "answer": FAKE} for label in ("fake", 0, None)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    rows = load_answer_folder(tmp_path)["train"]
    assert rows["label"][:] == [1, 0, None]
    assert rows["id"][:] == ["0.png"] * 3
