"""The page of a run in a real browser: sorting, filters, pages, and the dialog of a photograph."""

import json

import numpy as np
import pytest
from PIL import Image

from forgescope.html_report import write_html
from forgescope.results import ResultsFolder

SETTINGS = {"model": "tiny", "precision": "float32", "rule": "Forged from a score of 0.6.", "tile": None}
VERDICTS = {"forged": 0.6, "inconclusive": 0.4, "authentic": 0.0}
NASTY = "c <img src=x onerror=document.title='bad'>.png"
WIDTH, HEIGHT = 120, 80


def make_row(folder, number, score):
    """A row with pictures of its own, as detect writes them."""
    name = NASTY if number == 2 else f"photo {number}.png"
    path = folder / name.replace("/", "_")
    pixels = np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    pictures = {}
    for kind in ("mask", "overlay", "probability_map"):
        pictures[kind] = str(folder / f"{kind}_{number}.png")
        Image.new("L" if kind != "overlay" else "RGB", (WIDTH, HEIGHT), 128 if kind != "mask" else 255).save(
            pictures[kind]
        )
    region = {"box": [10, 10, 50, 40], "area_fraction": 0.125, "mean_probability": 0.75, "editor": None}
    verdict = next(name for name, threshold in VERDICTS.items() if score >= threshold)
    return {
        "path": str(path),
        "verdict": verdict,
        "score": score,
        "forged_fraction": 0.125,
        "width": WIDTH,
        "height": HEIGHT,
        "regions": [region | {"number": 1, "phrase": "left <hand>", "explanation": "Six fingers."}],
        "explanation": "It is <b>fake</b>.\nLook at the hand.",
        "notes": ["Examined whole."],
        "views": [{"model": "<i>one</i>", "verdict": "forged", "score": 0.75, "forged_fraction": 0.5}],
        "thresholds": {"authentic": 0.4, "forged": 0.6},
        "error": None,
        **pictures,
        **SETTINGS,
    }


def write_page(folder, rows):
    (folder / "report.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    results = ResultsFolder(folder, SETTINGS)
    results.add_failure("bad.png", "bad.png: the file is empty (0 bytes)")
    return write_html(results).as_uri()


@pytest.fixture
def opened(browser_page, tmp_path):
    """A page of five photographs and one that failed."""
    rows = [make_row(tmp_path, number, score) for number, score in enumerate((0.5, 0.9, 0.125, 0.75, 0.25))]
    browser_page.goto(write_page(tmp_path, rows))
    return browser_page


def column(page, title):
    heads = page.locator("#heads th").all_inner_texts()
    place = next(place for place, head in enumerate(heads, start=1) if head.startswith(title))
    return page.locator(f"#rows td:nth-child({place})").all_inner_texts()


def test_a_click_sorts_and_another_turns_the_order(opened):
    assert column(opened, "Score") == ["0.900", "0.750", "0.500", "0.250", "0.125", ""]
    head = opened.locator("th", has_text="Score")
    assert head.get_attribute("aria-sort") == "descending"
    head.get_by_role("button").click()
    assert column(opened, "Score") == ["0.125", "0.250", "0.500", "0.750", "0.900", ""]
    assert head.get_attribute("aria-sort") == "ascending"
    verdict = opened.get_by_role("button", name="Verdict")
    verdict.focus()
    opened.keyboard.press("Enter")
    assert column(opened, "Verdict") == ["authentic", "authentic", "failed", "forged", "forged", "inconclusive"]
    opened.keyboard.press("Enter")
    assert column(opened, "Verdict")[0] == "inconclusive"
    assert head.get_attribute("aria-sort") is None


def test_filters_by_verdict_and_by_letters_of_the_path(opened):
    opened.get_by_label("forged 2").uncheck()
    opened.get_by_label("failed 1").uncheck()
    assert column(opened, "Score") == ["0.500", "0.250", "0.125"]
    assert opened.locator(".pager span").first.inner_text() == "1 to 3 of 3"
    opened.get_by_label("Path", exact=True).fill("PHOTO 4")
    assert column(opened, "Score") == ["0.250"]
    opened.get_by_label("Path", exact=True).fill("no such name")
    assert opened.get_by_text("No photograph fits the filter.").is_visible()
    assert column(opened, "Score") == []


def test_texts_of_files_are_no_markup(opened):
    assert any(NASTY in text for text in column(opened, "Path"))
    assert opened.title() == "forgescope report"
    opened.get_by_role("button", name=f"Open {opened.url[7:-11]}c ").click()
    assert "left <hand>" in opened.locator(".regions").inner_text()
    assert "It is <b>fake</b>." in opened.locator("#facts").inner_text()
    assert opened.locator("#facts table").first.locator("td").all_inner_texts() == [
        "<i>one</i>",
        "forged",
        "0.750",
        "50.00%",
    ]
    assert opened.locator("img[src=x]").count() == 0


def test_a_photograph_is_opened_and_the_slider_moves_its_overlay(opened):
    opened.locator("#rows tr").nth(1).locator(".open").click()
    dialog = opened.get_by_role("dialog")
    assert dialog.get_by_role("heading").first.inner_text().startswith("photo 3.png")
    layer = dialog.locator("#layer")
    assert layer.evaluate("image => image.naturalWidth") == WIDTH
    assert layer.evaluate("image => getComputedStyle(image).opacity") == "1"
    slider = dialog.get_by_role("slider", name="Opacity")
    slider.fill("30")
    assert layer.evaluate("image => getComputedStyle(image).opacity") == "0.3"
    assert dialog.locator("#percent").inner_text() == "30 %"
    slider.press("Home")
    assert layer.evaluate("image => getComputedStyle(image).opacity") == "0"
    dialog.get_by_label("Probability map").check()
    assert layer.get_attribute("class") == "probability_map"
    assert "heat" in layer.evaluate("image => getComputedStyle(image).filter")
    assert dialog.locator("#scale").is_visible()
    # the choice stays with the next photograph
    opened.keyboard.press("Escape")
    assert not dialog.is_visible()
    opened.locator("#rows tr").nth(2).locator(".folder").click()
    assert dialog.get_by_label("Probability map").is_checked()
    assert layer.evaluate("image => getComputedStyle(image).opacity") == "0"


def test_keys_go_from_photograph_to_photograph_and_regions_are_marked(opened):
    opened.locator(".open").first.focus()
    opened.keyboard.press("Enter")
    dialog = opened.get_by_role("dialog")
    names = []
    for _ in range(6):
        names.append(dialog.locator("#name div").first.inner_text())
        opened.keyboard.press("ArrowRight")
    assert names == ["photo 1.png", "photo 3.png", "photo 0.png", "photo 4.png", NASTY, "bad.png"]
    assert "the file is empty" in dialog.locator("#facts").inner_text()
    assert not dialog.locator("#view").is_visible()
    assert dialog.get_by_role("button", name="Next photograph").is_disabled()
    opened.keyboard.press("ArrowLeft")
    assert dialog.locator("rect.on").count() == 0
    dialog.locator(".regions tbody tr").focus()
    assert dialog.locator("rect.on").count() == 1
    summary = dialog.locator("summary", has_text="Explanation")
    assert dialog.get_by_text("Look at the hand.").is_visible()
    summary.focus()
    opened.keyboard.press("Enter")
    assert not dialog.get_by_text("Look at the hand.").is_visible()


def test_two_thousand_rows_come_a_page_at_a_time_and_pictures_from_the_folder(browser_page, tmp_path):
    one = make_row(tmp_path, 0, 0.5)
    paths = [one["path"].replace("photo 0", f"photo {number}") for number in range(1999)]
    rows = [one | {"path": path, "score": number / 1999} for number, path in enumerate(paths)]
    browser_page.goto(write_page(tmp_path, rows))
    assert browser_page.locator("#rows tr").count() == 50
    assert browser_page.locator(".pager span").first.inner_text() == "1 to 50 of 2000"
    browser_page.get_by_label("Next page").last.click()
    assert column(browser_page, "Score")[0] == f"{1948 / 1999:.3f}"
    browser_page.locator("th", has_text="Score").get_by_role("button").click()
    assert column(browser_page, "Score")[0] == "0.000"
    browser_page.locator(".open").first.click()
    browser_page.wait_for_function("document.getElementById('layer').complete")
    sizes = browser_page.locator("#frame img").evaluate_all("images => images.map(image => image.naturalWidth)")
    assert sizes == [WIDTH, WIDTH]
    assert browser_page.locator("#layer").get_attribute("src") == "overlay_0.png"


@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_is_wider_than_the_window(opened, width):
    opened.set_viewport_size({"width": width, "height": 800})
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    opened.locator(".open").first.click()
    assert opened.evaluate("document.getElementById('dialog').scrollWidth") <= width
