from collections import Counter

import pytest
from archives_layout import image_bytes, write_tree, write_zip
from direct_rows import direct_rows
from three_ways import assert_three_ways_equal

from forgescope.datasets_scripts.load import load_corpus

GENEVAL = {f"GenEval/{number:05}.png": image_bytes(number) for number in range(4)}
REASON = {f"images/{number}.png": image_bytes(number + 10) for number in range(3)}


def published(root):
    write_zip(root / "GenEval.zip", GENEVAL)
    write_zip(root / "ReasonEdit.zip", REASON)
    return root


@pytest.mark.parametrize(("config", "parts"), [(None, {"geneval": 4}), ("all", {"geneval": 4, "reasonedit": 3})])
def test_in_three_ways(tmp_path, config, parts):
    rows = assert_three_ways_equal("gptimgeval", published(tmp_path / "data"), tmp_path, config)["test"]
    assert Counter(rows["source"]) == parts
    assert set(rows["label"]) == {1}
    assert set(rows["mask"]) == {None}
    assert {row["id"] for row in rows if row["source"] == "geneval"} == set(GENEVAL)


def test_parts_that_were_not_asked_for_are_counted(tmp_path):
    rows, notes = direct_rows("gptimgeval", published(tmp_path))
    assert len(rows["test"]) == 4
    assert notes.counts == {"image of another part, left out": 3}
    assert notes.examples["image of another part, left out"][0] == "ReasonEdit/images/0.png: reasonedit"


@pytest.mark.parametrize("folder", ["GenEval", "gen_eval-new", "deep/down/GenEval"])
def test_unpacked_folders_may_be_given_themselves_or_from_above(tmp_path, folder):
    files = {f"{folder}/{name.split('/')[-1]}": data for name, data in GENEVAL.items()}
    write_tree(tmp_path / "data", {**files, f"{folder}/zero.png": b""})
    for root in (tmp_path / "data", tmp_path / "data" / folder):
        rows, notes = direct_rows("gptimgeval", root)
        assert [row["source"] for row in rows["test"]] == ["geneval"] * 4
        assert notes.counts == {"empty file": 1}


def test_a_single_archive_whose_images_stand_in_no_folder(tmp_path):
    path = write_zip(tmp_path / "GenEval.zip", {name.split("/")[-1]: data for name, data in GENEVAL.items()})
    rows, _ = direct_rows("gptimgeval", path)
    assert [row["id"] for row in rows["test"]] == list(GENEVAL)


def test_nothing_found_says_what_is_expected(tmp_path):
    for files in ({}, {"other/x.png": image_bytes()}):
        with pytest.raises(FileNotFoundError, match="holds no GPT-ImgEval: expected GenEval.zip"):
            load_corpus("gptimgeval", write_tree(tmp_path, files), cache_dir=tmp_path / "cache")
