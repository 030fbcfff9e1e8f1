import json

import pytest
from archives_layout import image_bytes, tar_bytes, write_tree
from direct_rows import direct_rows
from three_ways import assert_three_ways_equal

from forgescope.datasets_scripts.load import load_corpus

IMAGES = 4


def entries(edits: bool = False) -> list[dict]:
    rows = []
    for number in range(IMAGES):
        row = {"input_prompt": f"prompt {number}", "output_image": f"image/{number}.png"}
        row["output_image_resolution"] = [12, 8]
        if edits:
            row["input_image"] = [f"input/{number}.png"] if number % 2 else f"input/{number}.png"
        rows.append(row)
    return rows


def published() -> dict[str, bytes]:
    """Both parts; their images have the same names and other pixels."""
    images = {f"image/{number}.png": image_bytes(number) for number in range(IMAGES)}
    edited = {f"image/{number}.png": image_bytes(number + 50) for number in range(IMAGES)}
    edited |= {f"input/{number}.png": image_bytes(number + 90) for number in range(IMAGES)}
    half = dict(list(images.items())[:2])
    return {
        "text_to_image.json": json.dumps(entries()).encode(),
        "text_to_image_part_0.tar": tar_bytes(half),
        "text_to_image_part_1.tar": tar_bytes({name: data for name, data in images.items() if name not in half}),
        "text_and_image_to_image.json": json.dumps(entries(edits=True)).encode(),
        "text_and_image_to_image_part_0.tar": tar_bytes(edited),
    }


def test_generated_images_in_three_ways(tmp_path):
    rows = assert_three_ways_equal("sharegpt4o", write_tree(tmp_path / "data", published()), tmp_path)["train"]
    assert list(rows["prompt"]) == [f"prompt {number}" for number in range(IMAGES)]
    assert list(rows["id"]) == [f"image/{number}.png" for number in range(IMAGES)]
    assert set(rows["source"]) == {"gpt-4o"}
    assert set(rows["label"]) == {1}
    assert "originals" not in rows.column_names


def test_edits_take_the_images_of_their_own_tars(tmp_path):
    root = write_tree(tmp_path / "data", published())
    rows = assert_three_ways_equal("sharegpt4o", root, tmp_path, "text_and_image_to_image")["train"]
    direct, _ = direct_rows("sharegpt4o", root, "text_and_image_to_image")
    for number, row in enumerate(direct["train"]):
        assert row["image"]["bytes"] == image_bytes(number + 50)
        assert [original["bytes"] for original in row["originals"]] == [image_bytes(number + 90)]
    assert [len(originals) for originals in rows["originals"]] == [1] * IMAGES


def test_unpacked_tars_of_both_parts(tmp_path):
    files = {}
    for number in range(IMAGES):
        files[f"text_to_image_part_0/image/{number}.png"] = image_bytes(number)
        files[f"text_and_image_to_image_part_0/image/{number}.png"] = image_bytes(number + 50)
    lists = {name: data for name, data in published().items() if name.endswith(".json")}
    rows, notes = direct_rows("sharegpt4o", write_tree(tmp_path, {**files, **lists}))
    assert [row["id"] for row in rows["train"]] == [f"text_to_image_part_0/image/{n}.png" for n in range(IMAGES)]
    assert not notes.counts
    rows, notes = direct_rows("sharegpt4o", tmp_path, "text_and_image_to_image")
    assert [row["id"].split("/")[0] for row in rows["train"]] == ["text_and_image_to_image_part_0"] * IMAGES
    assert [row["originals"] for row in rows["train"]] == [[]] * IMAGES
    assert notes.counts == {"missing file": IMAGES}


def test_missing_tars_and_bad_entries_are_counted(tmp_path):
    files = published()
    del files["text_to_image_part_1.tar"]
    files["text_to_image.json"] = json.dumps([*entries(), {"input_prompt": "x"}, "text"]).encode()
    files["text_to_image_part_0.tar"] = tar_bytes({"image/0.png": image_bytes(), "image/1.png": b""})
    rows, notes = direct_rows("sharegpt4o", write_tree(tmp_path, files))
    assert [row["id"] for row in rows["train"]] == ["image/0.png"]
    assert notes.counts == {"entry without output_image": 2, "listed image that is not there": 2, "empty file": 1}
    assert notes.examples["listed image that is not there"] == ["text_to_image.json: 2 found"]
    assert notes.examples["entry without output_image"] == [
        "text_to_image.json entry 4",
        "text_to_image.json entry 5",
    ]


def test_counts_of_each_configuration_stand_on_its_card(tmp_path):
    from forgescope.datasets_scripts.load import corpus_builder

    for config, count in (("text_to_image", 45_717), ("text_and_image_to_image", 46_539)):
        builder = corpus_builder("sharegpt4o", tmp_path, config, hash_files=False)
        assert [one.value for one in builder.CARD.paper_counts] == [count]


def test_a_missing_or_damaged_list(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no ShareGPT-4o-Image: expected text_to_image.json with"):
        load_corpus("sharegpt4o", write_tree(tmp_path, {"image/0.png": image_bytes()}), cache_dir=tmp_path / "cache")
    write_tree(tmp_path, {"text_to_image.json": b"{}"})
    with pytest.raises(ValueError, match="text_to_image.json holds a JSON dict: expected a list"):
        load_corpus("sharegpt4o", tmp_path, cache_dir=tmp_path / "cache")
