"""The page of an evaluation: its numbers, and sorting and finding in a real browser."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from forgescope.evaluation.report import to_tables
from forgescope.evaluation.rows import Row
from forgescope.evaluation_page import evaluation_page

BASE = Row("iclnet", "bagel", "pixel_f1", 0.75, 120, "pooled", "forged", "skip", 0.5, paper_value=0.8125)
ROWS = [
    BASE,
    replace(BASE, source="kontext <b>", value=0.9, n=90, low=0.85, high=0.95, paper_value=0.875),
    replace(BASE, source="step1x", value=None, n=0, paper_value=None),
    replace(BASE, source="nano-banana", value=0.125, n=1000, paper_value=None),
]
CHART = b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"


class Tables(HTMLParser):
    """Texts of the cells of each table, line by line."""

    def __init__(self, page):
        super().__init__()
        self.tables, self.inside = [], False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        self.inside = tag in ("td", "th") or (self.inside and tag == "button")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data):
        if self.inside:
            self.tables[-1][-1][-1] += data


@pytest.fixture
def page():
    return evaluation_page(["model: <x>"], to_tables(ROWS), ROWS, [CHART]).decode()


def test_every_number_stands_beside_the_paper_s_and_says_how_it_was_computed(page):
    laid_out, every = Tables(page).tables
    assert laid_out[0] == ["source", "n", "f1", "paper"]
    assert laid_out[2] == ["kontext <b>", "90", "0.9000 [0.850, 0.950]", "0.8750"]
    heads, first, second, third, _ = every
    assert dict(zip(heads, second, strict=True)) == {
        "Source": "kontext <b>",
        "Metric": "pixel_f1",
        "Ours": "0.9000",
        "Paper": "0.8750",
        "Ours - paper": "0.0250",
        "95 % interval": "0.850 to 0.950",
        "n": "90",
        "Reduction": "pooled",
        "Classes": "forged",
        "Empty rule": "skip",
        "Threshold": "0.5000",
    }
    assert first[heads.index("Ours - paper")] == "-0.0625"
    assert third[heads.index("Ours")] == ""
    # a setting that is not the usual one in some row has a column
    odd = [*ROWS, replace(BASE, border_ignore=(15, 11), perturbation="jpeg:80", threshold="best", protocol="custom")]
    heads, *_, last = Tables(evaluation_page([], [], odd, []).decode()).tables[0]
    assert last[heads.index("Border ignore")] == "erode 15, dilate 11"
    assert last[heads.index("Perturbation")] == "jpeg:80"
    assert last[heads.index("Protocol")] == "custom"
    assert "Polarity" not in heads


def test_the_page_is_whole_and_texts_are_no_markup(page):
    assert "<title>forgescope evaluation: iclnet</title>" in page
    assert "<title>forgescope evaluation</title>" in evaluation_page([], [], [], []).decode()
    assert "model: &lt;x&gt;" in page
    assert "<b>" not in page
    (chart,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', page)
    assert base64.b64decode(chart) == CHART
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "<link" not in page


def test_tables_are_sorted_and_rows_found_in_a_browser(page, browser_page, tmp_path):
    (tmp_path / "page.html").write_text(page)
    browser_page.goto((tmp_path / "page.html").as_uri())
    every = browser_page.locator("#all")

    def sources():
        return every.locator("tbody tr:visible td:first-child").all_inner_texts()

    head = every.locator("th", has_text=re.compile("^Ours$"))
    head.get_by_role("button").click()
    assert sources() == ["kontext <b>", "bagel", "nano-banana", "step1x"]
    assert head.get_attribute("aria-sort") == "descending"
    head.get_by_role("button").press("Enter")
    assert sources() == ["nano-banana", "bagel", "kontext <b>", "step1x"]
    every.get_by_role("button", name="Source").click()
    assert sources() == ["bagel", "kontext <b>", "nano-banana", "step1x"]
    assert head.get_attribute("aria-sort") is None
    browser_page.get_by_label("Show rows with").fill("KONTEXT f1")
    assert sources() == ["kontext <b>"]
    assert browser_page.locator("#count").inner_text() == "1 of 4"
    # the tables above are left as they were
    assert browser_page.locator("table").first.locator("tbody td:first-child").first.inner_text() == "bagel"
    browser_page.get_by_role("button", name="n", exact=True).first.click()
    assert browser_page.locator("table").first.locator("tbody td:first-child").first.inner_text() == "nano-banana"
    assert browser_page.evaluate("document.querySelector('img').naturalWidth") == 9
    for width in (390, 1440):
        browser_page.set_viewport_size({"width": width, "height": 800})
        assert browser_page.evaluate("document.documentElement.scrollWidth") <= width
