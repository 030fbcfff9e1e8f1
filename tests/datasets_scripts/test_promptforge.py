import numpy as np
import pytest
from archives_layout import write_zip
from promptforge_layout import annotated_row, mask_png, notes_of, picture, write, write_lines
from three_ways import assert_three_ways_equal

from forgescope.datasets_scripts.features import is_validation_key, promptforge_split
from forgescope.datasets_scripts.json_lines import line_ranges
from forgescope.datasets_scripts.load import load_corpus
from forgescope.datasets_scripts.named_files import locate
from forgescope.datasets_scripts.promptforge import PromptForge


def grey(image) -> int:
    return image.convert("L").getpixel((0, 0))


def test_folders_of_splits(tmp_path):
    data = tmp_path / "data"
    for split, numbers in (("train", (0, 1, 2)), ("test", (5,))):
        write_lines(data / split / "metadata.jsonl", [annotated_row(number, data / split) for number in numbers])
    write_lines(data / "metadata.jsonl", ["{}"])
    dataset = assert_three_ways_equal("promptforge", data, tmp_path)
    assert {split: rows.num_rows for split, rows in dataset.items()} == {"train": 3, "test": 1}
    row = dataset["test"][0]
    assert list(row)[:6] == ["image", "label", "mask", "id", "source", "original"]
    assert dataset["test"].features["label"].int2str(row["label"]) == "fake"
    assert (grey(row["image"]), grey(row["original"])) == (5, 105)
    assert row["mask"].mode == "L"
    assert row["mask"].size == (8, 8)
    assert np.unique(np.asarray(row["mask"])).tolist() == [0, 1]
    assert np.asarray(row["mask"]).sum() == 6 * 8
    expected = {
        "id": "pair-5",
        "source": "x2edit-bagel",
        "task": "object_removal",
        "source_task": "Subject Deletion",
        "instruction": "remove it",
        "instruction_en": "remove it",
        "inlier_ratio": 0.75,
        "num_matches": 45,
        "affine": [1, 0, 2.5, 0, 1, -3],
        "crop": [0, 1, 15, 11],
    }
    assert {name: row[name] for name in expected} == expected
    assert notes_of("promptforge", data, tmp_path).examples == {
        "metadata.jsonl beside folders of splits, not read": ["metadata.jsonl"]
    }


def test_one_metadata_file_is_cut_by_the_hash_of_the_id(tmp_path):
    data = tmp_path / "data"
    first = annotated_row(3, data)
    write_lines(data / "metadata.jsonl", [first | {"id": f"pair-{number}"} for number in range(150)])
    dataset = assert_three_ways_equal("promptforge", data, tmp_path)
    for split, rows in dataset.items():
        assert rows["id"] == [f"pair-{n}" for n in range(150) if promptforge_split(f"pair-{n}") == split]
    assert dataset["train"].num_rows + dataset["test"].num_rows == 150
    assert 0 < dataset["test"].num_rows < 15
    prepared = load_corpus("promptforge", data, split="train", num_proc=2, cache_dir=tmp_path / "two")
    assert prepared["id"] == dataset["train"]["id"]


def test_the_cut_is_95_to_5_and_independent_of_the_validation_tenth():
    keys = [str(number) for number in range(20_000)]
    test = {key for key in keys if promptforge_split(key) == "test"}
    assert len(test) == pytest.approx(1000, abs=100)
    assert sum(map(is_validation_key, test)) == pytest.approx(100, abs=30)
    assert promptforge_split("pair-0") == promptforge_split("pair-0")


def test_bad_rows_are_counted_and_the_rest_is_read(tmp_path):
    data = tmp_path / "data" / "train"
    good = annotated_row(1, data)
    write(data / "empty.png", b"")
    write(data / "text.jpg", b"no image at all")
    write(data / "colour.png", b"")
    rgb = np.zeros((4, 4, 3), np.uint8)
    rgb[0, 0] = (9, 0, 0)
    write(data / "colour.png", mask_png(rgb, "RGB"))
    rows = [
        "﻿" + '{"id": "marked", ' + str(good).replace("'", '"')[1:],
        good | {"id": "no file", "file_name": "images/none.png"},
        "{broken",
        "[1, 2]",
        "",
        {"id": "nothing"},
        good | {"id": "empty", "file_name": "empty.png"},
        good | {"id": "text", "file_name": "text.jpg"},
        good | {"id": "no mask", "mask_file_name": None},
        good | {"id": "lost mask", "mask_file_name": "masks/none.png"},
        good | {"id": "colour mask", "mask_file_name": "colour.png"},
        good | {"id": "real", "label": "real"},
        good | {"id": "odd", "task": "dancing", "affine": [1, 2], "crop": "all", "num_matches": "40"},
        good | {"id": "alone", "original_file_name": "../gone.png", "task": "Object Removal"},
    ]
    write_lines(data / "metadata.jsonl", rows)
    dataset = assert_three_ways_equal("promptforge", data.parent, tmp_path)["train"]
    assert dataset["id"] == ["pair-1", "odd", "alone"]
    odd, alone = dataset[1], dataset[2]
    assert [odd[name] for name in ("task", "affine", "crop", "num_matches")] == [None] * 4
    assert (alone["original"], alone["task"]) == (None, "object_removal")
    notes = notes_of("promptforge", data.parent, tmp_path)
    assert dict(notes.counts) == {
        "missing file": 2,
        "line that is not JSON": 1,
        "malformed line, no object": 1,
        "line without file_name": 1,
        "empty file": 1,
        "not an image": 1,
        "edit without mask_file_name, left out": 1,
        "mask that cannot be read, left out": 2,
        "row labelled real, left out": 1,
        "task that is none of the eight, left empty": 1,
        "affine of another form, left empty": 1,
        "crop of another form, left empty": 1,
        "num_matches of another form, left empty": 1,
        "edit without its original, kept": 1,
    }
    assert notes.examples["line that is not JSON"][0].startswith("train/metadata.jsonl line 3: ")
    assert notes.examples["line without file_name"] == ["train/metadata.jsonl line 6: its fields: id"]


def test_broken_lines_of_a_file_cut_by_hash_are_counted_once(tmp_path):
    data = tmp_path / "data"
    write_lines(data / "metadata.jsonl", [annotated_row(1, data), "{broken", {"id": "nothing"}])
    counts = notes_of("promptforge", data, tmp_path).counts
    assert counts == {"line that is not JSON": 1, "line without file_name": 1}


def test_missing_and_empty_folder_and_bad_options(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist: expected <split>/metadata.jsonl"):
        load_corpus("promptforge", tmp_path / "nowhere")
    for config in ("annotated", "x2edit", "pico_banana"):
        with pytest.raises(FileNotFoundError, match="holds no PromptForge-350k: expected"):
            load_corpus("promptforge", tmp_path, config, cache_dir=tmp_path / "cache")
    write(tmp_path / "0.tar", b"")
    with pytest.raises(ValueError, match="unknown value 'some': expected one of paper, all"):
        load_corpus("promptforge", tmp_path, "x2edit", tasks="some", streaming=True)
    with pytest.raises(ValueError, match="unknown value 'drop': expected one of skip, keep"):
        load_corpus("promptforge", tmp_path, "x2edit", empty_instructions="drop", streaming=True)


def test_ranges_cover_every_line_once(tmp_path):
    write(tmp_path / "a.jsonl", "".join(f"{number}\n" for number in range(130)) + "last without end")
    files = PromptForge(data_dir=str(tmp_path), cache_dir=str(tmp_path / "cache")).files
    ranges = line_ranges(files, "a.jsonl", keep=lambda number, line: number != 5)
    assert len(ranges) <= 64
    covered = [number for part in ranges for number in range(part.first, part.first + part.lines)]
    assert covered == list(range(1, 132))
    assert {number for part in ranges for number in part.left_out} == {5}
    assert line_ranges(files, "a.jsonl", pieces=1)[0].lines == 131


def test_paths_may_be_absolute_and_use_backslashes(tmp_path):
    inside = write(tmp_path / "data" / "a" / "in.png", picture(1))
    outside = write(tmp_path / "other" / "out.png", picture(2))
    files = PromptForge(data_dir=str(tmp_path / "data"), cache_dir=str(tmp_path / "cache")).files
    assert locate(files, "a/b", "..\\in.png") == (files, "a/in.png")
    assert locate(files, "", str(inside)) == (files, "a/in.png")
    reader, name = locate(files, "", str(outside))
    assert name in reader
    assert reader.read(name) == picture(2)
    assert reader.open(name).read(1) == b"\x89"
    assert reader.local_path(name) == str(outside)
    gone, name = locate(files, "", "/nowhere/at/all.png")
    assert name not in gone


def test_an_archive_is_read_as_a_folder(tmp_path):
    data = tmp_path / "data"
    write_lines(data / "train" / "metadata.jsonl", [annotated_row(number, data / "train") for number in range(3)])
    names = {path.relative_to(data).as_posix(): path.read_bytes() for path in data.rglob("*") if path.is_file()}
    archive = write_zip(tmp_path / "zipped" / "pairs.zip", names)
    dataset = assert_three_ways_equal("promptforge", archive, tmp_path)["train"]
    assert [grey(image) for image in dataset["original"]] == [100, 101, 102]
