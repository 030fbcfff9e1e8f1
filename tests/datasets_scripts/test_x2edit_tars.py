import json
from pathlib import Path

import pytest
from promptforge_layout import notes_of, picture, tar_of, write, x2edit_members
from three_ways import assert_three_ways_equal

from forgescope.datasets_scripts.load import load_corpus
from forgescope.datasets_scripts.x2edit_tars import subset_and_name


def grey(image) -> int:
    return image.convert("L").getpixel((0, 0))


def write_tar(data: Path, name: str, *edits) -> Path:
    return write(data / name, tar_of([member for edit in edits for member in edit]))


def task(name: str, **fields) -> dict:
    return {"task": name, "instruction": "Do it.", **fields}


def test_pairs_of_two_subsets(tmp_path):
    data = tmp_path / "X2Edit_data"
    first = task("Subject Addition ", instruction_en="Add a cat.", score_7b="[4, 5]", model="BAGEL", width=512)
    write_tar(data, "bagel/0/00000.tar", x2edit_members(0, first), x2edit_members(1, source=".1.jpg"))
    write_tar(data, "step1x-edit/3/00007.tar", x2edit_members(2, task("动作更改", score_7b="n/a"), source="..1.0.jpg"))
    dataset = assert_three_ways_equal("promptforge", data, tmp_path, "x2edit")["train"]
    assert dataset["id"] == [
        "x2edit-bagel/0/00000/000000000",
        "x2edit-bagel/0/00000/000000001",
        "x2edit-step1x/3/00007/000000002",
    ]
    assert dataset["source"] == ["x2edit-bagel", "x2edit-bagel", "x2edit-step1x"]
    assert dataset["task"] == ["object_addition", "object_addition", "pose_change"]
    assert dataset["source_task"] == ["Subject Addition ", "subject_addition", "动作更改"]
    assert dataset["instruction"] == ["Do it.", "加一只猫", "Do it."]
    assert dataset["instruction_en"] == ["Add a cat.", "Add a cat.", None]
    assert dataset["score_7b"] == [[4, 5], None, None]
    assert dataset["mask"] == [None] * 3
    assert set(dataset["label"]) == {1}
    for number, row in enumerate(dataset):
        assert (grey(row["image"]), row["image"].size) == (number + 100, (16, 12))
        assert (grey(row["original"]), row["original"].size) == (number, (18, 12))
    notes = notes_of("promptforge", data, tmp_path, "x2edit")
    assert dict(notes.counts) == {"score that is no list of numbers": 1}


def test_appended_tars_are_read_to_the_end_and_the_first_of_a_name_is_used(tmp_path):
    again = [(name, picture(77, form="JPEG") if name.endswith("jpg") else data) for name, data in x2edit_members(0)]
    parts = [tar_of([*x2edit_members(0), *x2edit_members(1)]), tar_of([*again, *x2edit_members(2)])]
    write(tmp_path / "data" / "X2Edit_data/gpt4o/0/00000.tar", b"".join(parts))
    dataset = assert_three_ways_equal("promptforge", tmp_path / "data", tmp_path, "x2edit")["train"]
    assert [grey(image) for image in dataset["image"]] == [100, 101, 102]
    notes = notes_of("promptforge", tmp_path / "data", tmp_path, "x2edit")
    assert dict(notes.counts) == {"duplicate member, the first is used": 4}


def test_one_tar_outside_of_the_releases_folders(tmp_path):
    twice = tar_of([*x2edit_members(0, task("color_change", model="Kontext")), *x2edit_members(0)])
    path = write(tmp_path / "mine" / "part.tar", twice)
    dataset = assert_three_ways_equal("promptforge", path, tmp_path, "x2edit")["train"]
    assert dataset["id"] == ["x2edit-kontext/part/000000000"]
    assert dataset["task"] == ["object_state_conversion"]
    assert notes_of("promptforge", path, tmp_path, "x2edit").counts == {"duplicate member, the first is used": 4}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a/X2Edit_data/kontext/0/00000.tar", ("kontext", "0/00000")),
        ("/lama/b/kontext/1.tar", ("kontext", "1")),
        ("/a/X2Edit_data/newmodel/0/2.tar", ("newmodel", "0/2")),
        ("/a/x/y/3.v2.tar", (None, "x/y/3.v2")),
    ],
)
def test_subset_comes_from_the_folders(path, expected):
    assert subset_and_name(Path(path), Path("/a" if path.startswith("/a") else "/")) == expected


NAMES = ("subject_deletion", "style_change", "reasoning", "subject_deletoin", None)


def test_edits_that_are_not_local_are_left_out_and_counted(tmp_path):
    edits = [x2edit_members(number, task(name)) for number, name in enumerate(NAMES)]
    write_tar(tmp_path / "data", "kontext/0/0.tar", *edits)
    dataset = load_corpus("promptforge", tmp_path / "data", "x2edit", "train", cache_dir=tmp_path / "cache")
    assert dataset["source_task"] == ["subject_deletion"]
    notes = notes_of("promptforge", tmp_path / "data", tmp_path, "x2edit")
    assert dict(notes.counts) == {
        "edit of global task, left out": 1,
        "edit of ambiguous task, left out": 1,
        "edit of unknown task, left out": 2,
    }
    assert notes.examples["edit of unknown task, left out"][0] == "x2edit-kontext/0/0/000000003: subject_deletoin"
    every = assert_three_ways_equal("promptforge", tmp_path / "data", tmp_path, "x2edit", tasks="all")["train"]
    assert every["source_task"] == list(NAMES)
    assert every["task"] == ["object_removal", None, None, None, None]


@pytest.mark.parametrize("empty", ["", "  \n", "None", "无", None])
def test_empty_instructions_are_counted_and_skipped_or_kept(tmp_path, empty):
    metadata = {"task": "subject_addition", "instruction": empty, "instruction_en": empty}
    write_tar(tmp_path / "data", "bagel/0/0.tar", x2edit_members(0, metadata, text=empty), x2edit_members(1))
    dataset = load_corpus("promptforge", tmp_path / "data", "x2edit", "train", cache_dir=tmp_path / "cache")
    assert len(dataset) == 1
    kept = load_corpus("promptforge", tmp_path / "data", "x2edit", "train", streaming=True, empty_instructions="keep")
    assert [row["instruction"] for row in kept] == [None, "加一只猫"]
    notes = notes_of("promptforge", tmp_path / "data", tmp_path, "x2edit")
    assert notes.examples == {"empty instruction": ["x2edit-bagel/0/0/000000000: skip"]}


def test_an_empty_field_falls_back_to_the_text_file_and_other_languages(tmp_path):
    written = x2edit_members(0, task("text_change", instruction="None"), text=" from the file \n")
    other = x2edit_members(1, {"task": "text_change", "instruction_en": "in English"}, text="")
    write_tar(tmp_path / "data", "bagel/0/0.tar", written, other)
    dataset = load_corpus("promptforge", tmp_path / "data", "x2edit", "train", streaming=True)
    assert [row["instruction"] for row in dataset] == ["from the file", "in English"]


def test_broken_and_missing_members_are_counted(tmp_path):
    data = tmp_path / "data"
    no_edited = [member for member in x2edit_members(0) if ".2." not in member[0]]
    empty_image = [(name, b"" if ".2." in name else content) for name, content in x2edit_members(1)]
    no_json = [member for member in x2edit_members(4) if not member[0].endswith("json")]
    two_sources = [*x2edit_members(5), ("000000005..1.0.jpg", picture(50, form="JPEG"))]
    mask = [*x2edit_members(6), ("000000006.1.1.jpg", picture(255, form="JPEG")), ("readme", b"?")]
    write_tar(
        data,
        "textflux/0/0.tar",
        no_edited,
        empty_image,
        x2edit_members(2, source=None),
        x2edit_members(3, "{broken"),
        no_json,
        two_sources,
        mask,
    )
    write(data / "textflux/0/1.tar", b"this is no tar" * 100)
    write(data / "textflux/0/2.tar", b"")
    whole = tar_of([*x2edit_members(7), *x2edit_members(8)])
    write(data / "textflux/0/3.tar", whole[: len(tar_of(x2edit_members(7))) // 2])
    dataset = assert_three_ways_equal("promptforge", data, tmp_path, "x2edit", tasks="all")["train"]
    assert [int(row_id[-1]) for row_id in dataset["id"]][:5] == [2, 3, 4, 5, 6]
    assert dataset["original"][0] is None
    assert grey(dataset["original"][3]) == 50
    assert dataset["source_task"][:3] == ["subject_addition", None, None]
    assert dataset["instruction"][1] == "do it"
    notes = notes_of("promptforge", data, tmp_path, "x2edit", tasks="all")
    wanted = {
        "edit without its edited image": 1,
        "empty file": 1,
        "edit without its original, kept": 1,
        "metadata that cannot be read": 1,
        "edit without metadata": 1,
        "image or text of an edit under two names, the first is used": 1,
        "member that is no part of an edit": 1,
    }
    assert {kind: notes.counts[kind] for kind in wanted} == wanted
    assert notes.examples["empty file"][0].startswith("x2edit-textflux/0/0/000000001: 000000001.2.jpg")
    assert any("1.tar" in example for example in notes.examples["archive that cannot be read"])


def test_metadata_may_be_of_any_form(tmp_path):
    odd = json.dumps({"task": 3, "instruction": ["a"], "score_7b": [1, 2.5], "instruction_en": 7})
    write_tar(tmp_path / "data", "bagel/0/0.tar", x2edit_members(0, odd), x2edit_members(1, "[1]"))
    dataset = load_corpus("promptforge", tmp_path / "data", "x2edit", "train", streaming=True, tasks="all")
    rows = list(dataset)
    assert [row["source_task"] for row in rows] == [None, None]
    assert [row["instruction"] for row in rows] == ["do it", "do it"]
    assert [row["score_7b"] for row in rows] == [[1.0, 2.5], None]
