from collections import Counter

import pytest
from archives_layout import image_bytes, write_tree, write_zip
from three_ways import assert_three_ways_equal

from forgescope.datasets_scripts.cnnspot import CNNSPOT, DIFFUSION, UNIVERSAL
from forgescope.datasets_scripts.load import corpus_builder, load_corpus
from forgescope.datasets_scripts.notes import Notes

# What stands in the folders of one generator; the published loader would drop the last two.
NAMES = ("0_real/000.png", "1_fake/000.png", "0_real/a.b.v2.JPEG", "1_fake/001.PNG")
WITH_CLASSES = {"progan": ("cat", "train"), "cyclegan": ("apple",)}


def images(folder: str, names=NAMES) -> dict[str, bytes]:
    kinds = {name: "JPEG" if name.lower().endswith(("jpg", "jpeg")) else "PNG" for name in names}
    return {f"{folder}/{name}": image_bytes(seed, kind=kinds[name]) for seed, name in enumerate(names)}


def published_sets() -> dict[str, bytes]:
    files = {}
    for generator in ("progan", "cyclegan", "biggan", "seeingdark"):
        for name in WITH_CLASSES.get(generator, (None,)):
            files |= images(f"{generator}/{name}" if name else generator)
    return files


def universal() -> dict[str, bytes]:
    files = {f"test/{name}": data for name, data in published_sets().items()}
    for folder in ("imagenet", "laion"):
        files |= images(f"test/diffusion_datasets/{folder}", NAMES[::2])
    for folder in ("guided", "ldm_200", "dalle"):
        files |= images(f"test/diffusion_datasets/{folder}", NAMES[1::2])
    return files


def read(root, config=None, **options):
    builder = corpus_builder("cnnspot", root, config, hash_files=False, **options)
    notes = Notes()
    rows = {
        split: [row for piece in pieces for row in builder.rows(piece, notes)]
        for split, pieces in builder.splits(notes).items()
    }
    return rows, notes


def per_source(rows) -> dict[str, tuple[int, int]]:
    """Source -> number of real and of fake rows."""
    counts = Counter((row["source"], row["label"]) for row in rows)
    return {
        source: (counts[source, "real"], counts[source, "fake"]) for source in sorted({row["source"] for row in rows})
    }


def test_in_three_ways(tmp_path):
    loaded = assert_three_ways_equal("cnnspot", write_tree(tmp_path / "data", published_sets()), tmp_path)
    assert list(loaded) == ["test"]
    rows = loaded["test"]
    assert len(rows) == 5 * 4
    for row in rows:
        assert row["label"] == ("1_fake" in row["id"])
        assert row["source"] == row["id"].split("/")[0]
        assert row["category"] == (row["id"].split("/")[1] if row["source"] in WITH_CLASSES else None)
        assert row["mask"] is None
    assert {row["category"] for row in rows} == {None, "cat", "train", "apple"}
    assert len(CNNSPOT) == 13
    assert len(UNIVERSAL) == 19


def test_archives_and_wrappers_give_the_same_rows(tmp_path):
    plain, _ = read(write_tree(tmp_path / "a", published_sets()))
    write_zip(tmp_path / "b/CNN_synth_testset.zip", published_sets())
    packed, notes = read(tmp_path / "b")
    inside, _ = read(
        write_tree(tmp_path / "c", {f"dataset/test/{name}": data for name, data in published_sets().items()})
    )
    assert not notes.counts
    for other in (packed, inside):
        for row, right in zip(other["test"], plain["test"], strict=True):
            assert {name: row[name] for name in ("label", "source", "category")} == {
                name: right[name] for name in ("label", "source", "category")
            }
            assert row["id"].endswith(right["id"])


@pytest.mark.parametrize(
    ("folder", "inside", "expected"),
    [
        ("data", "newgen/cat", ("test", "newgen", "cat")),
        ("data", "newgen", ("test", "newgen", None)),
        ("data", "val/newgen/train", ("validation", "newgen", "train")),
        ("data", "train/StyleGAN2/car", ("train", "stylegan2", "car")),
        ("progan", "airplane", ("test", "progan", "airplane")),
        ("BigGAN", ".", ("test", "biggan", None)),
        ("mine", ".", ("test", "mine", None)),
        ("mine", "train", ("train", "mine", None)),
    ],
)
def test_generators_classes_and_splits(tmp_path, folder, inside, expected):
    root = write_tree(tmp_path / folder, images(inside))
    rows, _ = read(root)
    assert list(rows) == [expected[0]]
    assert {(row["source"], row["category"]) for row in rows[expected[0]]} == {expected[1:]}


class TestUniversalFakeDetect:
    def test_in_three_ways(self, tmp_path):
        root = write_tree(tmp_path / "data", universal())
        loaded = assert_three_ways_equal("cnnspot", root, tmp_path, "universalfakedetect")
        rows = [{**row, "label": ("real", "fake")[row["label"]]} for row in loaded["test"]]
        assert per_source(rows) == {
            "biggan": (2, 2),
            "cyclegan": (2, 2),
            "dalle": (0, 2),
            "guided": (0, 2),
            "imagenet": (2, 0),
            "laion": (2, 0),
            "ldm_200": (0, 2),
            "progan": (4, 4),
            "seeingdark": (2, 2),
        }

    def test_shared_photographs_can_stand_beside_each_generator(self, tmp_path):
        rows, _ = read(write_tree(tmp_path, universal()), "universalfakedetect", pair_reals=True)
        found = per_source(rows["test"])
        assert {name: found[name] for name in ("guided", "ldm_200", "dalle")} == dict.fromkeys(
            ("guided", "ldm_200", "dalle"), (2, 2)
        )
        assert not {"imagenet", "laion"} & set(found)
        assert {row["id"].split("/")[2] for row in rows["test"] if row["source"] == "guided"} == {"imagenet", "guided"}
        assert DIFFUSION["guided"] == "imagenet"

    def test_pairing_is_an_option_of_this_configuration_alone(self, tmp_path):
        root = write_tree(tmp_path, published_sets())
        with pytest.raises(ValueError, match="pair_reals is an option of universalfakedetect, not of cnnspot"):
            load_corpus("cnnspot", root, cache_dir=tmp_path / "cache", pair_reals=True)

    def test_other_configurations_leave_it_alone_and_say_so(self, tmp_path):
        files = {**universal(), **images("test/stylegan2/car"), **images("test/newgen")}
        root = write_tree(tmp_path, files)
        rows, notes = read(root)
        assert set(per_source(rows["test"])) == {"biggan", "cyclegan", "newgen", "progan", "seeingdark", "stylegan2"}
        assert notes.counts == {"image of universalfakedetect, another configuration": 10}
        rows, notes = read(root, "universalfakedetect")
        assert notes.counts == {"generator outside universalfakedetect, left out": 8}


class TestProGANTraining:
    @pytest.mark.parametrize("wrapped", [False, True])
    def test_both_archives_with_equal_names_inside(self, tmp_path, wrapped):
        for name in ("progan_train", "progan_val"):
            inside = {**images("cat"), **images("train", NAMES[:2])}
            files = {f"{name}/{inner}" if wrapped else inner: data for inner, data in inside.items()}
            write_zip(tmp_path / f"data/{name}.zip", files)
        loaded = assert_three_ways_equal("cnnspot", tmp_path / "data", tmp_path, "progan_train")
        assert {split: len(rows) for split, rows in loaded.items()} == {"train": 6, "validation": 6}
        for split, folder in (("train", "progan_train"), ("validation", "progan_val")):
            assert Counter(loaded[split]["category"]) == {"cat": 4, "train": 2}
            assert set(loaded[split]["source"]) == {"progan"}
            assert loaded[split][0]["id"].startswith(f"{folder}/cat/")

    def test_split_folders(self, tmp_path):
        files = {
            **images("dataset/train/train"),
            **images("dataset/val/cat"),
            **images("dataset/test/biggan"),
            **images("dataset/CNN_synth_testset/progan/cat"),
        }
        root = write_tree(tmp_path, files)
        rows, _ = read(root, "progan_train")
        assert {split: {row["category"] for row in found} for split, found in rows.items()} == {
            "train": {"train"},
            "validation": {"cat"},
        }
        rows, notes = read(root)
        assert {split: set(per_source(found)) for split, found in rows.items()} == {"test": {"biggan", "progan"}}
        assert notes.counts == {"image of progan_train, another configuration": 8}

    def test_a_class_called_train_is_no_split(self, tmp_path):
        rows, _ = read(write_tree(tmp_path / "progan_val", images("train")), "progan_train")
        assert {split: {row["category"] for row in found} for split, found in rows.items()} == {
            "validation": {"train"}
        }


def test_bad_files_are_counted(tmp_path):
    bad = {"biggan/1_fake/zero.png": b"", "biggan/1_fake/text.jpg": b"text", "biggan/1_fake/list.txt": b"x"}
    rows, notes = read(write_tree(tmp_path, {**images("biggan"), **bad}))
    assert len(rows["test"]) == 4
    assert notes.counts == {"empty file": 1, "not an image": 1}


def test_nothing_found_says_what_is_expected(tmp_path):
    for files in ({}, {"biggan/real/1.png": image_bytes()}):
        with pytest.raises(FileNotFoundError, match="holds no CNNSpot: expected folders <generator>"):
            load_corpus("cnnspot", write_tree(tmp_path, files), cache_dir=tmp_path / "cache")
