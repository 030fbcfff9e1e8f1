import dataclasses
import io
import json

import numpy as np
import pytest
from damaged_exif import TURNED_AND_DAMAGED
from PIL import ExifTags, Image
from tiny_corpus import ROWS, image_bytes, register, row, write_corpus

from forgescope.datasets_scripts import inspection
from forgescope.datasets_scripts.contact_sheet import contact_sheet, draw_sheet, overlay, pick_examples
from forgescope.datasets_scripts.duplicates import DuplicateFinder
from forgescope.datasets_scripts.inspection import inspect_corpus
from forgescope.datasets_scripts.inspection_report import Broken
from forgescope.datasets_scripts.load import corpus_builder


@pytest.fixture
def name(monkeypatch):
    return register(monkeypatch)


@pytest.fixture
def inspected(name, tmp_path):
    def call(rows=ROWS, files=None, **options):
        return inspect_corpus(name, write_corpus(tmp_path / "data", rows, **(files or {})), **options)

    return call


def cut(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


def test_counts(inspected):
    report = inspected()
    assert (report.corpus, report.title, report.config, report.limit) == ("tiny_corpus", "Tiny Corpus", "all", None)
    assert report.rows == {"train": 4, "test": 2}
    assert report.regions == {"train": 3, "test": 4}
    assert report.counts == {
        "label": {"train": {"fake": 2, "real": 2}, "test": {"fake": 1, "real": 1}},
        "source": {"train": {"a": 2, "b": 2}, "test": {"a": 2}},
        "edit_models": {"train": {"flux": 1, "sd": 2}, "test": {}},
    }
    assert report.by_source == {"a": {"fake": 2, "real": 2}, "b": {"fake": 1, "real": 1}}
    assert report.formats == {"PNG RGB": 5, "JPEG RGB": 1}
    assert (report.broken, report.notes, report.unusable) == ([], {}, 0)


def test_masks(inspected):
    found = inspected(probe=3).coverage["mask"]
    # rows 0 and 1 of four columns are value 1, rows 2 and 3 value 2, of 12 x 10 pixels
    assert (found.masks, found.without, found.empty, found.probed) == (4, 2, 1, 3)
    assert (found.minimum, found.median, found.maximum) == pytest.approx((8 / 120, 8 / 120, 16 / 120))
    assert found.values == {0: 3, 1: 2, 2: 1}
    assert found.histogram == [0, 2, 1, *[0] * 17]


def test_a_mask_column_without_masks(inspected):
    found = inspected().coverage["ai_mask"]
    assert (found.masks, found.without, found.median, found.values) == (0, 6, None, {})


def test_sizes_are_those_that_are_displayed(inspected):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    turned = io.BytesIO()
    Image.new("RGB", (30, 20)).save(turned, "JPEG", exif=exif)
    rows = [row("a.png"), row("b.png"), row("c.jpg", mask=[1])]
    report = inspected(rows, {"a_png": image_bytes(0, (40, 8)), "c_jpg": turned.getvalue()})
    assert report.sizes.images == {(40, 8): 1, (12, 10): 1, (20, 30): 1}
    assert (report.sizes.width, report.sizes.height) == ((12, 20, 40), (8, 10, 30))
    assert report.notes["mask and image differ in size"] == {
        "count": 1,
        "examples": ["c.jpg: mask 30 x 20, image 20 x 30"],
    }


def test_equal_files(inspected):
    rows = [row("a.png"), row("b.png", label="fake"), row("c.png", "test"), row("d.png", "test"), row("e.png", "test")]
    same, other = image_bytes(7), image_bytes(8)
    found = inspected(rows, {"a_png": same, "b_png": same, "c_png": same, "d_png": other, "e_png": other}).duplicates
    assert (found.distinct, found.rows, found.groups) == (2, 3, 2)
    assert (found.across_splits, found.across_labels) == (1, 1)
    assert found.examples == [["train: a.png", "train: b.png", "test: c.png"], ["test: d.png", "test: e.png"]]


def test_rows_without_an_image(inspected, name, tmp_path):
    report = inspected([row("a.png", mask=[1]), row("absent1"), row("absent2")])
    assert report.rows == {"train": 3}
    assert (report.duplicates.distinct, report.duplicates.rows) == (1, 0)
    assert report.sizes.images == {(12, 10): 1}
    assert (report.coverage["mask"].masks, report.coverage["mask"].without, report.unusable) == (1, 2, 0)
    assert contact_sheet(name, tmp_path / "data").width == 250 + 10
    report = inspected([row("absent1"), row("absent2")])
    assert (report.sizes, report.formats, report.duplicates.distinct) == (None, {}, 0)


def test_many_equal_files():
    finder = DuplicateFinder()
    for number in range(5000):
        finder.add(bytes([number % 100]), "train", "real", str(number))
    found = finder.find()
    assert (found.distinct, found.rows, found.groups, len(found.examples)) == (100, 4900, 100, 20)
    assert found.examples[1] == ["train: 1", "train: 101", "train: 201", "train: 301", "train: 401"]


BROKEN = {"one_png": cut(image_bytes(0, (64, 64))), "two_jpg": b"", "four_png": b"words"}


class TestBrokenFiles:
    def test_all_of_them_are_named(self, inspected):
        report = inspected(files=BROKEN)
        assert [(one.split, one.id) for one in report.broken] == [("train", "one.png"), ("train", "one.png")]
        assert [one.reason.split(":")[0] for one in report.broken] == ["image", "original"]
        assert {kind: note["count"] for kind, note in report.notes.items()} == {"empty file": 1, "not an image": 1}
        assert report.rows["train"] == 2
        assert report.unusable == 4

    def test_headers_alone_do_not_show_what_breaks_off(self, inspected):
        report = inspected(files=BROKEN, full_decode=False)
        assert (report.broken, report.unusable) == ([], 2)

    def test_the_builder_may_leave_them_out_itself(self, inspected):
        report = inspected(files=BROKEN, verify_images="decode")
        assert report.rows["train"] == 1
        assert report.notes["damaged image"]["count"] == 1
        assert (report.broken, report.unusable) == ([], 3)


def test_the_paper_beside_what_is_here(inspected):
    rows = [(one.split, one.quantity, one.paper, one.here, one.where) for one in inspected().comparison]
    assert rows == [
        ("train", "rows", 9, 4, "Table 1"),
        ("all", "fake", 4, 3, "Section 2"),
        ("all", "regions", 7, 7, "Section 3"),
        ("train", "source=b", 3, 2, "Table 2"),
        ("all", "weather=wet", 1, None, "Table 3"),
    ]


@pytest.mark.parametrize("options", [{"limit": 1}, {"splits": ["train"]}])
def test_parts_are_not_compared(inspected, options):
    report = inspected(**options)
    assert {one.here for one in report.comparison} == {None}
    assert report.rows == ({"train": 1, "test": 1} if "limit" in options else {"train": 4})


def test_rows_come_in_their_order_whatever_the_threads_do(inspected):
    rows = [row(f"{number:03}.png", mask=[number % 3]) for number in range(50)]
    report = inspected(rows, probe=1)
    assert report.coverage["mask"].values == {0: 1}
    assert report.rows == {"train": 50}


def test_values_beyond_the_first_are_one(inspected, monkeypatch):
    monkeypatch.setattr(inspection, "MAX_VALUES", 2)
    report = inspected([row(f"{number}.png", source=f"s{number}") for number in range(5)])
    assert report.counts["source"] == {"train": {"(others)": 3, "s0": 1, "s1": 1}}
    assert set(report.by_source) == {"(others)", "s0", "s1"}


def test_json_holds_everything(inspected):
    report = inspected(files={"four_png": b""})
    read = json.loads(report.to_json())
    assert read == json.loads(json.dumps(report.to_dict()))
    assert read["sizes"]["images"] == [[12, 10, 5]]
    assert read["notes"] == {"empty file": {"count": 1, "examples": ["four.png"]}}
    assert read["comparison"][0] == {
        "split": "train", "quantity": "rows", "paper": 9, "here": 3, "where": "Table 1"
    }  # fmt: skip
    assert '"width": [12, 12, 12]' in report.to_json()


def test_tables(inspected):
    report = inspected(files={"four_png": b"", "six_png": image_bytes(4)})
    report = dataclasses.replace(report, broken=[Broken("train", f"{number}.png", "cut") for number in range(25)])
    tables = {title: (header, lines) for title, header, lines in report.tables()}
    assert list(tables) == [
        "Rows by label",
        "Rows by source",
        "Rows by edit_models",
        "Images",
        "Masks",
        "Equal image files",
        "Against the paper",
        "Met on the way",
        "Broken files",
    ]
    assert tables["Rows by label"] == (
        ["label", "train", "test"],
        [["fake", "2", "1"], ["real", "1", "1"], ["all", "3", "2"], ["regions", "3", "4"]],
    )
    assert tables["Against the paper"][1][0] == ["train", "rows", "9", "3", "Table 1"]
    assert tables["Against the paper"][1][4][3] == "not counted"
    assert tables["Masks"][1] == [["mask", "4", "1", "1", "6.67% to 13.33%, median 6.67%", "0(4) 1(2) 2(2)"]]
    assert tables["Broken files"][1][-1] == ["", "5 more", ""]


def test_many_mask_values_are_one_cell_of_the_table(inspected):
    report = inspected()
    found = dataclasses.replace(report.coverage["mask"], values=dict.fromkeys(range(5, 200), 1))
    report = dataclasses.replace(report, coverage={"mask": found})
    lines = next(lines for title, _, lines in report.tables() if title == "Masks")
    assert lines[0][-1] == "195 values from 5 to 199"


def test_a_column_without_values_is_not_shown(inspected):
    report = inspected([row("a.png", source=None)])
    assert "Rows by source" not in [title for title, _, _ in report.tables()]


def test_wrong_use(name, inspected, tmp_path):
    with pytest.raises(ValueError, match="tiny_corpus has no split validation in .*: it has train, test"):
        inspected(splits=["validation"])
    with pytest.raises(ValueError, match="has no option colour: expected invert, verify_images"):
        inspected(colour=1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty holds no Tiny Corpus: expected rows.jsonl"):
        inspect_corpus(name, tmp_path / "empty")
    with pytest.raises(ValueError, match="bad.png has mask values up to 3: expected 0 to 2"):
        inspected([row("bad.png", mask=[3])])


class TestContactSheet:
    def test_it_shows_every_split_source_and_label(self, name, tmp_path):
        rows = [row(f"{number}.png", source="many") for number in range(200)]
        rows += [row("few.png", "test", "fake", "few", mask=[1]), row("bad.png", "test", "fake", "broken")]
        bad = cut(image_bytes(1, (64, 64)))
        write_corpus(tmp_path / "data", rows, few_png=image_bytes(0, (24, 20)), bad_png=bad)
        sheet = contact_sheet(name, tmp_path / "data", count=6, columns=3)
        assert (sheet.mode, sheet.size) == ("RGB", (3 * 250 + 10, 2 * 284 + 10 + 27))
        colours = {colour for _, colour in sheet.getcolors(1 << 20)}
        assert {(255, 45, 45), (255, 190, 0), (34, 120, 60), (190, 40, 40)} <= colours

    def test_examples_are_spread_over_each_group(self, name, tmp_path):
        rows = [row(f"{number:02}.png", label=("real", "fake")[number % 2]) for number in range(40)]
        rows += [row("one.png", "test"), row("two.png", "test", "fake")]
        builder = corpus_builder(name, write_corpus(tmp_path / "data", rows), hash_files=False)
        chosen = [(split, one["id"]) for split, one in pick_examples(builder, 8)]
        fake, real = ["01.png", "13.png", "27.png"], ["00.png", "12.png", "26.png"]
        assert chosen[:2] == [("test", "two.png"), ("test", "one.png")]
        assert [one for _, one in chosen[2:]] == [*fake, *real]
        assert len(pick_examples(builder, 100)) == 42

    def test_an_image_with_damaged_exif_is_drawn_as_displayed(self):
        file = io.BytesIO()
        Image.new("RGB", (60, 40), (0, 0, 255)).save(file, "PNG", exif=TURNED_AND_DAMAGED)
        shown = row("a.png") | {"id": "a", "image": {"path": None, "bytes": file.getvalue()}, "mask": None}
        colours = draw_sheet([("train", shown)]).getcolors(1 << 20)
        assert next(count for count, colour in colours if colour == (0, 0, 255)) == 160 * 240

    def test_marked_pixels_are_tinted_and_outlined(self):
        mask = np.zeros((40, 60), np.uint8)
        mask[10:30, 10:50] = 2
        drawn = np.asarray(overlay(Image.new("RGB", (60, 40), (100, 100, 100)), Image.fromarray(mask)))
        assert drawn[5, 5].tolist() == [100, 100, 100]
        assert drawn[20, 30].tolist() == [154, 131, 65]
        assert drawn[10, 30].tolist() == [255, 190, 0]

    def test_a_mask_of_another_size_is_fitted(self):
        drawn = np.asarray(overlay(Image.new("RGB", (60, 40)), Image.new("L", (6, 4), 1)))
        assert drawn.shape == (40, 60, 3)
        assert drawn[20, 30].tolist() == [89, 15, 15]

    def test_nothing_to_show(self, name, tmp_path):
        write_corpus(tmp_path / "data", [row("a.png")], a_png=b"")
        with pytest.raises(FileNotFoundError, match="holds no image of Tiny Corpus that can be read"):
            contact_sheet(name, tmp_path / "data")


class TestPlots:
    def test_pictures_are_written(self, inspected, tmp_path):
        pytest.importorskip("matplotlib")
        from forgescope.datasets_scripts.inspection_plots import save_plots

        written = save_plots(inspected(), tmp_path / "plots")
        assert [path.name for path in written] == ["counts.png", "sizes.png", "coverage.png"]
        for path in written:
            with Image.open(path) as picture:
                assert picture.width == 1200
                assert len(picture.convert("RGB").getcolors(1 << 20)) > 10

    def test_bars_are_the_counts(self, inspected):
        pytest.importorskip("matplotlib")
        from forgescope.datasets_scripts.inspection_plots import _counts

        axes = _counts(inspected()).axes[0]
        assert [text.get_text() for text in axes.get_yticklabels()] == ["train (split)", "test (split)", "a", "b"]
        assert [bar.get_width() for bar in axes.patches] == [2, 1, 2, 1, 2, 1, 2, 1]

    def test_without_masks_there_is_no_coverage(self, inspected, tmp_path):
        pytest.importorskip("matplotlib")
        from forgescope.datasets_scripts.inspection_plots import save_plots

        assert [path.name for path in save_plots(inspected([row("a.png")]), tmp_path)] == ["counts.png", "sizes.png"]
