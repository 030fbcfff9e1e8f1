from collections import Counter

import pytest
from archives_layout import image_bytes, write_tree, write_zip
from three_ways import assert_three_ways_equal

from forgescope.datasets_scripts.load import corpus_builder, load_corpus
from forgescope.datasets_scripts.notes import Notes
from forgescope.datasets_scripts.synthwildx import KINDS

PER_KIND = 3
URL = "https://pbs.twimg.com/media/{}?format=jpg&name=large"


def listed() -> list[tuple[str, str]]:
    return [(f"{kind}/F_{kind[:2]}{number}-x.jpg", kind) for kind in KINDS for number in range(PER_KIND)]


def list_csv(rows=None) -> bytes:
    lines = [f"{URL.format(name)},{name},{kind}" for name, kind in (listed() if rows is None else rows)]
    return "\n".join(["url,filename,typ", *lines]).encode()


def files() -> dict[str, bytes]:
    downloaded = {name: image_bytes(seed, kind="JPEG") for seed, (name, _) in enumerate(listed())}
    return {"list.csv": list_csv(), **downloaded}


def read(root):
    builder = corpus_builder("synthwildx", root, hash_files=False)
    notes = Notes()
    return [row for piece in builder.splits(notes)["test"] for row in builder.rows(piece, notes)], notes


def test_in_three_ways(tmp_path):
    rows = assert_three_ways_equal("synthwildx", write_tree(tmp_path / "data", files()), tmp_path)["test"]
    assert Counter(rows["source"]) == dict.fromkeys(KINDS, PER_KIND)
    for row, (name, kind) in zip(rows, listed(), strict=True):
        assert (row["id"], row["source"], row["url"]) == (name, kind, URL.format(name))
        assert row["label"] == (kind != "real")
        assert row["mask"] is None


def test_images_that_were_not_downloaded_are_counted_with_what_was_found(tmp_path):
    kept = {name: data for name, data in files().items() if name.split("/")[-1] not in ("F_da0-x.jpg", "F_da2-x.jpg")}
    kept["real/F_re1-x.jpg"] = b""
    rows, notes = read(write_tree(tmp_path, kept))
    assert len(rows) == 4 * PER_KIND - 3
    assert notes.counts == {"listed image that is not there": 2, "empty file": 1}
    assert notes.examples["listed image that is not there"] == ["dalle3: 1 of 3 found"]


@pytest.mark.parametrize(
    "move",
    [
        lambda name: f"deep/{name}",
        lambda name: name.split("/")[-1] if name != "list.csv" else name,
        lambda name: f"data/synthwildx/{name}" if name == "list.csv" else f"images/{name}",
    ],
)
def test_the_files_may_lie_elsewhere(tmp_path, move):
    rows, notes = read(write_tree(tmp_path, {move(name): data for name, data in files().items()}))
    assert Counter(row["source"] for row in rows) == dict.fromkeys(KINDS, PER_KIND)
    assert not notes.counts


def test_a_zip_without_a_list_is_read_by_its_folders(tmp_path):
    inside = {name: data for name, data in files().items() if name != "list.csv"}
    write_zip(tmp_path / "SynthWildX.zip", {**inside, "other/x.jpg": image_bytes()})
    rows, notes = read(tmp_path)
    assert Counter((row["source"], row["label"]) for row in rows) == {
        (kind, "real" if kind == "real" else "fake"): PER_KIND for kind in KINDS
    }
    assert {row["url"] for row in rows} == {None}
    assert notes.counts == {"image outside the folders dalle3, firefly, midjourney_v5, real": 1}


def test_an_unknown_kind_and_a_missing_column_are_errors(tmp_path):
    write_tree(tmp_path, {"list.csv": list_csv([("real/a.jpg", "real"), ("x/b.jpg", "flux")])})
    with pytest.raises(ValueError, match=r"list\.csv line 3 has typ 'flux': expected one of dalle3, firefly"):
        load_corpus("synthwildx", tmp_path, cache_dir=tmp_path / "cache")
    write_tree(tmp_path, {"list.csv": b"url,file\na,b\n"})
    with pytest.raises(ValueError, match=r"list\.csv has no column filename, typ: found url, file"):
        load_corpus("synthwildx", tmp_path, cache_dir=tmp_path / "cache")


def test_nothing_found_says_what_is_expected(tmp_path):
    for inside in ({}, {"list.csv": list_csv()}):
        with pytest.raises(FileNotFoundError, match=r"holds no SynthWildX: expected list\.csv with the downloaded"):
            load_corpus("synthwildx", write_tree(tmp_path, inside), cache_dir=tmp_path / "cache")
