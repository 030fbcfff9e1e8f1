import dataclasses
import os
import re
import shutil
import zipfile

import datasets
import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import DatasetCard
from three_ways import assert_three_ways_equal, rows_of
from tiny_corpus import ROWS, TinyCorpus, image_bytes, register, row, write_corpus

from forgescope.datasets_scripts.export import export_corpus
from forgescope.datasets_scripts.load import load_corpus


@pytest.fixture
def name(monkeypatch):
    return register(monkeypatch)


@pytest.fixture
def export(name, tmp_path):
    """Export into tmp_path/out with a cache of the test's own."""

    def call(data_dir=None, out="out", **options):
        data_dir = write_corpus(tmp_path / "data") if data_dir is None else data_dir
        return export_corpus(name, data_dir, tmp_path / out, cache_dir=tmp_path / "cache", **options)

    return call


def plain(folder, tmp_path, **options):
    return datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "plain"), **options)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_kind_of_column_in_three_ways(name, tmp_path):
    loaded = assert_three_ways_equal(name, write_corpus(tmp_path / "data"), tmp_path)
    train = loaded["train"]
    assert train["id"] == ["one.png", "two.jpg", "three.png", "four.png"]
    assert train["label"] == [1, 1, 0, 0]
    assert [mask and mask.getextrema() for mask in train["mask"]] == [(0, 1), (0, 2), (0, 0), None]
    assert train[0]["original"]["bytes"] is None or train[0]["original"]["path"]
    assert [len(regions) for regions in loaded["test"]["regions"]] == [4, 0]
    assert loaded["test"][0]["scores"] == [0.5] * 4
    assert_three_ways_equal(name, tmp_path / "data", tmp_path, "masks_only", invert=True)


def test_shards_are_named_embedded_and_cut_into_row_groups(export, tmp_path):
    made = export(rows_per_group=3)
    assert (made.folder, made.rows, made.url) == (tmp_path / "out", {"train": 4, "test": 2}, None)
    assert set(contents(made.folder)) == {
        "README.md",
        "data/train-00000-of-00001.parquet",
        "data/test-00000-of-00001.parquet",
    }
    shard = pq.ParquetFile(made.folder / "data/train-00000-of-00001.parquet")
    assert [shard.metadata.row_group(number).num_rows for number in range(shard.num_row_groups)] == [3, 1]
    stored = shard.read(columns=["image"]).to_pylist()
    for expected, one in zip(ROWS, stored, strict=False):
        assert one["image"]["bytes"] == (tmp_path / "data" / expected["file"]).read_bytes()
        assert one["image"]["path"] == expected["file"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_several_processes_give_several_shards_and_the_same_rows(export, tmp_path):
    one, two = export(), export(tmp_path / "data", out="two", num_proc=2)
    assert len(list(two.folder.glob("data/train-*-of-00002.parquet"))) == 2
    wanted, found = plain(one.folder, tmp_path), plain(two.folder, tmp_path)
    for split in wanted:
        assert rows_of(wanted[split]) == rows_of(found[split])


def test_a_split_whose_name_begins_as_another_does(export, tmp_path):
    rows = [row("a.png", "train"), row("b.png", "train_extra"), row("c.png", "train_extra")]
    made = export(write_corpus(tmp_path / "data", rows))
    assert made.rows == {"train": 1, "train_extra": 2}
    loaded = plain(made.folder, tmp_path)
    assert {split: loaded[split]["id"] for split in loaded} == {"train": ["a.png"], "train_extra": ["b.png", "c.png"]}


def test_the_shards_do_without_the_sources(export, tmp_path):
    made = export()
    before = rows_of(plain(made.folder, tmp_path)["test"])
    shutil.rmtree(tmp_path / "data")
    moved = made.folder.rename(tmp_path / "moved")
    assert rows_of(plain(moved, tmp_path, split="test")) == before


def test_streaming_the_export(export, tmp_path):
    streamed = plain(export().folder, tmp_path, streaming=True, split="train")
    assert [one["id"] for one in streamed.take(2)] == ["one.png", "two.jpg"]


def test_a_split_without_a_row_is_left_out(export, name, tmp_path):
    rows = [row("a.png"), row("b.png", "test")]
    made = export(write_corpus(tmp_path / "data", rows, b_png=b"no image"))
    assert made.rows == {"train": 1}
    assert made.notes.counts == {"not an image": 1}
    assert set(plain(made.folder, tmp_path)) == set(load_corpus(name, tmp_path / "data", cache_dir=tmp_path / "cache"))
    with pytest.raises(ValueError, match=f"no file of {tmp_path}/bad can be used as Tiny Corpus"):
        export(write_corpus(tmp_path / "bad", rows, a_png=b"", b_png=b""), out="none")
    assert not (tmp_path / "none").exists()


def test_notes_of_all_processes_come_back(export, tmp_path):
    rows = [row(f"{number}.png") for number in range(8)]
    made = export(write_corpus(tmp_path / "data", rows, **{"1_png": b"", "6_png": b"", "7_png": b"x"}), num_proc=2)
    assert made.notes.counts == {"empty file": 2, "not an image": 1}
    assert made.notes.unusable == 3


class TestCard:
    def test_metadata(self, export, tmp_path):
        text = (export().folder / "README.md").read_text()
        data = yaml.safe_load(text.split("---\n")[1])
        assert data["license"] == "cc-by-4.0"
        assert data["pretty_name"] == "Tiny Corpus"
        assert data["configs"] == [
            {
                "config_name": "all",
                "data_files": [
                    {"split": "train", "path": "data/train-*"},
                    {"split": "test", "path": "data/test-*"},
                ],
            }
        ]
        features = {feature["name"]: feature for feature in data["dataset_info"]["features"]}
        assert features["mask"]["dtype"] == {"image": {"mode": "L"}}
        assert features["label"]["dtype"] == {"class_label": {"names": {"0": "real", "1": "fake"}}}

    def test_prose(self, export, tmp_path):
        write_corpus(tmp_path / "data", [*ROWS, row("pi|pe.png")])
        (tmp_path / "data/pi|pe.png").write_bytes(b"")
        text = (export(tmp_path / "data", config="all", invert=False).folder / "README.md").read_text()
        for line in (
            "# Tiny Corpus",
            "Squares of noise.",
            '`forgescope.load_corpus("tiny_corpus", data_dir=..., config="all", invert=False)`',
            "`label`: fake where the square was changed.",
            "label` is 0 = real, 1 = fake",
            "| 2 | scissors |",
            "| `original` | image, as the bytes of its file |",
            "| `regions` | list of (`sentence`: string; `mask`: image of mode L) |",
            "| train | 2 | 2 | 4 |",
            "| test | 1 | 1 | 2 |",
            "| b | 2 |",
            "| empty file | 1 | pi\\|pe.png |",
            "Licence: cc-by-4.0. Made for a test; do as you like.",
            "Publisher: <https://example.org/tiny>",
            "@misc{tiny, title={Tiny}}",
        ):
            assert line in text, line
        assert str(tmp_path) not in text

    def test_its_snippet_runs(self, export, tmp_path, monkeypatch):
        text = (export().folder / "README.md").read_text()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "plain"))
        names = {}
        exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], names)
        assert len(names["corpus"]["train"]) == 4

    def test_one_configuration_other_than_the_first(self, export, tmp_path):
        made = export(config="masks_only")
        assert plain(made.folder, tmp_path)["train"]["id"] == ["one.png", "two.jpg", "three.png"]


class TestExistingFolder:
    def test_an_empty_one_is_used(self, export, tmp_path):
        (tmp_path / "out").mkdir()
        assert export().rows["train"] == 4

    def test_a_foreign_one_is_refused_and_left_alone(self, export, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out/README.md").write_text("my own")
        with pytest.raises(ValueError, match="is not empty and holds no export of forgescope: give another folder"):
            export(overwrite=True)
        assert contents(tmp_path / "out") == {"README.md": b"my own"}

    def test_an_equal_export_is_taken_as_it_is(self, export, tmp_path):
        folder = export().folder
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        assert export(tmp_path / "data").rows == {}
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before

    @pytest.mark.parametrize("change", [{"invert": True}, {"config": "masks_only"}, {"rows_per_group": 1}, "file"])
    def test_another_export_needs_overwrite(self, export, tmp_path, change):
        before = contents(export().folder)
        if change == "file":
            os.utime(tmp_path / "data/one.png", ns=(1, 1))
            change = {}
        with pytest.raises(ValueError, match="holds an export of other files or options: overwrite it"):
            export(tmp_path / "data", **change)
        assert contents(tmp_path / "out") == before
        assert export(tmp_path / "data", overwrite=True, **change).rows

    def test_overwriting_keeps_what_others_added(self, export, tmp_path):
        folder = export().folder
        card = DatasetCard.load(folder / "README.md")
        card.data["language"] = "en"
        card.data["license"] = "mit"
        card.text = f"# Mine, above\n{card.text}\nMine, below.\n"
        (folder / "README.md").write_text(str(card))
        (folder / "LICENSE").write_text("mine")
        write_corpus(tmp_path / "data", ROWS[:4])
        assert export(tmp_path / "data", overwrite=True).rows == {"train": 4}
        assert set(contents(folder)) == {"LICENSE", "README.md", "data/train-00000-of-00001.parquet"}
        card = DatasetCard.load(folder / "README.md")
        assert card.text.startswith("# Mine, above\n")
        assert card.text.endswith("Mine, below.\n")
        assert card.text.count("# Tiny Corpus") == 1
        assert "| test |" not in card.text
        assert (card.data.language, card.data.license) == ("en", "mit")
        assert list(plain(folder, tmp_path)) == ["train"]

    def test_a_failure_leaves_what_was_there(self, export, tmp_path):
        before = contents(export().folder)
        write_corpus(tmp_path / "data", [row("a.png"), row("bad.png", mask=[3])])
        with pytest.raises(ValueError, match=r"^bad.png has mask values up to 3: expected 0 to 2$"):
            export(tmp_path / "data", overwrite=True)
        assert contents(tmp_path / "out") == before
        assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "data", "out"]


class TestRights:
    @pytest.mark.parametrize("licence", ["cc-by-nc-nd-4.0", "other", "unknown"])
    def test_pixels_under_an_unclear_licence_stay_here(self, export, tmp_path, licence, monkeypatch):
        card = dataclasses.replace(TinyCorpus.CARD, licence=licence, terms="Nobody may share them.")
        monkeypatch.setattr(TinyCorpus, "CARD", card)
        with pytest.raises(
            ValueError, match=f"'{licence}', which does not .* Nobody may share them. .*--i-have-rights"
        ):
            export(push_to="org/tiny")
        assert not (tmp_path / "out").exists()
        assert export().rows

    @pytest.mark.parametrize("repo_id", ["tiny", "a/b/c", "org/ti ny"])
    def test_impossible_repositories_are_refused_before_the_work(self, export, tmp_path, repo_id):
        with pytest.raises(ValueError, match="(?i)repo"):
            export(push_to=repo_id)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("count", [0, -1])
def test_rows_of_a_group(export, count):
    with pytest.raises(ValueError, match=f"rows_per_group must be 1 or more, got {count}"):
        export(rows_per_group=count)


def test_a_file_of_the_same_name_where_one_stands_changes_nothing(name, tmp_path, monkeypatch):
    """Bytes from an archive must not be exchanged for a file in the working directory."""
    write_corpus(tmp_path / "data")
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for path in sorted((tmp_path / "data").iterdir()):
            archive.write(path, path.name)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/one.png").write_bytes(image_bytes(99))
    monkeypatch.chdir(tmp_path / "elsewhere")
    packed = assert_three_ways_equal(name, tmp_path / "data.zip", tmp_path)
    unpacked = assert_three_ways_equal(name, tmp_path / "data", tmp_path)
    assert rows_of(packed["train"]) == rows_of(unpacked["train"])
