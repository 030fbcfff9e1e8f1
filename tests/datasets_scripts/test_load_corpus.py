import builtins
import io
import os
import pathlib
import re
import subprocess
import sys

import datasets
import pytest
from tiny_corpus import ROWS, image_bytes, register, row, write_corpus

import forgescope
from forgescope.datasets_scripts.corpus import CorpusConfig
from forgescope.datasets_scripts.load import CORPORA, corpus_builder_class, load_corpus

MANY = 40_000


@pytest.fixture
def name(monkeypatch):
    return register(monkeypatch)


@pytest.fixture
def load(name, tmp_path):
    """Load tmp_path/data with a cache of the test's own."""

    def call(**options):
        return load_corpus(name, tmp_path / "data", cache_dir=tmp_path / "cache", **options)

    return call


def test_the_public_name():
    assert forgescope.load_corpus is load_corpus
    assert "load_corpus" in forgescope.__all__
    with pytest.raises(AttributeError, match="module 'forgescope' has no attribute 'load_corpora'"):
        _ = forgescope.load_corpora


def test_importing_forgescope_does_not_wait_for_datasets():
    code = "import sys; sys.argv = ['forgescope']; import forgescope; print('datasets' in sys.modules)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert child.stdout.strip() == "False", child.stderr


def test_what_comes_back(load, tmp_path):
    write_corpus(tmp_path / "data")
    both = load()
    assert {split: type(rows) for split, rows in both.items()} == dict.fromkeys(["train", "test"], datasets.Dataset)
    assert load(split="test")["id"] == ["five.png", "six.png"]
    assert isinstance(load(streaming=True), datasets.IterableDatasetDict)
    assert [one["id"] for one in load(streaming=True, split="test")] == ["five.png", "six.png"]


@pytest.mark.parametrize(
    ("split", "expected"),
    [("train[:50%]", ["one.png", "two.jpg"]), ("train[3:]", ["four.png"]), ("train+test", None)],
)
def test_slices_of_splits(load, tmp_path, split, expected):
    write_corpus(tmp_path / "data")
    if expected is None:
        assert load(split=split)["id"] == [one["file"] for one in ROWS]
    else:
        assert load(split=split)["id"] == expected


class TestWrongUse:
    def test_unknown_corpus(self, tmp_path):
        with pytest.raises(
            ValueError, match=r"^unknown corpus 'coco': expected one of cnnspot, diffseg30k, folder, .*"
        ):
            load_corpus("coco", tmp_path)

    def test_unknown_configuration_option_and_split(self, load, tmp_path):
        write_corpus(tmp_path / "data")
        with pytest.raises(ValueError, match="tiny_corpus has no configuration 'x': expected one of all, masks_only"):
            load(config="x")
        with pytest.raises(ValueError, match="tiny_corpus has no option colour: expected invert, verify_images"):
            load(colour="red")
        for streaming in (False, True):
            with pytest.raises(ValueError, match=f"no split 'dev' in {tmp_path / 'data'}: it has train, test"):
                load(split="dev", streaming=streaming)

    def test_missing_and_empty_folders(self, load, tmp_path):
        with pytest.raises(FileNotFoundError, match="data does not exist: expected rows.jsonl"):
            load()
        (tmp_path / "data").mkdir()
        for streaming in (False, True):
            with pytest.raises(FileNotFoundError, match="data holds no Tiny Corpus: expected rows.jsonl"):
                load(streaming=streaming)

    def test_a_fatal_value_comes_out_as_it_is(self, load, tmp_path):
        write_corpus(tmp_path / "data", [row("bad.png", mask=[3])])
        with pytest.raises(ValueError, match=r"^bad.png has mask values up to 3: expected 0 to 2$"):
            load()
        with pytest.raises(ValueError, match="expected 0 to 2"):
            list(load(streaming=True, split="train"))


class TestCache:
    """Prepared rows are used again as long as nothing changed, in one process."""

    def test_nothing_changed(self, load, tmp_path, monkeypatch):
        write_corpus(tmp_path / "data")
        first = load(split="train")
        second = load(split="train")
        assert first.cache_files == second.cache_files

    def test_a_file_changed_in_place(self, load, tmp_path):
        write_corpus(tmp_path / "data")
        before = load(split="train")
        assert before[0]["image"].size == (12, 10)
        (tmp_path / "data/one.png").write_bytes(image_bytes(77, (20, 16)))
        after = load(split="train")
        assert after[0]["image"].size == after[0]["mask"].size == (20, 16)

    def test_rows_added_and_removed(self, load, tmp_path):
        write_corpus(tmp_path / "data")
        assert len(load(split="train")) == 4
        write_corpus(tmp_path / "data", [*ROWS, row("seven.png")])
        assert len(load(split="train")) == 5
        write_corpus(tmp_path / "data", ROWS[:2])
        assert {split: len(rows) for split, rows in load().items()} == {"train": 2}

    def test_a_removed_file(self, load, tmp_path):
        write_corpus(tmp_path / "data")
        assert load(split="train")["id"][0] == "one.png"
        (tmp_path / "data/one.png").unlink()
        assert load(split="train")["id"] == ["two.jpg", "three.png", "four.png"]

    def test_options_and_configurations_have_rows_of_their_own(self, load, tmp_path):
        write_corpus(tmp_path / "data")
        plain, inverted = load(split="train"), load(split="train", invert=True)
        assert plain[0]["mask"].getpixel((0, 0)) == 1
        assert inverted[0]["mask"].getpixel((0, 0)) == 0
        assert len(load(split="train", config="masks_only")) == 3
        assert load(split="train")[0]["mask"].getpixel((0, 0)) == 1


def test_two_processes_give_the_rows_of_one(load, name, tmp_path):
    rows = [row(f"{number:02}.png", source=str(number), mask=[number % 3]) for number in range(9)]
    write_corpus(tmp_path / "data", rows)
    one = load(split="train")
    two = load_corpus(name, tmp_path / "data", split="train", num_proc=2, cache_dir=tmp_path / "other")
    assert two["id"] == one["id"] == [one["file"] for one in rows]
    assert [mask.tobytes() for mask in two["mask"]] == [mask.tobytes() for mask in one["mask"]]


def test_workers_share_a_stream(load, tmp_path):
    write_corpus(tmp_path / "data", [row(f"{number:02}.png") for number in range(9)])
    stream = load(streaming=True, split="train")
    assert stream.num_shards == 9
    halves = [[one["id"] for one in stream.shard(2, index)] for index in (0, 1)]
    assert sorted(halves[0] + halves[1]) == [f"{number:02}.png" for number in range(9)]
    assert min(map(len, halves)) == 4


@pytest.fixture
def opened(monkeypatch):
    """Names of the files that are opened, however that is done."""
    names = []

    def recording(real):
        def call(file, *args, **kwargs):
            names.append(os.fspath(file) if isinstance(file, (str, os.PathLike)) else str(file))
            return real(file, *args, **kwargs)

        return call

    monkeypatch.setattr(builtins, "open", recording(builtins.open))
    monkeypatch.setattr(io, "open", recording(io.open))
    monkeypatch.setattr(pathlib.Path, "open", recording(pathlib.Path.open))
    return names


def test_streaming_from_many_files_opens_only_those_it_gives(tmp_path, opened):
    folder = tmp_path / "BigGAN/imagenet_ai_0419_biggan/train/ai"
    folder.mkdir(parents=True)
    image = image_bytes(0)
    first = folder / "00000.png"
    first.write_bytes(image)
    for number in range(1, MANY):
        os.link(first, folder / f"{number:05}.png")
    opened.clear()
    stream = load_corpus("genimage", tmp_path, streaming=True, split="train")
    assert [name for name in opened if name.endswith(".png")] == []
    assert [one["id"].rsplit("/")[-1] for one in stream.take(3)] == ["00000.png", "00001.png", "00002.png"]
    # one row ahead is read
    assert {pathlib.Path(name).name for name in opened if name.endswith(".png")} <= {f"0000{n}.png" for n in range(4)}


def test_every_corpus_has_a_builder_with_a_card():
    for name in CORPORA:
        builder = corpus_builder_class(name)
        assert builder.__module__ == f"forgescope.datasets_scripts.{name}"
        assert builder.BUILDER_CONFIGS[0].name == (builder.DEFAULT_CONFIG_NAME or "default")
        for text in (builder.CARD.title, builder.CARD.description, builder.CARD.terms, builder.CARD.labels):
            assert text
        assert builder.EXPECTED


def test_the_documentation_names_every_corpus_configuration_and_option(repository):
    text = (repository / "docs" / "corpora.md").read_text()
    _, *parts = re.split(r"^### ", text, flags=re.MULTILINE)
    sections = {part.split("\n")[0]: part for part in parts}
    assert set(sections) == set(CORPORA)
    common = set(CorpusConfig.__dataclass_fields__)
    for name in CORPORA:
        builder = corpus_builder_class(name)
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
        assert re.findall(r"`([^`]+)`", row.split("|")[2]) == [config.name for config in builder.BUILDER_CONFIGS]
        options = set(builder.BUILDER_CONFIG_CLASS.__dataclass_fields__) - common
        assert [option for option in options if f"`{option}`" not in sections[name]] == []
