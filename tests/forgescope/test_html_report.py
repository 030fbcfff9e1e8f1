"""The page of a run: every row, pictures inside or beside it, nothing from a file name becomes markup."""

import base64
import io
import json
import os
import re

import pytest
from PIL import Image
from report_page import entries, page_data

from forgescope import report_pictures
from forgescope.html_report import write_html
from forgescope.page_template import fill_page
from forgescope.results import ResultsFolder

SETTINGS = {"model": "org/<model>", "precision": "float32", "rule": "Forged from a score of 0.5.", "tile": None}
NASTY = "photos/<img src=x onerror=alert(1)></script>&\"'.jpg"
REGION = {"box": [0, 0, 450, 600], "area_fraction": 0.25, "mean_probability": 0.75, "editor": None}


@pytest.fixture
def results(tmp_path):
    """A journal of three rows: forged with pictures, authentic without overlay, failed."""
    (tmp_path / "out" / "overlays").mkdir(parents=True)
    Image.new("RGB", (900, 600), (255, 0, 0)).save(tmp_path / "out/overlays/a.jpg")
    Image.new("L", (900, 600), 128).save(tmp_path / "out/map.jpg")
    mask = Image.new("L", (900, 600))
    mask.paste(255, (0, 0, 450, 600))
    mask.save(tmp_path / "out/m.png")
    Image.new("RGB", (300, 600), (0, 0, 255)).save(tmp_path / "photo.png")
    shared = SETTINGS | {"error": None, "thresholds": {"authentic": 0.25, "forged": 0.5}}
    rows = [
        {
            "path": NASTY,
            "verdict": "forged",
            "score": 0.875,
            "forged_fraction": 0.25,
            "mask": str(tmp_path / "out/m.png"),
        }
        | {"overlay": str(tmp_path / "out/overlays/a.jpg"), "probability_map": str(tmp_path / "out/map.jpg")}
        | {"width": 900, "height": 600, "regions": [REGION], "notes": ["Turned <upright>."]}
        | shared,
        {"path": str(tmp_path / "photo.png"), "verdict": "authentic", "score": 0.1, "forged_fraction": 0.0}
        | {"mask": str(tmp_path / "gone.png"), "overlay": None, "regions": [], "notes": []}
        | shared,
    ]
    (tmp_path / "out/report.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    results = ResultsFolder(tmp_path / "out", SETTINGS)
    results.add_failure("photos/bad.jpg", "photos/bad.jpg: no such <file>")
    return results


@pytest.fixture
def page(results):
    path = write_html(results)
    assert path == results.folder / "report.html"
    return path.read_text(encoding="utf-8")


def picture(address):
    kind, content = re.fullmatch(r"data:image/(\w+);base64,(.+)", address).groups()
    assert kind == "webp"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_every_row_is_there_with_its_numbers(page):
    data = page_data(page)
    assert data["thresholds"] == {"authentic": 0.25, "forged": 0.5}
    assert data["with"] == dict.fromkeys(("ai", "editors", "explanation", "provenance"), False)
    first, second, failed = data["rows"]
    assert (first["path"], first["verdict"], first["score"], first["forged"]) == (NASTY, "forged", 0.875, 0.25)
    assert (first["width"], first["height"], first["notes"]) == (900, 600, ["Turned <upright>."])
    assert first["regions"] == [REGION | {"color": None}]
    assert (second["verdict"], second["score"], second["regions"]) == ("authentic", 0.1, [])
    assert (failed["verdict"], failed["score"], failed["thumbnail"]) == ("failed", None, None)
    assert failed["error"] == "photos/bad.jpg: no such <file>"
    assert "3 photographs, examined by org/&lt;model&gt; in float32." in page
    assert "Forged from a score of 0.5." in page
    assert re.findall(r'value="(\w+)" checked> <span[^>]*>\w+</span> (\d)', page) == [
        ("forged", "1"),
        ("authentic", "1"),
        ("failed", "1"),
    ]


def test_nothing_of_a_file_name_is_markup(page):
    assert "<img src=x" not in page
    assert "Turned <upright>" not in page
    assert "no such <file>" not in page
    assert page.count("</script>") == page.count("<script")
    for row in page_data(page)["rows"]:
        assert not any(re.search(r"[<>\s\"']", href) for _, href in row["files"])


def test_the_page_needs_no_network(page):
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r'(src|href)="', markup)
    assert "<link" not in page
    assert "<script src" not in page
    assert "default-src 'none'; img-src data: file: 'self';" in page


def test_a_small_page_holds_all_pictures_reduced(page):
    first, second, failed = page_data(page)["rows"]
    thumbnails = [picture(row["thumbnail"]) for row in (first, second)]
    assert [one.size for one in thumbnails] == [(160, 107), (80, 160)]
    assert [tuple(row["thumbnail_size"]) for row in (first, second)] == [(160, 107), (80, 160)]
    assert thumbnails[0].getpixel((9, 9))[0] > 240
    assert thumbnails[1].getpixel((9, 9))[2] > 240
    # its path names no file
    assert first["pictures"]["photo"] is None
    layers = {layer["kind"]: picture(layer["source"]) for layer in first["pictures"]["layers"]}
    assert list(layers) == ["overlay", "probability_map", "mask"]
    assert {one.size for one in layers.values()} == {(800, 533)}
    assert abs(layers["probability_map"].getpixel((9, 9))[0] - 128) < 4
    assert [layers["mask"].getpixel((x, 9))[0] for x in (9, 790)] == [255, 0]
    assert picture(second["pictures"]["photo"]).size == (300, 600)
    assert second["pictures"]["layers"] == []
    assert "pictures" not in failed


def test_a_large_page_reads_pictures_from_the_folder(results, tmp_path, monkeypatch):
    monkeypatch.setattr("forgescope.html_report.MOST_INLINED", 2)
    Image.new("RGB", (300, 600), (0, 0, 255)).save(tmp_path / "photo.tif")
    _, second, _ = results.rows.values()
    rows = page_data(write_html(results))["rows"]
    assert picture(rows[0]["thumbnail"]).size == (160, 107)
    assert [(layer["kind"], layer["source"]) for layer in rows[0]["pictures"]["layers"]] == [
        ("overlay", "overlays/a.jpg"),
        ("probability_map", "map.jpg"),
        ("mask", "m.png"),
    ]
    assert rows[1]["pictures"]["photo"] == "../photo.png"
    # browsers do not show it
    second["path"] = str(tmp_path / "photo.tif")
    assert picture(page_data(write_html(results))["rows"][1]["pictures"]["photo"]).size == (300, 600)


def test_links_are_relative_to_the_page(page):
    first, second, _ = page_data(page)["rows"]
    assert first["files"][1:] == [["Overlay", "overlays/a.jpg"], ["Probability map", "map.jpg"], ["Mask", "m.png"]]
    assert second["files"][0] == ["Photograph", "../photo.png"]
    assert not any(os.path.isabs(href) for _, href in first["files"] + second["files"])


def test_a_photograph_that_was_moved_away_leaves_a_row(results, tmp_path):
    (tmp_path / "photo.png").unlink()
    row = entries(write_html(results))["photo.png"]
    assert (row["thumbnail"], row["pictures"]["photo"], row["score"]) == (None, None, 0.1)


def test_rows_of_an_earlier_version_stand_beside_those_with_more_keys(results, tmp_path):
    Image.new("L", (300, 600), 255).save(tmp_path / "out/made.png")
    _, second, _ = results.rows.values()
    second |= {"ai_mask": str(tmp_path / "out/made.png"), "ai_fraction": 0.5}
    for row in results.rows.values():
        row.pop("thresholds", None)
        row.pop("probability_map", None)
    page = write_html(results).read_text()
    data = page_data(page)
    assert data["with"]["ai"]
    assert data["thresholds"] is None
    assert [row["ai"] for row in data["rows"]] == [None, 0.5, None]
    (layer,) = data["rows"][1]["pictures"]["layers"]
    assert layer["name"] == "AI-made mask"
    assert picture(layer["source"]).getextrema()[0] == (255, 255)
    assert "Red marks the pixels that the model takes for forged. Blue hatching with a blue outline" in page


def test_without_ai_masks_the_legend_does_not_speak_of_them(page):
    assert "Blue" not in page


def test_artifacts_have_the_colour_of_the_overlay(results):
    first, *_ = results.rows.values()
    first["regions"] = [REGION | {"number": 1, "phrase": "left <hand>", "explanation": "Six fingers."}]
    page = write_html(results).read_text()
    (region,) = page_data(page)["rows"][0]["regions"]
    assert (region["phrase"], region["explanation"], region["color"]) == ("left <hand>", "Six fingers.", "#e69f00")
    assert "Numbers and colours mark the artifacts that the model names." in page
    assert "left <hand>" not in page


def test_a_template_is_filled_once(monkeypatch):
    monkeypatch.setattr("forgescope.page_template.read_template", lambda name: f"{name}: $one, $two")
    assert fill_page("a", one="$two", two="\udce9") == b"a: $two, \\udce9"
    with pytest.raises(KeyError, match="two"):
        fill_page("a", one="1")


def test_masks_keep_their_two_values():
    mask = Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 31, 64))
    found = picture(report_pictures.data_address(report_pictures.webp(mask))).convert("L")
    assert found.getcolors() == [(33 * 64, 0), (31 * 64, 255)]
