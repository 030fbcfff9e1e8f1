import io

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archives_layout import encoded, image_bytes, mask_bytes, tar_bytes, write_tree, write_zip
from direct_rows import direct_rows
from PIL import Image
from three_ways import assert_three_ways_equal, rows_of

from forgescope.datasets_scripts.diffseg30k import FIGURE_6_EDITORS, side_of
from forgescope.datasets_scripts.load import corpus_builder, load_corpus

PALETTE = [value for one in range(9) for value in (one * 20, 255 - one * 9, 7)]

# of the first 40 ids
VALIDATION = [15, 28]


def ids(number: int) -> np.ndarray:
    """12 x 8 mask of the ids 1 + number % 8 and 8; every fifth is untouched."""
    mask = np.zeros((8, 12), np.uint8)
    if number % 5:
        mask[1:3, 2:6] = 1 + number % 8
        mask[5, 5] = 8
    return mask


def layout(count: int = 20, palette: bool = False, folder: str = "train_copy/", scale: int = 1) -> dict[str, bytes]:
    files = {}
    for number in range(count):
        files[f"{folder}{number:08d}.image.png"] = image_bytes(number)
        mask = ids(number) if scale == 1 else (ids(number) > 0).astype(np.uint8) * scale
        files[f"{folder}{number:08d}.mask.png"] = mask_bytes(mask, PALETTE if palette else None)
    return files


def parquet_bytes(numbers: range, struct: bool = True) -> bytes:
    def cell(data: bytes):
        return {"bytes": data, "path": None} if struct else data

    columns = {
        "image": [cell(image_bytes(number)) for number in numbers],
        "mask": [cell(mask_bytes(ids(number))) for number in numbers],
        "extra": list(numbers),
    }
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, row_group_size=7)
    return buffer.getvalue()


def check_rows(loaded: datasets.DatasetDict, count: int) -> None:
    rows = [row for split in loaded for row in loaded[split]]
    assert len(rows) == count
    for row in rows:
        number = int(row["id"])
        expected = ids(number)
        assert (np.asarray(row["mask"]) == expected).all()
        assert (np.asarray(row["binary_mask"]) == (expected > 0)).all()
        assert (row["mask"].mode, row["binary_mask"].mode) == ("L", "L")
        found = sorted(set(expected.ravel().tolist()) - {0})
        assert row["edit_models"] == [FIGURE_6_EDITORS[one - 1] for one in found]
        assert row["label"] == int(bool(found))


def test_the_published_zip(tmp_path):
    write_zip(tmp_path / "data/train.zip", layout())
    loaded = assert_three_ways_equal("diffseg30k", tmp_path / "data", tmp_path)
    check_rows(loaded, 20)
    for split, rows in loaded.items():
        assert {side_of(one) for one in rows["id"]} == {split}


def test_palette_masks_keep_their_ids_and_every_archive_gives_the_same(tmp_path):
    write_tree(tmp_path / "tar", {"train.tar": tar_bytes(layout(palette=True))})
    tree = write_tree(tmp_path / "tree", layout())
    loaded = [
        load_corpus("diffseg30k", root, cache_dir=tmp_path / "cache")
        for root in (tmp_path / "tar", tree, tree / "train_copy")
    ]
    for one in loaded:
        check_rows(one, 20)
        assert rows_of(one["train"]) == rows_of(loaded[0]["train"])


def test_our_split_is_about_four_to_one():
    sides = [side_of(f"{number:08d}") for number in range(3000)]
    assert 0.18 < sides.count("validation") / 3000 < 0.22
    # fixed for ever: a change would move rows between the splits of those who trained on them
    assert [number for number in range(40) if side_of(f"{number:08d}") == "validation"] == VALIDATION


def test_stated_splits_are_kept(tmp_path):
    files = {**layout(6), **{f"val{name[10:]}": data for name, data in layout(3, folder="train_copy/").items()}}
    rows, notes = direct_rows("diffseg30k", write_tree(tmp_path / "a", files))
    assert {split: len(found) for split, found in rows.items()} == {"train": 6, "validation": 3}
    assert not any("hash" in kind for kind in notes.counts)
    rows, _ = direct_rows("diffseg30k", write_tree(tmp_path / "b", layout(4, folder="Test_set/")))
    assert {split: len(found) for split, found in rows.items()} == {"test": 4}
    rows, notes = direct_rows("diffseg30k", write_tree(tmp_path / "c", layout(20, folder="valleys/")))
    assert set(rows) == {"train", "validation"}
    assert any("which is not the authors' split" in kind for kind in notes.counts)


class TestParquet:
    def test_split_of_the_re_upload(self, tmp_path):
        files = {
            "data/cross_test-00000-of-00002.parquet": parquet_bytes(range(0, 20)),
            "data/cross_test-00001-of-00002.parquet": parquet_bytes(range(20, 25), struct=False),
        }
        loaded = assert_three_ways_equal("diffseg30k", write_tree(tmp_path / "data", files), tmp_path)
        assert list(loaded) == ["validation"]
        rows = list(loaded["validation"])
        assert [row["id"] for row in rows[19:21]] == [
            "cross_test-00000-of-00002.parquet#19",
            "cross_test-00001-of-00002.parquet#0",
        ]
        assert (np.asarray(rows[22]["mask"]) == ids(22)).all()

    def test_without_a_validation_file_rows_are_cut_by_hash(self, tmp_path):
        write_tree(tmp_path, {"train-00000-of-00001.parquet": parquet_bytes(range(40))})
        rows, _ = direct_rows("diffseg30k", tmp_path)
        found = {split: {row["id"] for row in some} for split, some in rows.items()}
        assert len(found["train"] | found["validation"]) == 40
        assert not found["train"] & found["validation"]

    def test_other_and_damaged_files_are_counted(self, tmp_path):
        other = io.BytesIO()
        pq.write_table(pa.table({"image": [b""], "other": [1]}), other)
        gap = io.BytesIO()
        pq.write_table(pa.table({"image": [image_bytes(), None, b"text"], "mask": [None, b"", b""]}), gap)
        files = {"a/x.parquet": other.getvalue(), "b/x.parquet": b"PAR1 no", "val.parquet": gap.getvalue()}
        rows, notes = direct_rows("diffseg30k", write_tree(tmp_path, files))
        assert rows == {"validation": []}
        assert notes.counts["image without mask"] == 1
        assert notes.counts["mask without image"] == 1
        assert notes.counts["not an image"] == 1
        assert notes.counts["Parquet file without image and mask"] == 1
        assert notes.counts["Parquet file that cannot be read"] == 1


class TestMaskValues:
    def test_probe_reports_and_warns(self, tmp_path):
        builder = corpus_builder("diffseg30k", write_tree(tmp_path, layout(palette=True)), hash_files=False)
        probe = builder.probe_masks(20)
        assert dict(probe.modes) == {"P": 20}
        assert sorted(probe.values) == list(range(9))
        assert builder.mask_ids() == {0: "untouched", **dict(enumerate(FIGURE_6_EDITORS, start=1))}
        _, notes = direct_rows("diffseg30k", tmp_path)
        assert notes.counts["order of the editing models is unverified (id2editor)"] == 1
        _, notes = direct_rows("diffseg30k", tmp_path, id2editor=tuple("abcdefgh"))
        assert not any("unverified" in kind for kind in notes.counts)

    def test_binary_masks_are_told_apart(self, tmp_path):
        root = write_tree(tmp_path / "data", layout(10, scale=255))
        loaded = assert_three_ways_equal("diffseg30k", root, tmp_path)
        for row in (row for split in loaded for row in loaded[split]):
            assert (np.asarray(row["mask"]) == (ids(int(row["id"])) > 0)).all()
            assert row["edit_models"] == (None if row["label"] else [])
        builder = corpus_builder("diffseg30k", root, hash_files=False)
        assert builder.mask_ids() == {}
        _, notes = direct_rows("diffseg30k", root)
        assert notes.counts["masks of 0 and 255, editing models unknown"] == 1
        with pytest.raises(ValueError, match=r'values 0, 255 where .* set mask_values="binary"'):
            load_corpus("diffseg30k", root, cache_dir=tmp_path / "cache", mask_values="ids")

    def test_masks_of_0_and_1_are_doubted(self, tmp_path):
        _, notes = direct_rows("diffseg30k", write_tree(tmp_path, layout() | _ones(20)))
        assert any("binary ones rather than ids?" in kind for kind in notes.counts)

    def test_ids_outside_the_map_are_errors_that_show_them(self, tmp_path):
        root = write_tree(tmp_path / "data", layout())
        with pytest.raises(
            ValueError, match=r"16 probed masks: values 0, 1, .*8 where the map has ids 1 to 3 \(a, b, c\)"
        ):
            load_corpus("diffseg30k", root, cache_dir=tmp_path / "cache", id2editor=("a", "b", "c"))
        # found in a row, not in the probe
        with pytest.raises(ValueError, match=r"0000\d\.mask\.png: values 0, .* where the map has ids 1 to 3"):
            load_corpus("diffseg30k", root, cache_dir=tmp_path / "cache", id2editor=("a", "b", "c"), probe=0)
        with pytest.raises(ValueError, match="unknown mask_values 'colour'"):
            direct_rows("diffseg30k", root, mask_values="colour")

    def test_colour_masks_are_errors(self, tmp_path):
        colours = np.zeros((8, 12, 3), np.uint8)
        colours[2] = (220, 20, 60)
        files = {**layout(4), "train_copy/00000002.mask.png": encoded(Image.fromarray(colours))}
        with pytest.raises(ValueError, match=r"00000002\.mask\.png is a colour mask \(RGB, first colours"):
            load_corpus("diffseg30k", write_tree(tmp_path / "data", files), cache_dir=tmp_path / "cache")


def _ones(count: int) -> dict[str, bytes]:
    return {f"train_copy/{number:08d}.mask.png": mask_bytes(ids(number) > 0) for number in range(count)}


def test_bad_files_are_counted(tmp_path):
    files = layout(8)
    del files["train_copy/00000001.mask.png"]
    del files["train_copy/00000002.image.png"]
    files["train_copy/00000003.image.png"] = b""
    files["train_copy/00000004.image.png"] = b"text"
    files["train_copy/00000005.mask.png"] = files["train_copy/00000005.mask.png"][:40]
    files["train_copy/00000006.mask.png"] = mask_bytes(np.full((4, 6), 3))
    files["train_copy/readme.txt"] = b"leave me"
    rows, notes = direct_rows("diffseg30k", write_tree(tmp_path, files), id2editor=tuple("abcdefgh"))
    found = {row["id"]: row for some in rows.values() for row in some}
    assert sorted(found) == ["00000000", "00000006", "00000007"]
    assert {kind: count for kind, count in notes.counts.items() if "hash" not in kind} == {
        "image without mask": 1,
        "mask without image": 1,
        "empty file": 1,
        "not an image": 1,
        "mask that cannot be read": 1,
        "mask resized to its image": 1,
    }
    with Image.open(io.BytesIO(found["00000006"]["mask"]["bytes"])) as mask:
        assert (mask.size, np.unique(mask).tolist()) == ((12, 8), [3])


def test_nothing_there(tmp_path):
    for files in ({}, {"a.png": image_bytes()}):
        with pytest.raises(FileNotFoundError, match=r"holds no DiffSeg30k: expected train\.zip"):
            load_corpus("diffseg30k", write_tree(tmp_path, files), cache_dir=tmp_path / "cache")
