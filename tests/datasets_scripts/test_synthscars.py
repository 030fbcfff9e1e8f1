import json
import sys

import numpy as np
import pytest
from archives_layout import image_bytes, write_tree, write_zip
from direct_rows import direct_rows
from three_ways import assert_three_ways_equal, rows_of

from forgescope.datasets_scripts.load import corpus_builder, load_corpus

# 12 x 8 pixels; by "fillpoly": x 1 to 4 and y 1 to 3 (12 pixels), x 3 to 8 and y 2 to 6 (30 pixels, 4 in common)
LEFT = [1.0, 1.0, 4.0, 1.0, 4.0, 3.0, 1.0, 3.0]
RIGHT = [3.0, 2.0, 8.0, 2.0, 8.0, 6.0, 3.0, 6.0]
ROUNDING = [-1e-13, 0.0, 12.0 + 1e-12, 0.0, 12.0, 8.0]
FLAT = [2.0, 2.0, 5.0, 2.0, 7.0, 2.0]


def ref(sentence: str, *polygons, explanation: str = "why") -> dict:
    return {"sentence": sentence, "segmentation": list(polygons), "bbox": None, "explanation": explanation}


def annotation(key: str, name: str, *refs) -> dict:
    caption = "To elaborate, " + "".join(f"{one['sentence']}:{one['explanation']}" for one in refs)
    return {key: {"img_file_name": name, "caption": caption, "refs": list(refs)}}


TRAIN = [
    annotation("0", "a.jpg", ref("left hand", LEFT), ref("right hand", RIGHT, explanation="")),
    annotation("1", "/authors/machine/b.v2.PNG", ref("roof", ROUNDING)),
    annotation("2", "train/images/a.png", ref("left hand", RIGHT)),
    annotation("3", "a.jpg", ref("flat", FLAT), ref("thumb", LEFT, RIGHT)),
    annotation("4", "c.png", ref("flat", FLAT)),
]
TEST = [annotation("0", "d.jpg", ref("sky", RIGHT))]
IMAGES = {
    "train/images/a.jpg": image_bytes(1, kind="JPEG"),
    "train/images/a.png": image_bytes(2),
    "train/images/b.v2.PNG": image_bytes(3),
    "train/images/c.png": image_bytes(4),
    "test/images/d.jpg": image_bytes(5, kind="JPEG"),
    # names of the other split: to be told apart by folder
    "train/images/d.jpg": image_bytes(6, kind="JPEG"),
}


def layout(root: str = "SynthScars/", folder: str = "annotations", train=TRAIN, test=TEST) -> dict[str, bytes]:
    files = {f"{root}{name}": data for name, data in IMAGES.items()}
    files[f"{root}train/{folder}/train.json"] = json.dumps(train).encode()
    files[f"{root}test/{folder}/test.json"] = json.dumps(test).encode()
    return files


def area(row: dict) -> int:
    return int(np.asarray(row["mask"]).sum())


def test_union(tmp_path):
    write_zip(tmp_path / "data/SynthScars.zip", layout())
    loaded = assert_three_ways_equal("synthscars", tmp_path / "data", tmp_path)
    assert {split: list(rows["id"]) for split, rows in loaded.items()} == {
        "train": ["0", "1", "2", "3", "4"],
        "test": ["0"],
    }
    rows = list(loaded["train"])
    assert [row["file_name"] for row in rows] == ["a.jpg", "b.v2.PNG", "a.png", "a.jpg", "c.png"]
    assert {row["label"] for row in rows} == {1}
    assert [area(row) for row in rows[:4]] == [12 + 30 - 4, area(rows[1]), 30, 12 + 30 - 4]
    assert np.asarray(rows[0]["mask"]).shape == (8, 12)
    assert rows[0]["mask"].mode == "L"
    assert rows[0]["caption"] == "To elaborate, left hand:whyright hand:"
    assert rows[0]["regions"] == [
        {"sentence": "left hand", "explanation": "why", "segmentation": [LEFT]},
        {"sentence": "right hand", "explanation": "", "segmentation": [RIGHT]},
    ]
    assert rows[1]["regions"][0]["segmentation"] == [[0.0, 0.0, 12.0, 0.0, 12.0, 8.0]]
    assert [one["sentence"] for one in rows[3]["regions"]] == ["thumb"]
    assert (rows[4]["mask"], rows[4]["regions"]) == (None, [])
    assert {len(set(rows[0])), len(loaded["train"].features)} == {8}


def test_every_quirk_is_counted(tmp_path):
    rows, notes = direct_rows("synthscars", write_tree(tmp_path, layout(folder="annoations")))
    assert {split: len(found) for split, found in rows.items()} == {"train": 5, "test": 1}
    assert notes.counts == {
        "misspelt folder of annotations": 2,
        "image of the stem of another": 1,
        "image annotated again": 1,
        "degenerate polygon": 2,
        "ref without a usable polygon, left out": 2,
        "image without a usable region": 1,
        "empty explanation": 1,
        "polygon beyond the border by rounding, clipped": 1,
    }
    assert notes.examples["ref without a usable polygon, left out"] == ["3:0", "4:0"]


def test_one_row_a_reference(tmp_path):
    loaded = assert_three_ways_equal("synthscars", write_tree(tmp_path / "data", layout()), tmp_path, "per_ref")
    rows = list(loaded["train"])
    assert [row["id"] for row in rows] == ["0:0", "0:1", "1:0", "2:0", "3:1"]
    assert [row["sentence"] for row in rows] == ["left hand", "right hand", "roof", "left hand", "thumb"]
    assert [area(row) for row in rows if row["id"] != "1:0"] == [12, 30, 30, 38]
    assert rows[4]["segmentation"] == [LEFT, RIGHT]
    assert "regions" not in rows[0]
    assert rows[0]["caption"] == rows[1]["caption"]


def test_grounded_has_a_mask_a_region(tmp_path):
    loaded = assert_three_ways_equal("synthscars", write_tree(tmp_path / "data", layout()), tmp_path, "grounded")
    row = loaded["train"][0]
    masks = [np.asarray(one["mask"]) for one in row["regions"]]
    assert [int(mask.sum()) for mask in masks] == [12, 30]
    assert (np.maximum(*masks) == np.asarray(row["mask"])).all()
    assert row["regions"][0]["mask"].mode == "L"


def test_a_row_of_each_image(tmp_path):
    rows, notes = direct_rows("synthscars", write_tree(tmp_path, layout()), dedupe="stem")
    assert [row["id"] for row in rows["train"]] == ["0", "1", "4"]
    assert notes.counts["annotation left out by dedupe"] == 2
    with pytest.raises(ValueError, match="unknown dedupe 'name': expected one of none, stem"):
        direct_rows("synthscars", tmp_path, dedupe="name")


def test_the_two_rasterizers(tmp_path):
    pytest.importorskip("pycocotools")
    root = write_tree(tmp_path / "data", layout())
    by_rule = {
        rule: load_corpus("synthscars", root, split="train", streaming=True, rasterizer=rule)
        for rule in ("coco", "fillpoly")
    }
    areas = {rule: area(next(iter(rows))) for rule, rows in by_rule.items()}
    # without the far edges: 3 x 2 and 5 x 4 pixels, 1 in common
    assert areas == {"coco": 6 + 20 - 1, "fillpoly": 38}
    with pytest.raises(ValueError, match="unknown rasterizer 'pil'"):
        load_corpus("synthscars", root, rasterizer="pil", cache_dir=tmp_path / "cache")


def test_coco_without_its_library_fails_before_the_first_row(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    builder = corpus_builder("synthscars", write_tree(tmp_path, layout()), hash_files=False, rasterizer="coco")
    with pytest.raises(ImportError, match=r"pip install \"forgescope\[coco\]\""):
        builder._split_generators(None)


class TestLayouts:
    def ids(self, root, **options):
        rows, notes = direct_rows("synthscars", root, **options)
        return {split: [(row["id"], row["file_name"]) for row in found] for split, found in rows.items()}, notes

    def test_tree_zip_and_inner_folder_agree(self, tmp_path):
        write_zip(tmp_path / "zip/SynthScars.zip", layout())
        loaded = {
            "zip": load_corpus("synthscars", tmp_path / "zip", cache_dir=tmp_path / "cache"),
            "tree": load_corpus("synthscars", write_tree(tmp_path / "tree", layout()), cache_dir=tmp_path / "cache"),
        }
        for split in ("train", "test"):
            assert rows_of(loaded["zip"][split]) == rows_of(loaded["tree"][split])
        inner, _ = self.ids(tmp_path / "tree/SynthScars")
        assert len(inner["train"]) == 5
        own, _ = self.ids(tmp_path / "tree/SynthScars/test")
        assert own == {"test": [("0", "d.jpg")]}

    def test_every_split_reads_its_own_annotations(self, tmp_path):
        files = layout()
        files["SynthScars/train/annotations/test.json"] = json.dumps([annotation("9", "d.jpg")]).encode()
        found, notes = self.ids(write_tree(tmp_path, files))
        assert found["test"] == [("0", "d.jpg")]
        assert notes.counts["further annotations of a split, left out"] == 1

    def test_annotations_of_the_test_split_that_stand_in_train(self, tmp_path):
        files = layout()
        files["SynthScars/train/annotations/test.json"] = files.pop("SynthScars/test/annotations/test.json")
        rows, notes = direct_rows("synthscars", write_tree(tmp_path, files))
        assert rows["test"][0]["image"]["path"].endswith("test/images/d.jpg")
        assert notes.counts["annotations in the folder of another split"] == 1

    def test_images_without_their_folder(self, tmp_path):
        files = {name.replace("images/", "pictures/"): data for name, data in layout().items()}
        found, notes = self.ids(write_tree(tmp_path, files))
        assert len(found["train"]) == 5
        assert "missing file" not in notes.counts


class TestBadInput:
    def test_images(self, tmp_path):
        files = layout()
        files["SynthScars/train/images/a.jpg"] = b""
        files["SynthScars/train/images/b.v2.PNG"] = b"text"
        del files["SynthScars/train/images/c.png"]
        rows, notes = direct_rows("synthscars", write_tree(tmp_path, files))
        assert [row["id"] for row in rows["train"]] == ["2"]
        assert [notes.counts[kind] for kind in ("empty file", "not an image", "missing file")] == [2, 1, 1]

    def test_missing_keys(self, tmp_path):
        bad = [
            {"5": {"caption": "no name", "refs": []}},
            {"6": {"img_file_name": "a.jpg"}},
            {"7": {"img_file_name": "a.png", "caption": None, "refs": [{"segmentation": [LEFT]}, "text", {}]}},
            {"8": "text"},
            "text",
        ]
        rows, notes = direct_rows("synthscars", write_tree(tmp_path, layout(train=bad)))
        assert [row["id"] for row in rows["train"]] == ["6", "7"]
        assert rows["train"][1]["regions"] == [{"sentence": "", "explanation": "", "segmentation": [LEFT]}]
        assert notes.counts == {
            "annotation without img_file_name": 3,
            "annotation without refs": 1,
            "image without a usable region": 1,
            "image of the stem of another": 1,
            "ref that is no object": 1,
            "not a polygon": 1,
            "ref without a usable polygon, left out": 1,
            "empty sentence": 1,
            "empty explanation": 1,
        }

    def test_sentence_that_the_caption_lacks(self, tmp_path):
        lacking = {"1": {"img_file_name": "a.jpg", "caption": "Left hand", "refs": [ref("left hand", LEFT)]}}
        _, notes = direct_rows("synthscars", write_tree(tmp_path, layout(train=[lacking])))
        assert notes.counts["sentence that is not in the caption"] == 1

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b'[\n{"1": ', r"train/annotations/train\.json line 2 is not JSON"),
            (b"", r"train\.json is empty"),
            (b'{"1": {}}', "holds a JSON dict: expected a list"),
        ],
    )
    def test_damaged_json_is_named(self, tmp_path, data, message):
        files = {**layout(), "SynthScars/train/annotations/train.json": data}
        with pytest.raises(ValueError, match=message):
            load_corpus("synthscars", write_tree(tmp_path / "data", files), cache_dir=tmp_path / "cache")

    def test_nothing_there(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"holds no SynthScars: expected SynthScars\.zip"):
            load_corpus("synthscars", tmp_path, cache_dir=tmp_path / "cache")
        with pytest.raises(FileNotFoundError, match="does not exist"):
            load_corpus("synthscars", tmp_path / "nowhere")
        with pytest.raises(ValueError, match="expected one of union, per_ref, grounded"):
            load_corpus("synthscars", tmp_path, "masks")


def test_paper_numbers_follow_the_configuration(tmp_path):
    union, per_ref = (corpus_builder("synthscars", tmp_path, name, hash_files=False) for name in ("union", "per_ref"))
    stated = {(one.split, one.quantity): one.value for one in union.CARD.paper_counts[:4]}
    assert stated == {
        ("train", "rows"): 11_236,
        ("test", "rows"): 1_000,
        ("train", "regions"): 23_913,
        ("test", "regions"): 2_653,
    }
    assert [(one.quantity, one.value) for one in per_ref.CARD.paper_counts] == [
        ("rows", 23_913),
        ("rows", 2_653),
        ("rows", 23_935),
        ("rows", 2_674),
    ]


def test_two_processes_give_the_same_rows(tmp_path):
    root = write_tree(tmp_path / "data", layout())
    one = load_corpus("synthscars", root, split="train", cache_dir=tmp_path / "one")
    two = load_corpus("synthscars", root, split="train", cache_dir=tmp_path / "two", num_proc=2)
    assert rows_of(one) == rows_of(two)
