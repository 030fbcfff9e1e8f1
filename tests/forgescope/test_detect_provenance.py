"""Provenance beside the verdict: in report, rows, table, page and summary, and never in the score."""

import csv
import json
import sys

import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin
from report_page import page_data

from forgescope.analyze import Analyzer
from forgescope.cli import main
from forgescope.provenance_cell import provenance_cell
from forgescope.reading import ImageReadError

HOSTILE = '<script>alert(1)</script> & "a cat"\x1b[31m'
NOT_LOOKED_FOR = 'Content credentials were not looked for: pip install "forgescope[provenance]"'


@pytest.fixture(scope="module")
def analyzer(tiny_checkpoint):
    return Analyzer(tiny_checkpoint, device="cpu")


@pytest.fixture
def folder(tmp_path, photos, monkeypatch):
    """One picture twice, with and without texts of a generator."""
    (tmp_path / "photos").mkdir()
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", HOSTILE)
    photos[0].save(tmp_path / "photos/told.png", pnginfo=info)
    photos[0].save(tmp_path / "photos/untold.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def detect(monkeypatch, capsys, tiny_checkpoint):
    """Run the command line in this process; gives standard output."""

    def run(*arguments):
        words = ["forgescope", "detect", "photos", "--out", "out", "--device", "cpu", "--model", str(tiny_checkpoint)]
        monkeypatch.setattr(sys, "argv", [*words, *arguments])
        with pytest.raises(SystemExit) as status:
            main()
        assert status.value.code == 0
        return capsys.readouterr().out

    return run


def rows_of(folder):
    return {row["path"]: row for row in map(json.loads, (folder / "out/report.jsonl").read_text().splitlines())}


def test_score_and_maps_are_equal_to_the_bit_with_and_without_metadata(analyzer, photos, tmp_path):
    exif, info = Image.Exif(), PngImagePlugin.PngInfo()
    exif[ExifTags.Base.Software] = "Stable Diffusion"
    info.add_text("parameters", "a cat, Steps: 20")
    photos[3].save(tmp_path / "told.png", exif=exif, pnginfo=info)
    photos[3].save(tmp_path / "untold.png")
    told, untold = analyzer.analyze(tmp_path / "told.png"), analyzer.analyze(tmp_path / "untold.png")
    memory = analyzer.analyze(photos[3])
    assert told.provenance.generator_metadata == {
        "PNG parameters": "a cat, Steps: 20",
        "EXIF Software": "Stable Diffusion",
    }
    assert (untold.provenance.generator_metadata, memory.provenance) == ({}, None)
    for other in (untold, memory):
        assert (told.score, told.verdict, told.forged_fraction) == (other.score, other.verdict, other.forged_fraction)
        np.testing.assert_array_equal(told.probability_map, other.probability_map)
        assert told.notes == other.notes


def test_signed_and_unsigned_pixels_get_the_same_score(analyzer, photos, tmp_path):
    pytest.importorskip("c2pa")
    from signed_pictures import signed

    (tmp_path / "signed.png").write_bytes(signed(photos[0], "png"))
    photos[0].save(tmp_path / "unsigned.png")
    signed_report, unsigned = analyzer.analyze(tmp_path / "signed.png"), analyzer.analyze(tmp_path / "unsigned.png")
    assert signed_report.provenance.c2pa[0].validation_state == "Valid"
    assert signed_report.score == unsigned.score
    values = json.loads(json.dumps(signed_report.to_dict()))["provenance"]
    assert values["c2pa"][0]["source_types"] == ["trainedAlgorithmicMedia"]


def test_reading_can_be_left_out(tiny_checkpoint, folder):
    report = Analyzer(tiny_checkpoint, device="cpu", provenance=False).analyze(folder / "photos/told.png")
    assert (report.provenance, report.to_dict()["provenance"]) == (None, None)


def test_damaged_metadata_do_not_stop_an_examination(analyzer, photos, tmp_path):
    photos[0].save(tmp_path / "damaged.webp", lossless=True, exif=b"Exif\0\0no TIFF header")
    report = analyzer.analyze(tmp_path / "damaged.webp")
    assert report.score == analyzer.analyze(photos[0]).score
    assert report.provenance.notes[0].startswith("EXIF data cannot be read (")
    with pytest.raises(ImageReadError, match="no such file"):
        analyzer.analyze(tmp_path / "missing.png")


def test_rows_table_page_and_summary_show_it(folder, detect):
    out = detect("--format", "html")
    assert "  the file says: PNG parameters (as Stable Diffusion web UI writes)\n" in out
    assert "provenance: 0 with content credentials, 1 with metadata; no part of the verdicts\n" in out
    told, untold = (rows_of(folder)[f"photos/{name}.png"] for name in ("told", "untold"))
    assert told["provenance"]["generator_metadata"] == {"PNG parameters": HOSTILE}
    assert (untold["provenance"]["summary"], untold["score"]) == ("", told["score"])
    page = (folder / "out/report.html").read_text()
    assert page_data(page)["with"]["provenance"]
    cell, empty = (row["provenance"] for row in page_data(page)["rows"])
    assert cell.startswith('<td class="provenance"')
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;a cat&quot;" in cell
    assert empty == "<td></td>"
    assert "<script>alert" not in page
    assert "Provenance is what a file says of itself; it has no part in score and verdict." in page
    detect("--format", "csv")
    with open(folder / "out/report.csv", newline="") as file:
        assert [row["provenance"] for row in csv.DictReader(file)] == [told["provenance"]["summary"], ""]


def test_nothing_is_shown_where_nothing_was_read(folder, detect):
    out = detect("--no-provenance", "--format", "html")
    assert "provenance" not in out
    assert "the file says" not in out
    page = (folder / "out/report.html").read_text()
    assert "Provenance is what a file says" not in page
    assert not page_data(page)["with"]["provenance"]
    assert rows_of(folder)["photos/told.png"]["provenance"] is None


def test_a_missing_library_is_said_once(folder, detect, monkeypatch):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    out = detect("--format", "html")
    assert out.count(f"{NOT_LOOKED_FOR}.\n") == 1
    assert "PNG parameters (as Stable Diffusion web UI writes)" in out
    rows = rows_of(folder)
    assert [row["provenance"]["c2pa"] for row in rows.values()] == [None, None]
    assert rows["photos/untold.png"]["provenance"]["notes"] == [NOT_LOOKED_FOR]


def test_the_cell_names_claims_actions_and_problems():
    claim = {"issuer": "A & B", "signer": None, "signed_at": "2025-01-01", "generator": "<g>"} | {
        "actions": [{"action": "c2pa.created", "software": "Model X", "source_type": None}],
        "source_types": [],
        "validation_state": "Invalid",
        "problems": ["assertion.dataHash.mismatch: hash"],
    }
    cell = provenance_cell(
        {"summary": "s", "c2pa": [claim], "c2pa_error": None, "generator_metadata": {"PNG prompt": "x" * 400}}
        | {"notes": ["A <note>."]}
    )
    assert "<p>Invalid: signed as A &amp; B, 2025-01-01, &lt;g&gt;<br>c2pa.created · Model X<br>Problem: " in cell
    assert f"<b>PNG prompt</b> {'x' * 300}…" in cell
    assert '<p class="muted">A &lt;note&gt;.</p>' in cell
    error = {"summary": "s", "c2pa": [], "c2pa_error": "cut", "generator_metadata": {}, "notes": []}
    assert "<p>Content credentials cannot be read: cut</p>" in provenance_cell(error)
    assert provenance_cell(None) == "<td></td>"
