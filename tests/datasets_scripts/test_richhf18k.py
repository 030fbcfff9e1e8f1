import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archives_layout import encoded, image_bytes, mask_bytes, write_tree, write_zip
from direct_rows import direct_rows
from PIL import Image
from tfrecord_layout import example_bytes, record_bytes
from three_ways import assert_three_ways_equal

from forgescope.datasets_scripts.load import load_corpus
from forgescope.datasets_scripts.pixels import IMAGE_SUFFIXES

SCORES = ("aesthetics_score", "artifact_score", "misalignment_score", "overall_score")


def heat(number: int) -> np.ndarray:
    """6 x 4 map with values 0, 10 and 200 + number."""
    grey = np.zeros((4, 6), np.uint8)
    grey[1], grey[2, 3] = 10, 200 + number
    return grey


def features(number: int, folder: str = "train", **changes) -> dict[str, list]:
    values: dict[str, list] = {
        "filename": [f"{folder}/uuid-{number}.png".encode()],
        **{score: [0.25 * place + number] for place, score in enumerate(SCORES)},
        "artifact_map": [mask_bytes(heat(number))],
        "misalignment_map": [encoded(Image.fromarray(heat(number)).convert("RGB"))],
        "prompt_misalignment_label": [b"1 0 1"],
    }
    return {name: found for name, found in {**values, **changes}.items() if found is not None}


def records(*examples: dict[str, list]) -> bytes:
    return b"".join(record_bytes(example_bytes(one)) for one in examples)


def layout(images: str = "images/") -> dict[str, bytes]:
    return {
        "train.tfrecord": records(*(features(number) for number in range(3))),
        "dev.tfrecord": records(features(3)),
        "test.tfrecord": records(features(4, "test")),
        **{f"{images}uuid-{number}{'.JPG' if number == 1 else '.png'}": image_bytes(number) for number in range(5)},
    }


def test_records_and_images(tmp_path):
    root = write_tree(tmp_path / "data", layout("images/train/"))
    loaded = assert_three_ways_equal("richhf18k", root, tmp_path, artifact_threshold=10)
    assert {split: list(rows["id"]) for split, rows in loaded.items()} == {
        "train": ["train/uuid-0.png", "train/uuid-1.png", "train/uuid-2.png"],
        "validation": ["train/uuid-3.png"],
        "test": ["test/uuid-4.png"],
    }
    row = loaded["train"][1]
    assert [row[score] for score in SCORES] == [1.0, 1.25, 1.5, 1.75]
    assert row["label"] == 1
    assert row["image"].size == (12, 8)
    for name in ("artifact_map", "misalignment_map"):
        assert row[name].mode == "L"
        assert (np.asarray(row[name]) == heat(1)).all()
    # the map's only pixel above 10, at twice its size
    mask = np.asarray(row["mask"])
    assert mask.shape == (8, 12)
    assert (np.flatnonzero(mask.any(1)).tolist(), np.flatnonzero(mask.any(0)).tolist()) == ([4, 5], [6, 7])
    assert (row["prompt"], row["prompt_misalignment_label"], row["token_labels"]) == (None, "1 0 1", [1, 0, 1])


def test_no_mask_without_a_threshold(tmp_path):
    loaded = load_corpus("richhf18k", write_tree(tmp_path / "data", layout()), split="test", streaming=True)
    assert next(iter(loaded))["mask"] is None
    for threshold in (-1, 255):
        with pytest.raises(ValueError, match=f"artifact_threshold {threshold}: expected 0 to 254, or None"):
            direct_rows("richhf18k", tmp_path / "data", artifact_threshold=threshold)


def test_zip_gives_the_rows_of_the_tree(tmp_path):
    write_zip(tmp_path / "zip/all.zip", layout())
    zipped, _ = direct_rows("richhf18k", tmp_path / "zip")
    tree, _ = direct_rows("richhf18k", write_tree(tmp_path / "tree", layout()))
    for rows in (*zipped.values(), *tree.values()):
        for row in rows:
            row.pop("image")
    assert zipped == tree


class TestMissingImages:
    def without(self, *numbers: int) -> dict[str, bytes]:
        left_out = tuple(f"uuid-{number}" for number in numbers)
        return {name: data for name, data in layout().items() if not any(one in name for one in left_out)}

    def test_rows_are_left_out(self, tmp_path):
        files = {**self.without(0), "images/uuid-2.png": b""}
        rows, notes = direct_rows("richhf18k", write_tree(tmp_path, files))
        assert [row["id"] for row in rows["train"]] == ["train/uuid-1.png"]
        assert notes.counts == {
            "image that is not here": 1,
            "empty file": 1,
            "row left out for want of its image": 2,
        }

    def test_or_given_without_pixels(self, tmp_path):
        files = {name: data for name, data in layout().items() if not name.lower().endswith(IMAGE_SUFFIXES)}
        root = write_tree(tmp_path / "data", files)
        with pytest.raises(ValueError, match="has no images: RichHF-18K ships none, take those of Pick-a-Pic v1"):
            load_corpus("richhf18k", root, cache_dir=tmp_path / "cache")
        rows, notes = direct_rows("richhf18k", root, require_images=False, artifact_threshold=0)
        assert [row["image"] for row in rows["train"]] == [None] * 3
        with Image.open(io.BytesIO(rows["train"][0]["mask"]["bytes"])) as mask:
            assert (np.asarray(mask) == (heat(0) > 0)).all()
        assert notes.counts == {"image that is not here": 5}
        loaded = load_corpus("richhf18k", root, cache_dir=tmp_path / "cache", require_images=False)
        assert loaded["train"][0]["image"] is None


class TestParquet:
    def table(self, numbers: range, **columns) -> bytes:
        rows = [features(number) for number in numbers]
        values = {name: [row[name][0] for row in rows] for name in rows[0]}
        values["filename"] = [name.decode() for name in values["filename"]]
        values["prompt_misalignment_label"] = ["0 1"] * len(rows)
        values["image"] = [image_bytes(number) for number in numbers]
        values["prompt"] = [f"a prompt, {number}" for number in numbers]
        buffer = io.BytesIO()
        pq.write_table(pa.table({**values, **columns, "clean_prompt": ["x"] * len(rows)}), buffer)
        return buffer.getvalue()

    def test_copy_with_pixels(self, tmp_path):
        files = {
            "data/train-00000-of-00001.parquet": self.table(range(3)),
            "data/dev-00000-of-00001.parquet": self.table(range(3, 4), overall_score=[None]),
        }
        loaded = assert_three_ways_equal("richhf18k", write_tree(tmp_path / "data", files), tmp_path)
        assert {split: len(rows) for split, rows in loaded.items()} == {"train": 3, "validation": 1}
        row = loaded["train"][2]
        assert (row["prompt"], row["token_labels"], row["artifact_score"]) == ("a prompt, 2", [0, 1], 2.25)
        assert (np.asarray(row["misalignment_map"]) == heat(2)).all()
        assert loaded["validation"][0]["overall_score"] is None

    def test_it_counts_before_records(self, tmp_path):
        files = {**layout(), "train.parquet": self.table(range(2), image=[image_bytes(), None])}
        rows, notes = direct_rows("richhf18k", write_tree(tmp_path, files))
        assert {split: len(found) for split, found in rows.items() if found} == {"train": 1}
        assert notes.counts["TFRecord files left out, Parquet files are there"] == 1
        assert notes.counts["row left out for want of its image"] == 1

    def test_other_files(self, tmp_path):
        other = io.BytesIO()
        pq.write_table(pa.table({"a": [1]}), other)
        files = {**layout(), "train-2.parquet": other.getvalue(), "test-2.parquet": b"text"}
        rows, notes = direct_rows("richhf18k", write_tree(tmp_path, files))
        assert len(rows["train"]) == 3
        assert notes.counts["Parquet file without filename"] == 1
        assert notes.counts["Parquet file that cannot be read"] == 1


class TestBadInput:
    def test_damaged_records_are_counted(self, tmp_path):
        good = record_bytes(example_bytes(features(0)))
        wrong = bytearray(record_bytes(example_bytes(features(1))))
        wrong[40] ^= 1
        data = good + bytes(wrong) + record_bytes(b"\xff\xff") + record_bytes(example_bytes(features(2)))[:-9]
        rows, notes = direct_rows("richhf18k", write_tree(tmp_path, {**layout(), "train.tfrecord": data}))
        assert [row["id"] for row in rows["train"]] == ["train/uuid-0.png"]
        assert notes.counts == {"damaged record": 2, "TFRecord file that breaks off": 1}

    def test_missing_features_are_counted(self, tmp_path):
        data = records(
            features(0, filename=None),
            features(1, artifact_map=None, misalignment_map=[b"text"], overall_score=[]),
            features(2, prompt_misalignment_label=[b"1 x"]),
        )
        root = write_tree(tmp_path, {**layout(), "train.tfrecord": data})
        rows, notes = direct_rows("richhf18k", root, artifact_threshold=0)
        assert [row["id"] for row in rows["train"]] == ["train/uuid-1.png", "train/uuid-2.png"]
        first, second = rows["train"]
        assert [first[name] for name in ("artifact_map", "misalignment_map", "overall_score", "mask")] == [None] * 4
        assert (second["prompt_misalignment_label"], second["token_labels"]) == ("1 x", None)
        del notes.counts["mask resized to its image"]
        assert notes.counts == {
            "record without filename": 1,
            "record without a map": 1,
            "map that is no image": 1,
            "record without overall_score": 1,
            "prompt label of other words than 0 and 1": 1,
        }

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"version https://git-lfs.github.com/spec/v1\n", r"train\.tfrecord is only a pointer .*git lfs pull"),
            (b"not a record of any kind", r"train\.tfrecord is no TFRecord file"),
        ],
    )
    def test_other_files_are_errors(self, tmp_path, data, message):
        root = write_tree(tmp_path / "data", {**layout(), "train.tfrecord": data})
        with pytest.raises(ValueError, match=message):
            load_corpus("richhf18k", root, cache_dir=tmp_path / "cache")

    def test_nothing_there(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"holds no RichHF-18K: expected train\.tfrecord"):
            load_corpus("richhf18k", tmp_path, cache_dir=tmp_path / "cache")
