import pytest
from promptforge_layout import notes_of, pico_row, picture, write, write_lines
from three_ways import assert_three_ways_equal

from forgescope.datasets_scripts.load import load_corpus


def grey(image) -> int:
    return image.convert("L").getpixel((0, 0))


def write_edit(data, number: int, **changes) -> dict:
    row = pico_row(number, **changes)
    write(data / row["output_image"], picture(number))
    write(data / f"openimages/train_0/{number}_abc_o.jpg", picture(number + 100))
    return row


@pytest.mark.parametrize("images_below", ["", "nb/"])
def test_pairs_are_found_by_output_image_and_by_the_urls_file_name(tmp_path, images_below):
    data = tmp_path / "data"
    rows = [write_edit(data / images_below, number) for number in (3, 1, 2)]
    write(data / "images/negative/1.png", picture(200))
    write_lines(data / "jsonl/sft.jsonl", rows)
    write_lines(data / "jsonl/preference.jsonl", [{"other": 1}])
    write_lines(data / "jsonl/multi-turn.jsonl", [{"files": []}])
    write_lines(data / "metadata.jsonl", [{"file_name": "a.png"}])
    dataset = assert_three_ways_equal("promptforge", data, tmp_path, "pico_banana")["train"]
    assert dataset["id"] == [f"pico-banana/images/positive-edit/{number}.png" for number in (3, 1, 2)]
    assert [grey(image) for image in dataset["image"]] == [3, 1, 2]
    assert [grey(image) for image in dataset["original"]] == [103, 101, 102]
    assert set(dataset["source"]) == {"pico-banana"}
    assert dataset["task"] == ["object_removal"] * 3
    assert dataset["source_task"] == ["Remove an existing object"] * 3
    assert dataset["instruction"][0] == dataset["instruction_en"][0] == "Remove the lamp 3 from the table."
    assert dataset["summarized_text"][0] == "Remove the lamp."
    assert dataset["mask"] == [None] * 3
    notes = notes_of("promptforge", data, tmp_path, "pico_banana")
    assert notes.examples == {
        "JSON Lines of another form, not read": ["jsonl/multi-turn.jsonl", "jsonl/preference.jsonl", "metadata.jsonl"]
    }


def test_mapped_source_images_are_preferred(tmp_path):
    data = tmp_path / "data"
    outside = write(tmp_path / "elsewhere" / "0a1b.jpg", picture(222))
    write(data / "openimage_source_images/train_1/ffee.jpg", picture(111))
    rows = [
        write_edit(data, 1, local_input_image=str(outside)),
        write_edit(data, 2, local_input_image="openimage_source_images/train_1/ffee.jpg"),
        write_edit(data, 3, local_input_image="/of/another/machine/train_1/ffee.jpg"),
        write_edit(data, 4, local_input_image=None),
    ]
    write_lines(data / "sft_with_local_source_image_path.jsonl", rows)
    write_lines(data / "sft.jsonl", rows)
    dataset = assert_three_ways_equal("promptforge", data, tmp_path, "pico_banana")["train"]
    assert [grey(image) for image in dataset["original"]] == [222, 111, 111, 104]
    notes = notes_of("promptforge", data, tmp_path, "pico_banana")
    assert dict(notes.counts) == {"JSON Lines without mapped source images, not read beside those with": 1}


def test_what_is_missing_or_broken_is_counted(tmp_path):
    data = tmp_path / "data"
    first = write_edit(data, 1)
    write(data / "images/positive-edit/5.png", b"")
    rows = [
        first,
        first | {"text": "again"},
        pico_row(2),
        write_edit(data, 3, open_image_input_url="https://nowhere/none_o.jpg"),
        "{broken",
        {"text": "no image"},
        pico_row(5),
        write_edit(data, 6, text="", summarized_text=""),
        write_edit(data, 7, edit_type="Zoom in"),
        write_edit(data, 8, edit_type="Relocate an object (change its position/spatial relation)"),
        write_edit(data, 9, edit_type="Something new", open_image_input_url=None),
    ]
    write_lines(data / "sft.jsonl", rows)
    dataset = assert_three_ways_equal("promptforge", data, tmp_path, "pico_banana")["train"]
    assert [grey(image) for image in dataset["image"]] == [1, 3]
    assert dataset["original"][1] is None
    notes = notes_of("promptforge", data, tmp_path, "pico_banana")
    assert dict(notes.counts) == {
        "output_image named again, the first line is used": 1,
        "missing file": 1,
        "edit without its original, kept": 1,
        "line that is not JSON": 1,
        "line without output_image": 1,
        "empty file": 1,
        "empty instruction": 1,
        "edit of global task, left out": 1,
        "edit of ambiguous task, left out": 1,
        "edit of unknown task, left out": 1,
    }
    assert notes.examples["missing file"] == ["images/positive-edit/2.png: sft.jsonl line 3"]
    assert notes.examples["output_image named again, the first line is used"] == ["line 2: images/positive-edit/1.png"]
    every = load_corpus(
        "promptforge", data, "pico_banana", "train", streaming=True, tasks="all", empty_instructions="keep"
    )
    assert [row["task"] for row in every] == ["object_removal", "object_removal", "object_removal", None, None, None]


def test_two_processes_give_the_same_rows(tmp_path):
    data = tmp_path / "data"
    write_lines(data / "sft.jsonl", [write_edit(data, number) for number in range(70)])
    one = load_corpus("promptforge", data, "pico_banana", "train", cache_dir=tmp_path / "one")
    two = load_corpus("promptforge", data, "pico_banana", "train", cache_dir=tmp_path / "two", num_proc=2)
    assert one["id"] == two["id"]
    assert len(one) == 70
