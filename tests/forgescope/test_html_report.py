"""The page: one file, every row, nothing from a file name becomes markup."""

import base64
import io
import json
import os
import re

import pytest
from PIL import Image

from forgescope.html_report import write_html
from forgescope.results import ResultsFolder

SETTINGS = {"model": "org/<model>", "precision": "float32", "rule": "Forged from a score of 0.5.", "tile": None}
NASTY = "photos/<img src=x onerror=alert(1)>&\"'.jpg"


@pytest.fixture
def results(tmp_path):
    """A journal of three rows: forged with pictures, authentic without overlay, failed."""
    (tmp_path / "out" / "overlays").mkdir(parents=True)
    Image.new("RGB", (900, 600), (255, 0, 0)).save(tmp_path / "out/overlays/a.jpg")
    Image.new("RGB", (300, 600), (0, 0, 255)).save(tmp_path / "photo.png")
    shared = SETTINGS | {"error": None, "regions": [{}, {}], "notes": ["Turned <upright>."]}
    rows = [
        {"path": NASTY, "verdict": "forged", "score": 0.875, "forged_fraction": 0.25, "mask": str(tmp_path / "m.png")}
        | {"overlay": str(tmp_path / "out/overlays/a.jpg")}
        | shared,
        {"path": str(tmp_path / "photo.png"), "verdict": "authentic", "score": 0.1, "forged_fraction": 0.0}
        | {"mask": str(tmp_path / "m.png"), "overlay": None}
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


def test_every_row_is_there_with_its_numbers(page):
    assert page.count("<tr data-verdict=") == 3
    assert re.findall(r'<td class="number" data-key="([-\d.]+)">([\d.%]*)<', page) == [
        ("0.875", "0.875"),
        ("0.25", "25.00%"),
        ("0.1", "0.100"),
        ("0.0", "0.00%"),
        ("-1", ""),
        ("-1", ""),
    ]
    assert "3 photographs, examined by org/&lt;model&gt; in float32." in page
    assert "Forged from a score of 0.5." in page


def test_nothing_of_a_file_name_is_markup(page):
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;&amp;&quot;&#x27;.jpg" in page
    assert "Turned &lt;upright&gt;." in page
    assert "no such &lt;file&gt;" in page
    assert not re.search(r'href="[^"]*[<>\s]', page)


def test_the_page_needs_no_other_file_and_no_network(page):
    assert not re.search(r'(src|href)="(https?:|//)', page)
    assert "<link" not in page
    assert "<script src" not in page


def test_thumbnails_are_reduced_pictures_inside_the_page(page):
    pictures = [
        Image.open(io.BytesIO(base64.b64decode(data))) for data in re.findall(r"data:image/jpeg;base64,([^\"]+)", page)
    ]
    assert [picture.size for picture in pictures] == [(240, 160), (120, 240)]
    assert pictures[0].getpixel((9, 9))[0] > 250
    assert pictures[1].getpixel((9, 9))[2] > 250


def test_links_are_relative_to_the_page(page, results):
    links = re.findall(r'<a href="([^"]+)">', page)
    assert "overlays/a.jpg" in links
    assert "../photo.png" in links
    assert not any(os.path.isabs(link) for link in links)


def test_a_photograph_that_was_moved_away_leaves_a_word(results, tmp_path):
    (tmp_path / "photo.png").unlink()
    assert "<em>no longer there</em>" in write_html(results).read_text(encoding="utf-8")


def test_ai_made_pixels_have_a_column_and_both_masks_are_shown(results, tmp_path):
    Image.new("L", (300, 600), 255).save(tmp_path / "out/made.png")
    _, second, _ = results.rows.values()
    # as rows of an earlier version, without the two keys, beside one with them
    second |= {"ai_mask": str(tmp_path / "out/made.png"), "ai_fraction": 0.5, "mask": str(tmp_path / "gone.png")}
    page = write_html(results).read_text(encoding="utf-8")
    assert re.findall(r"<th[^>]*>(?:<button>)?([^<]+)", page) == [
        "Picture",
        "Path",
        "Verdict",
        "Score",
        "Forged share",
        "AI-made share",
        "Regions",
        "Notes",
    ]
    assert [row.count("<td") for row in page.split("<tr data-verdict=")[1:]] == [8, 8, 8]
    assert re.findall(r'data-key="([-\d.]+)">([\d.%]*)<', page)[:6] == [
        ("0.875", "0.875"),
        ("0.25", "25.00%"),
        ("-1", ""),
        ("0.1", "0.100"),
        ("0.0", "0.00%"),
        ("0.5", "50.00%"),
    ]
    (mask,) = re.findall(r'data:image/png;base64,([^"]+)" width="56" height="113" alt="AI-made pixels"', page)
    assert Image.open(io.BytesIO(base64.b64decode(mask))).getextrema() == (255, 255)
    assert "<figure><em>no longer there</em><figcaption>forged</figcaption></figure>" in page
    assert "Red marks the pixels that the model takes for forged. Blue hatching with a blue outline" in page
    assert '<a href="made.png">AI-made mask</a>' in page


def test_without_ai_masks_the_page_does_not_speak_of_them(page):
    assert "AI-made" not in page
    assert "Blue" not in page
