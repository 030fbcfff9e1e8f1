import io
import json
from collections import Counter

import numpy as np
import pytest
from archives_layout import image_bytes, mask_bytes, write_tree, write_zip
from gamma_layout import SIZE, coco, engine, everything, manifest, region, tampcoco
from PIL import Image
from three_ways import assert_three_ways_equal

from forgescope.datasets_scripts.gamma_parts import split_of, tampcoco_mask
from forgescope.datasets_scripts.load import corpus_builder, load_corpus
from forgescope.datasets_scripts.notes import Notes


def read(root, config=None, split="train", **options):
    builder = corpus_builder("gamma_mix", root, config, hash_files=False, **options)
    notes = Notes()
    return [row for piece in builder.splits(notes).get(split, []) for row in builder.rows(piece, notes)], notes


def pixels(mask) -> np.ndarray:
    if isinstance(mask, dict):
        mask = Image.open(io.BytesIO(mask["bytes"]))
    assert mask.mode == "L"
    return np.asarray(mask)


class TestEverything:
    def test_in_three_ways(self, tmp_path):
        loaded = assert_three_ways_equal("gamma_mix", write_tree(tmp_path / "data", everything()), tmp_path)
        assert Counter(loaded["train"]["source"]) == {
            "coco": 2,
            "coco-inpaint": 3,
            "coco-blended": 3,
            "tampcoco-cm": 4,
            "tampcoco-sp": 4,
            "tampcoco-bcm": 4,
            "tampcoco-bcmc": 4,
            "own": 5,
        }
        assert list(loaded["validation"]["source"]) == ["coco"]
        assert loaded["train"].column_names[:5] == ["image", "label", "mask", "id", "source"]

    def test_table_one(self, tmp_path):
        """Label and masks of every source, as the paper's Table 1 has them."""
        rows, notes = read(write_tree(tmp_path, everything()))
        assert not notes.counts
        zeros, ones = np.zeros(SIZE[::-1], np.uint8), np.ones(SIZE[::-1], np.uint8)
        expected = {
            "coco": ("real", "authentic", lambda n: (zeros, zeros)),
            "coco-inpaint": ("fake", "inpainting", lambda n: (region(n), ones)),
            "coco-blended": ("fake", "inpainting_blended", lambda n: (region(n), region(n))),
            "tampcoco-cm": ("real", "copy_move", lambda n: (region(n), zeros)),
            "tampcoco-sp": ("real", "splicing", lambda n: (region(n), zeros)),
            "tampcoco-bcm": ("real", "copy_move", lambda n: (region(n), zeros)),
            "tampcoco-bcmc": ("real", "copy_move", lambda n: (region(n), zeros)),
        }
        for source, (label, task, masks) in expected.items():
            mine = [row for row in rows if row["source"] == source]
            for number, row in enumerate(mine):
                manipulation, ai = masks(number)
                assert (row["label"], row["task"]) == (label, task)
                np.testing.assert_array_equal(pixels(row["manipulation_mask"]), manipulation)
                np.testing.assert_array_equal(pixels(row["mask"]), manipulation)
                np.testing.assert_array_equal(pixels(row["ai_mask"]), ai)
        inpainted = next(row for row in rows if row["source"] == "coco-inpaint")
        assert (inpainted["id"], inpainted["model"], inpainted["mask_type"]) == (
            "coco_inpaint/images/0, made.png",
            "sd2",
            "random",
        )

    @pytest.mark.parametrize(
        ("config", "sources"),
        [
            ("coco", {"coco"}),
            ("coco_inpaint", {"coco-inpaint"}),
            ("blended", {"coco-blended"}),
            ("tampcoco", {"tampcoco-cm", "tampcoco-sp", "tampcoco-bcm", "tampcoco-bcmc"}),
            ("manipulations", {"own"}),
        ],
    )
    def test_one_part_alone(self, tmp_path, config, sources):
        assert {row["source"] for row in read(write_tree(tmp_path, everything()), config)[0]} == sources

    def test_archives_and_two_processes_give_the_same_rows(self, tmp_path):
        tree = load_corpus("gamma_mix", write_tree(tmp_path / "a", everything()), cache_dir=tmp_path / "1", num_proc=2)
        write_zip(tmp_path / "b/all.zip", everything())
        packed = load_corpus("gamma_mix", tmp_path / "b", cache_dir=tmp_path / "2")
        assert [row["id"] for row in tree["train"]] == [row["id"] for row in packed["train"]]
        assert [mask.tobytes() for mask in tree["train"]["ai_mask"]] == [
            mask.tobytes() for mask in packed["train"]["ai_mask"]
        ]

    def test_original_bytes_are_kept(self, tmp_path):
        root = write_tree(tmp_path / "data", everything())
        loaded = assert_three_ways_equal("gamma_mix", root, tmp_path, decode_images=False)
        row = next(row for row in loaded["train"] if row["source"] == "tampcoco-cm")
        name = root / row["id"]
        assert row["image"]["path"] == str(name)
        streamed = load_corpus("gamma_mix", root, "coco", split="train", streaming=True, decode_images=False)
        assert next(iter(streamed))["image"]["path"].endswith("000000000009.jpg")


class TestPlaces:
    def test_parts_may_lie_elsewhere_and_their_changes_are_noticed(self, tmp_path):
        root = write_tree(tmp_path / "data", {name.replace("coco/", "photos/"): data for name, data in coco().items()})
        elsewhere = write_tree(tmp_path / "other", manifest("inpaint"))
        options = {"coco": "photos", "coco_inpaint": str(elsewhere / "inpaint/manifest.csv")}
        rows = load_corpus("gamma_mix", root, split="train", cache_dir=tmp_path / "cache", **options)
        assert Counter(rows["source"]) == {"coco": 2, "coco-inpaint": 3}
        assert rows[2]["id"] == "images/0, made.png"
        text = (elsewhere / "inpaint/manifest.csv").read_text().splitlines()
        (elsewhere / "inpaint/manifest.csv").write_text("\n".join(text[:-1]))
        again = load_corpus("gamma_mix", root, split="train", cache_dir=tmp_path / "cache", **options)
        assert Counter(again["source"]) == {"coco": 2, "coco-inpaint": 2}

    def test_folders_elsewhere_in_three_ways(self, tmp_path):
        root = write_tree(tmp_path / "data", coco())
        options = {
            "tampcoco": str(write_tree(tmp_path / "t", tampcoco())),
            "manipulations": str(write_tree(tmp_path / "m", {**engine("train/"), **engine("test/")})),
            "blended": str(root.parent / "b"),
        }
        write_tree(tmp_path / "b", manifest(".", "jsonl"))
        loaded = assert_three_ways_equal("gamma_mix", root, tmp_path, **options)
        assert {split: len(rows) for split, rows in loaded.items()} == {
            "train": 2 + 3 + 16 + 5,
            "validation": 1,
            "test": 5,
        }

    def test_places_that_do_not_exist_are_errors(self, tmp_path):
        root = write_tree(tmp_path / "data", coco())
        with pytest.raises(FileNotFoundError, match="coco_inpaint='lost' is not in .*data: expected coco/"):
            read(root, coco_inpaint="lost")
        with pytest.raises(FileNotFoundError, match="blended='/lost' does not exist"):
            read(root, blended="/lost")
        with pytest.raises(ValueError, match="option blended has no effect with config='coco'"):
            read(root, "coco", blended="coco")
        with pytest.raises(ValueError, match="unknown tampcoco_subsets xx: expected cm, sp, bcm, bcmc"):
            read(root, tampcoco_subsets=("cm", "xx"))

    def test_nothing_found_says_what_is_expected(self, tmp_path):
        for config, files in ((None, {}), (None, {"x/y.png": image_bytes()}), ("blended", coco())):
            with pytest.raises(FileNotFoundError, match="holds no GAMMA training mix: expected coco/, coco_inpaint/"):
                load_corpus("gamma_mix", write_tree(tmp_path, files), config, cache_dir=tmp_path / "cache")


class TestManifests:
    def test_a_name_tells_the_split(self, tmp_path):
        files = manifest("coco_inpaint")
        text = files.pop("coco_inpaint/manifest.csv")
        for name in ("inpaint_train", "inpaint_val", "test"):
            files[f"coco_inpaint/{name}.csv"] = text
        root = write_tree(tmp_path, files)
        assert [len(read(root, split=split)[0]) for split in ("train", "validation", "test")] == [3, 3, 3]

    def test_missing_columns_are_an_error(self, tmp_path):
        write_tree(tmp_path, {"coco_inpaint/m.csv": b"image,masque\na,b\n"})
        with pytest.raises(ValueError, match=r"coco_inpaint/m\.csv has no column mask: found image, masque"):
            read(tmp_path)

    def test_quirks_are_counted(self, tmp_path):
        files = manifest("coco_inpaint", "jsonl", 7)
        lines = files["coco_inpaint/manifest.jsonl"].decode().splitlines()
        lines[0] = lines[0].replace('"mask": ', '"masque": ')
        lines.insert(1, "{broken")
        files["coco_inpaint/manifest.jsonl"] = "\n".join(lines).encode()
        files["coco_inpaint/images/1, made.png"] = b""
        del files["coco_inpaint/masks/2.png"]
        files["coco_inpaint/masks/3.png"] = b"text"
        files["coco_inpaint/masks/4.png"] = mask_bytes(region(4).repeat(2, 0).repeat(2, 1) * 255)
        files["coco_inpaint/masks/5.png"] = mask_bytes(region(5) * 0)
        files["coco_inpaint/masks/6.png"] = mask_bytes(region(6), [255, 255, 255, 0, 0, 0])
        rows, notes = read(write_tree(tmp_path, files))
        assert [row["id"][20:21] for row in rows] == ["4", "5", "6"]
        np.testing.assert_array_equal(pixels(rows[0]["mask"]), region(4))
        np.testing.assert_array_equal(pixels(rows[2]["mask"]), region(6))
        assert notes.counts == {
            "line without image or mask, skipped": 1,
            "line that is not JSON": 1,
            "empty file": 1,
            "missing mask, image skipped": 1,
            "mask that cannot be read, image skipped": 1,
            "mask resized to its image": 1,
            "forged image whose mask is empty": 1,
        }
        assert notes.examples["line that is not JSON"][0].startswith("coco_inpaint/manifest.jsonl line 2: ")


class TestTampCOCO:
    @pytest.mark.parametrize(
        ("image", "mask"),
        [
            (
                "cm_images/90_000000484327.jpg_000000484327.jpg_RS1.18.jpg",
                "cm_masks/90_000000484327.png_000000484327.png_RS1.18.png",
            ),
            ("x/sp_images/a.jpg", "x/sp_masks/a.png"),
            ("bcm_images/a.jpg_b.jpg", "bcm_masks/a.png_b.png"),
            ("bcmc_images/a.jpg_b_aligned_Q78.jpg", "bcm_masks/a.png_b.png"),
        ],
    )
    def test_masks_by_name(self, image, mask):
        assert tampcoco_mask(image) == mask

    def lists(self) -> dict[str, bytes]:
        names = sorted(name for name in tampcoco() if name.startswith("cm_images/"))
        lines = [f"{name},{tampcoco_mask(name)}" for name in names]
        return {
            "Splicing/data/cm_COCO_train_list.txt": "\n".join(lines[:2]).encode(),
            "Splicing/data/cm_COCO_valid_list.txt": f"{lines[2]}\n\n".encode(),
            "Splicing/data/cm_COCO_test_list.txt": f"{names[3]},None".encode(),
        }

    def test_lists_tell_the_splits(self, tmp_path):
        files = {f"deep/tampCOCO/{name}": data for name, data in tampcoco().items() if name.startswith("cm_")}
        root = write_tree(tmp_path / "data", {**files, **self.lists()})
        loaded = assert_three_ways_equal("gamma_mix", root, tmp_path, "tampcoco")
        assert {split: len(rows) for split, rows in loaded.items()} == {"train": 2, "validation": 1, "test": 1}
        np.testing.assert_array_equal(pixels(loaded["test"][0]["mask"]), region(3))

    def test_an_empty_training_list_leaves_the_rest_by_name(self, tmp_path):
        files = {name: data for name, data in tampcoco().items() if name.startswith("cm_")}
        root = write_tree(tmp_path, {**files, **self.lists(), "Splicing/data/cm_COCO_train_list.txt": b""})
        rows, notes = read(root)
        assert [row["id"][:13] for row in rows] == ["cm_images/90_", "cm_images/91_"]
        assert notes.counts == {"empty list": 1}

    def test_subsets_can_be_chosen(self, tmp_path):
        rows, _ = read(write_tree(tmp_path, tampcoco()), tampcoco_subsets=("cm", "sp"))
        assert {row["source"] for row in rows} == {"tampcoco-cm", "tampcoco-sp"}


class TestManipulationEngine:
    def test_its_own_label_and_masks_are_kept(self, tmp_path):
        rows, notes = read(write_tree(tmp_path, engine("")))
        assert not notes.counts
        assert [row["label"] for row in rows] == ["real", "real", "real", "fake", "fake"]
        assert rows[0]["id"] == "s0-000000"
        assert rows[3]["task"] == "inpainting"
        np.testing.assert_array_equal(pixels(rows[3]["mask"]), region(3))
        assert pixels(rows[3]["ai_mask"]).all()
        assert not pixels(rows[1]["ai_mask"]).any()

    def test_bad_lines_are_counted(self, tmp_path):
        files = engine("")
        lines = [json.loads(line) for line in files["metadata.jsonl"].decode().splitlines()]
        del lines[0]["file_name"]
        lines[1]["label"] = "maybe"
        del lines[3]["ai_mask_file_name"]
        lines[2]["mask_file_name"] = None
        files["metadata.jsonl"] = "\n".join(map(json.dumps, lines)).encode()
        rows, notes = read(write_tree(tmp_path, files))
        assert [row["task"] for row in rows] == ["inpainting_blended"]
        assert notes.counts == {
            "line without file_name or label, skipped": 2,
            "forged image without mask_file_name or ai_mask_file_name, skipped": 2,
        }


def test_photographs_that_are_no_jpegs_are_counted(tmp_path):
    _, notes = read(write_tree(tmp_path, {**coco(), "coco/train2017/x.png": image_bytes()}))
    assert notes.counts == {"authentic image that is no JPEG by its name": 1}


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train2017", "train"),
        ("a/val2017", "validation"),
        ("x_valid.csv", "validation"),
        ("test", "test"),
        ("constrain", "train"),
        ("contest/x", "train"),
    ],
)
def test_split_words(name, split):
    assert split_of(name) == split
