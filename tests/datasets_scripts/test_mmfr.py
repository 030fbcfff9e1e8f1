import json
import os
import time

import datasets
import pytest
from archives_layout import image_bytes, tar_bytes, write_parts, write_tree
from mmfr_layout import GENERATORS, QUESTION, answer, attributes, conversation, fake_name, mmfr_files, real_name
from three_ways import assert_three_ways_equal

from forgescope.datasets_scripts import mmfr
from forgescope.datasets_scripts.load import corpus_builder, load_corpus
from forgescope.datasets_scripts.notes import Notes

COT = "dataset/forgery_reasoning_cot.json"


def read(root, config=None, split="train", **options):
    """Rows of a split, and what was noted."""
    builder = corpus_builder("mmfr", root, config, hash_files=False, **options)
    notes = Notes()
    pieces = builder.splits(notes)[split]
    rows = [row for piece in pieces for row in builder.rows(piece, notes)]
    notes.merge(builder.files.notes)
    return rows, notes


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("mmfr"), mmfr_files())


class TestConversations:
    def test_in_three_ways(self, tree, tmp_path):
        loaded = assert_three_ways_equal("mmfr", tree, tmp_path)
        assert list(loaded) == ["train"]
        rows = loaded["train"]
        assert rows.column_names[:5] == ["image", "label", "mask", "id", "source"]
        assert len(rows) == 24
        for number, row in enumerate(rows):
            label = "real" if number % 2 else "fake"
            assert row["id"] == (real_name if number % 2 else fake_name)(number // 2)
            assert row["label"] == (label == "fake")
            assert row["source"] == ("laion" if number % 2 else "diffusiondb")
            assert row["question"] == QUESTION
            assert row["answer"] == answer(label, number // 2)
            assert row["reasoning"] is None
            assert row["mask"] is None
            assert row["image"].size == (12, 8)

    def test_parts_give_the_rows_of_the_tree(self, tree, tmp_path):
        write_parts(tmp_path / "parts", mmfr_files(), 86)
        packed = assert_three_ways_equal("mmfr", tmp_path / "parts", tmp_path)["train"]
        plain = load_corpus("mmfr", tree, split="train", cache_dir=tmp_path)
        assert list(packed["id"]) == list(plain["id"])
        assert [image.tobytes() for image in packed["image"]] == [image.tobytes() for image in plain["image"]]

    def test_any_one_part_names_its_sisters(self, tmp_path):
        part = write_parts(tmp_path / "parts", mmfr_files(), 20)[6]
        assert len(read(part)[0]) == 24

    def test_missing_parts_are_tolerated_and_counted(self, tmp_path):
        paths = write_parts(tmp_path, mmfr_files(), 30)
        for path in paths[12:18]:
            path.unlink()
        rows, notes = read(tmp_path)
        assert 0 < len(rows) < 24
        assert notes.counts["missing part"] == 6
        assert notes.counts["text without its image"] == 24 - len(rows)

    def test_parts_can_be_chosen(self, tmp_path):
        write_parts(tmp_path, mmfr_files(), 30)
        rows, notes = read(tmp_path, parts=tuple(range(1, 16)))
        assert 0 < len(rows) < 24
        assert "chosen part that is not there" not in notes.counts
        _, notes = read(tmp_path, parts=(*range(1, 31), 86))
        assert notes.examples["chosen part that is not there"] == ["86"]

    def test_two_processes_give_the_same_rows(self, tmp_path):
        root = write_tree(tmp_path / "data", mmfr_files(200))
        one = load_corpus("mmfr", root, split="train", cache_dir=tmp_path / "one")
        two = load_corpus("mmfr", root, split="train", cache_dir=tmp_path / "two", num_proc=2)
        assert len(one) == 400
        assert list(one["id"]) == list(two["id"])
        assert list(one["answer"]) == list(two["answer"])

    def test_the_folder_beats_the_conclusion(self, tmp_path):
        files = mmfr_files(2)
        wrong = [conversation(fake_name(0), "real", 0), conversation(real_name(0), "fake", 0)]
        files[COT] = json.dumps(wrong).encode()
        rows, notes = read(write_tree(tmp_path, files))
        assert [row["label"] for row in rows] == ["fake", "real"]
        assert notes.counts["conclusion that contradicts the folder, which is believed"] == 2

    def test_the_conclusion_labels_images_of_other_folders(self, tmp_path):
        files = {
            "dataset/new/a.png": image_bytes(),
            "dataset/new/b.png": image_bytes(1),
            "dataset/new/c.png": image_bytes(2),
        }
        said = [
            ("a", "<conclusion>It is FAKE"),
            ("b", "<CONCLUSION>This image is real</CONCLUSION> fake"),
            ("c", "It is fake."),
        ]
        turns = [
            {
                "image": f"new/{name}.png",
                "conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": text}],
            }
            for name, text in said
        ]
        files[COT] = json.dumps(turns).encode()
        rows, notes = read(write_tree(tmp_path, files))
        assert [(row["id"], row["label"]) for row in rows] == [
            ("dataset/new/a.png", "fake"),
            ("dataset/new/b.png", "real"),
        ]
        assert notes.counts["answer without a conclusion"] == 1
        assert notes.counts["image whose label nothing tells, skipped"] == 1

    def test_bad_entries_and_images_are_counted(self, tmp_path):
        files = mmfr_files(6)
        entries = json.loads(files[COT])
        entries[0].pop("image")
        entries[1]["conversations"] = entries[1]["conversations"][:1]
        entries[2] = "text"
        entries[3]["image"] = f"/home/me/dataset/{entries[3]['image']}"
        files[COT] = json.dumps(entries[:10]).encode()
        files[f"dataset/{real_name(2)}"] = b""
        files[f"dataset/{fake_name(3)}"] = b"text"
        del files[f"dataset/{real_name(3)}"]
        rows, notes = read(write_tree(tmp_path, files))
        assert [row["id"] for row in rows] == [real_name(1), fake_name(2), fake_name(4), real_name(4)]
        assert notes.counts == {
            "conversation without image, question or answer, skipped": 3,
            "empty file": 1,
            "not an image": 1,
            "text without its image": 1,
            "image without a text": 4,
        }

    def test_more_of_a_class_than_asked_for_is_left_out(self, tree):
        rows, _ = read(tree, max_per_class=2)
        assert [row["id"] for row in rows] == [fake_name(0), real_name(0), fake_name(1), real_name(1)]
        with pytest.raises(ValueError, match="max_per_class is 0: expected at least 1, or None"):
            read(tree, max_per_class=0)

    def test_damaged_json_is_an_error(self, tmp_path):
        files = mmfr_files(4)
        files[COT] = files[COT][:-40]
        with pytest.raises(ValueError, match=r"dataset/forgery_reasoning_cot\.json is damaged JSON"):
            load_corpus("mmfr", write_tree(tmp_path, files), cache_dir=tmp_path / "cache")

    def test_without_the_file_the_error_says_where_it_lies(self, tmp_path):
        files = mmfr_files(2)
        del files[COT]
        with pytest.raises(
            FileNotFoundError, match=r"no forgery_reasoning_cot\.json, which lies in dataset\.part1\.tar"
        ):
            load_corpus("mmfr", write_tree(tmp_path, files), cache_dir=tmp_path / "cache")

    def test_texts_alone_are_not_enough(self, tmp_path):
        for files in ({}, {COT: mmfr_files(2)[COT]}):
            with pytest.raises(FileNotFoundError, match=r"holds no images: expected dataset\.part1\.tar to"):
                load_corpus("mmfr", write_tree(tmp_path, files), cache_dir=tmp_path / "cache")


class TestAnnotations:
    def test_in_three_ways(self, tree, tmp_path):
        loaded = assert_three_ways_equal("mmfr", tree, tmp_path, "annotations")
        assert {split: len(rows) for split, rows in loaded.items()} == {"train": 24, "test": 16}
        train = loaded["train"]
        assert sorted(train["id"]) == sorted([*map(fake_name, range(12)), *map(real_name, range(12))])
        row = next(row for row in train if row["id"] == fake_name(4))
        assert (row["label"], row["source"], row["question"], row["answer"]) == (1, "diffusiondb", None, None)
        expected = sorted((name, text) for name, text in attributes("fake", 4).items() if text is not None)
        assert [(one["attribute"], one["text"]) for one in row["reasoning"]] == expected
        assert 0 < len(expected) < 3

    def test_evaluation_sets(self, tree):
        rows, notes = read(tree, "annotations", "test")
        assert not notes.counts
        for generator in GENERATORS:
            mine = [row for row in rows if row["source"] == generator]
            assert [row["label"] for row in mine] == ["fake", "real"] * 4
            assert mine[0]["id"] == f"evaluation_sets/{generator}/1_fake/0000.png"

    @pytest.mark.parametrize("folder", ["dataset/evaluation_sets", "dataset/evaluation_sets/gpt4o"])
    def test_a_folder_inside_is_enough(self, tree, folder):
        rows, notes = read(tree / folder, "annotations", "test")
        assert {row["source"] for row in rows} == ({"gpt4o"} if folder.endswith("gpt4o") else set(GENERATORS))
        assert [row["label"] for row in rows if row["source"] == "gpt4o"] == ["fake", "real"] * 4
        assert not notes.counts

    @pytest.mark.parametrize("spelling", ["{source}/{key}", "{key}", "dataset/{source}/{key}", "{name}"])
    @pytest.mark.parametrize("beside", [True, False])
    def test_every_spelling_of_the_training_keys_is_understood(self, tmp_path, spelling, beside):
        files = mmfr_files(3)
        for source in ("diffusiondb", "laion"):
            name = f"dataset/{source}_reasoning.json"
            texts = {
                spelling.format(source=source, key=key, name=key.split("/")[-1]): text
                for key, text in json.loads(files.pop(name)).items()
            }
            files[name if beside else f"dataset/{source}/{source}_reasoning.json"] = json.dumps(texts).encode()
        rows, notes = read(write_tree(tmp_path, files), "annotations")
        assert sorted(row["id"] for row in rows) == sorted([*map(fake_name, range(3)), *map(real_name, range(3))])
        assert not notes.counts

    def test_presets_report_missing_generators_and_leave_others_out(self, tmp_path):
        files = {
            name.replace("/gpt4o", "/DALLE-3"): data.replace(b"gpt4o/", b"DALLE-3/")
            for name, data in mmfr_files(2).items()
        }
        files = {
            name.replace("stablediffusion", "GLIDE"): data.replace(b"stablediffusion/", b"GLIDE/")
            for name, data in files.items()
        }
        root = write_tree(tmp_path, files)
        rows, notes = read(root, "annotations", "test")
        assert {row["source"] for row in rows} == {"GLIDE", "DALLE-3"}
        assert not notes.counts
        rows, notes = read(root, "annotations", "test", preset="v1")
        assert {row["source"] for row in rows} == {"GLIDE", "DALLE-3"}
        assert notes.counts == {"generator of the preset that is not there": 8}
        rows, notes = read(root, "annotations", "test", preset="v2")
        assert {row["source"] for row in rows} == {"DALLE-3"}
        assert notes.counts == {
            "generator of the preset that is not there": 9,
            "generator outside the preset, left out": 1,
        }
        assert len(mmfr.GENERATORS["v1"]) == len(mmfr.GENERATORS["v2"]) == 10
        with pytest.raises(ValueError, match="unknown preset 'v3': expected discovery, v1, v2"):
            read(root, "annotations", preset="v3")

    def test_quirks_are_counted(self, tmp_path):
        name = "dataset/evaluation_sets/gpt4o/gpt4o_reasoning.json"
        files = mmfr_files(2)
        texts = json.loads(files[name])
        keys = list(texts)
        texts[keys[0]] = {"Semantic Irrationality": None}
        texts[keys[1]] = None
        texts[keys[2]] = {"Beauty": "yes", "Low Image Quality": 3}
        texts[keys[3]] = ["text"]
        files[name] = json.dumps(texts).encode()
        rows, notes = read(write_tree(tmp_path, files), "annotations", "test")
        mine = [row["reasoning"] for row in rows if row["source"] == "gpt4o"]
        assert mine[:3] == [[], [], [{"attribute": "Beauty", "text": "yes"}]]
        assert len(mine) == 7
        assert notes.counts == {
            "image without any attribute": 2,
            "attribute outside the ten": 1,
            "attribute whose value is no text, left out": 1,
            "attributes that are no object, skipped": 1,
        }

    def test_ten_a_class_only_when_asked(self, tree):
        rows, _ = read(tree, "annotations", "test", max_per_class=1)
        assert [(row["source"], row["label"]) for row in rows] == [
            (generator, label) for generator in sorted(GENERATORS) for label in ("fake", "real")
        ]


def resident() -> int:
    """Resident memory of this process in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def many_conversations(count: int) -> bytes:
    """`count` conversations of about the published length."""
    long = " ".join(["reason"] * 150)
    template = json.dumps(conversation("NAME", "fake", 0)).replace("Therefore", f"{long} Therefore")
    return ("[" + ", ".join(template.replace("NAME", fake_name(number)) for number in range(count)) + "]").encode()


def write_many(root, count: int):
    """`count` images as links to one file, and their conversations."""
    write_tree(root, {COT: many_conversations(count), "one.png": image_bytes()})
    for number in range(3):
        (root / "dataset" / fake_name(number)).parent.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        os.link(root / "one.png", root / "dataset" / fake_name(number))
    (root / "one.png").unlink()
    return root


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads /proc")
@pytest.mark.parametrize("count", [20_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_streaming_is_bounded_in_memory(tmp_path, count):
    tar = tmp_path / "dataset.part1.tar"
    files = {f"dataset/{fake_name(number)}": image_bytes() for number in range(count)}
    tar.write_bytes(tar_bytes({COT: many_conversations(count), **files}))
    del files
    list(load_corpus("mmfr", write_many(tmp_path / "warm", 10), streaming=True)["train"])
    before, seen, most = resident(), 0, 0
    rows = load_corpus("mmfr", tar, streaming=True)["train"].cast_column("image", datasets.Image(decode=False))
    for _ in rows:
        seen += 1
        if seen % 1000 == 0:
            most = max(most, resident())
    assert seen == count
    assert most - before < 200e6 * count / 100_000


def test_streaming_begins_within_a_second_of_work_on_forty_thousand_files(tmp_path):
    root = write_many(tmp_path, 40_000)
    next(iter(load_corpus("mmfr", write_many(tmp_path / "warm", 10), streaming=True)["train"]))
    start = time.process_time()  # other processes must not fail this test
    row = next(iter(load_corpus("mmfr", root / "dataset", streaming=True)["train"]))
    elapsed = time.process_time() - start
    assert row["id"] == fake_name(0)
    assert elapsed < 1.0
