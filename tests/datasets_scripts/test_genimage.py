import os

import pytest
from archives_layout import image_bytes, write_tree, write_zip
from three_ways import assert_three_ways_equal

from forgescope.datasets_scripts.corpus import files_hash
from forgescope.datasets_scripts.load import corpus_builder, load_corpus
from forgescope.datasets_scripts.notes import Notes

FOLDERS = {
    "ADM/imagenet_ai_0508_adm": "adm",
    "BigGAN/imagenet_ai_0419_biggan": "biggan",
    "glide/imagenet_glide": "glide",
    "Midjourney/imagenet_midjourney": "midjourney",
    "stable_diffusion_v_1_4/imagenet_ai_0419_sdv4": "stable_diffusion_v_1_4",
    "stable_diffusion_v_1_5/imagenet_ai_0424_sdv5": "stable_diffusion_v_1_5",
    "VQDM/imagenet_ai_0419_vqdm": "vqdm",
    "wukong/imagenet_ai_0424_wukong": "wukong",
}


def layout() -> dict[str, bytes]:
    files = {}
    for number, folder in enumerate(FOLDERS):
        files[f"{folder}/train/ai/{number}.v1.PNG"] = image_bytes(number)
        files[f"{folder}/train/nature/n0{number}.JPEG"] = image_bytes(number + 50, kind="JPEG")
        files[f"{folder}/val/ai/{number}.png"] = image_bytes(number + 100)
    return files


BAD = {
    "ADM/imagenet_ai_0508_adm/train/ai/zero.png": b"",
    "ADM/imagenet_ai_0508_adm/train/nature/text.jpg": b"not an image",
    "ADM/imagenet_ai_0508_adm/train/ai/list.txt": b"leave me",
    "ADM/imagenet_ai_0508_adm/other/ai/x.png": image_bytes(1),
}


def test_rows_in_three_ways(tmp_path):
    root = write_tree(tmp_path / "data", {**layout(), **BAD})
    loaded = assert_three_ways_equal("genimage", root, tmp_path)
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 16, "validation": 8}
    assert loaded["train"].features["label"].names == ["real", "fake"]
    sources = {}
    for row in loaded["train"]:
        assert row["label"] == ("/ai/" in row["id"])
        assert row["mask"] is None
        assert row["image"].size == (12, 8)
        sources[row["id"].split("/train")[0]] = row["source"]
    assert sources == FOLDERS


def test_archives_give_the_rows_of_the_tree(tmp_path):
    tree = load_corpus("genimage", write_tree(tmp_path / "a", layout()), cache_dir=tmp_path / "cache")
    write_zip(tmp_path / "b/all.zip", layout())
    packed = load_corpus("genimage", tmp_path / "b", cache_dir=tmp_path / "cache")
    for split in tree:
        assert list(tree[split]["id"]) == list(packed[split]["id"])
        assert [image.tobytes() for image in tree[split]["image"]] == [
            image.tobytes() for image in packed[split]["image"]
        ]


def test_two_processes_give_the_same_rows(tmp_path):
    root = write_tree(tmp_path / "data", layout())
    one = load_corpus("genimage", root, split="train", cache_dir=tmp_path / "one")
    two = load_corpus("genimage", root, split="train", cache_dir=tmp_path / "two", num_proc=2)
    assert list(one["id"]) == list(two["id"])


def test_bad_files_are_counted(tmp_path):
    builder = corpus_builder("genimage", write_tree(tmp_path, {**layout(), **BAD}), hash_files=False)
    notes = Notes()
    rows = [row for piece in builder.splits(notes)["train"] for row in builder.rows(piece, notes)]
    assert len(rows) == 16
    assert notes.counts == {"empty file": 1, "not an image": 1}
    assert notes.examples["empty file"] == ["ADM/imagenet_ai_0508_adm/train/ai/zero.png"]


def test_nothing_found_says_what_is_expected(tmp_path):
    for files in ({}, {"x/y.png": image_bytes()}):
        with pytest.raises(FileNotFoundError, match="holds no GenImage: expected folders <generator>/imagenet"):
            load_corpus("genimage", write_tree(tmp_path, files), cache_dir=tmp_path / "cache")
    with pytest.raises(FileNotFoundError, match="does not exist: expected folders"):
        load_corpus("genimage", tmp_path / "nowhere")


class TestFilesHash:
    def test_it_follows_names_sizes_times_and_options(self, tmp_path):
        root = write_tree(tmp_path / "data", {"a.png": b"1"})
        seen = [files_hash(root, {}), files_hash(root, {"verify_images": "decode"})]
        assert files_hash(root, {}) == seen[0]
        os.utime(root / "a.png", ns=(1, 1))
        seen.append(files_hash(root, {}))
        (root / "a.png").write_bytes(b"22")
        seen.append(files_hash(root, {}))
        (root / "a.png").rename(root / "b.png")
        seen.append(files_hash(root, {}))
        assert len(set(seen)) == len(seen)

    def test_files_that_options_name_count_too(self, tmp_path):
        root, other = write_tree(tmp_path / "data", {"a.png": b"1"}), write_tree(tmp_path / "other", {"b.png": b"1"})
        before = files_hash(root, {"coco": str(other)})
        (other / "c.png").write_bytes(b"new")
        assert files_hash(root, {"coco": str(other)}) != before

    def test_parts_beside_an_archive_and_dangling_links(self, tmp_path):
        write_tree(tmp_path, {"d.part1.tar": b"1", "other.zip": b"1"})
        before = files_hash(tmp_path / "d.part1.tar", {})
        (tmp_path / "other2.zip").write_bytes(b"1")
        (tmp_path / "d.gone").symlink_to(tmp_path / "nothing")
        assert files_hash(tmp_path / "d.part1.tar", {}) == before
        (tmp_path / "d.part2.tar").write_bytes(b"2")
        assert files_hash(tmp_path / "d.part1.tar", {}) != before


def test_changed_files_are_noticed(tmp_path):
    root = write_tree(tmp_path / "data", layout())
    assert len(load_corpus("genimage", root, split="train", cache_dir=tmp_path / "cache")) == 16
    write_tree(root, {"ADM/imagenet_ai_0508_adm/train/ai/new.png": image_bytes(200)})
    assert len(load_corpus("genimage", root, split="train", cache_dir=tmp_path / "cache")) == 17
