"""Review page: what is drawn, what is on it, how ratings are counted; a browser drives it where one is at hand."""

import base64
import inspect
import io
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import typer
from damaged_exif import NO_EXIF, TURNED_AND_DAMAGED
from PIL import Image
from typer.testing import CliRunner

from forgescope.cli import annotate_review
from forgescope.construction.promptforge.review import SAMPLES_PER_SOURCE, write_review
from forgescope.construction.promptforge.review_page import json_in_html
from forgescope.construction.promptforge.review_sample import drawing_order
from forgescope.construction.promptforge.review_tally import PAPER_COUNTS, majority, tally

SOURCES = ("pico-banana", "x2edit-bagel", "x2edit-kontext")
PAIRS = 5  # of each source
NASTY = '</script><script>alert("x")</script><!-- & <b>bold</b>'
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def image_bytes(image: Image.Image, form: str = "PNG", **options) -> bytes:
    content = io.BytesIO()
    image.save(content, form, **options)
    return content.getvalue()


def write_pair(folder: Path, number: int, source: str) -> dict:
    """Three files of one pair, edited image 96 x 64, mask 128 x 128 with its left quarter marked, and its row."""
    row_id = f"{source}-{number}"
    names = {f"{kind}_file_name": f"{kind}s/{row_id}.png" for kind in ("original", "mask")}
    row = {"file_name": f"images/{row_id}.png", **names, "id": row_id, "source": source, "task": "object_removal"}
    row |= {"instruction": f"remove {number}", "inlier_ratio": 0.75, "num_matches": 40}
    mask = np.zeros((128, 128), np.uint8)
    mask[:, :32] = 255
    pictures = (Image.new("RGB", (96, 64), (10 * number, 90, 30)), Image.new("RGB", (80, 60)), Image.fromarray(mask))
    for key, picture in zip(("file_name", "original_file_name", "mask_file_name"), pictures, strict=True):
        path = folder / row[key]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_bytes(picture))
    return row


def write_rows(folder: Path, rows: list) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / "metadata.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return folder


@pytest.fixture
def annotated(tmp_path) -> Path:
    """Pairs 0 to 3 of three sources in train, 4 in test."""
    root = tmp_path / "annotated"
    for split, numbers in (("train", range(PAIRS - 1)), ("test", [PAIRS - 1])):
        rows = [write_pair(root / split, number, source) for source in SOURCES for number in numbers]
        write_rows(root / split, rows)
    return root


def on_page(page: Path) -> tuple[dict, list[dict]]:
    """What the script of the page reads: its facts and pairs."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r'<script type="application/json" id="([\w-]+)">(.*?)</script>', text, re.DOTALL)
    values = {name: json.loads(content) for name, content in found}
    return values["facts"], [values[f"pair-{number}"] for number in range(len(values) - 1)]


def decoded(shown: dict) -> Image.Image:
    head, content = shown["data"].split(",")
    assert head.startswith("data:image/")
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_the_default_draw_is_the_papers(annotated):
    assert SAMPLES_PER_SOURCE * 4 == sum(PAPER_COUNTS.values()) == 200
    assert inspect.signature(annotate_review.review).parameters["per_source"].default == SAMPLES_PER_SOURCE
    facts, pairs = on_page(write_review(annotated).page)
    assert facts["per_source"] == 50
    assert len(pairs) == len(SOURCES) * PAIRS


def test_page_holds_the_pairs(annotated):
    review = write_review(annotated, per_source=2)
    assert review.page == annotated / "review" / "index.html"
    assert review.sources == dict.fromkeys(SOURCES, 2)
    assert (review.count, review.problems) == (6, [])
    facts, pairs = on_page(review.page)
    assert facts["key"] == review.key
    assert [entry["id"] for entry in facts["index"]] == [pair["id"] for pair in pairs]
    pair = pairs[0]
    source, number = pair["source"], int(pair["id"].rpartition("-")[2])
    assert pair["id"] == f"{source}-{number}"
    assert (pair["instruction"], pair["task"], pair["inlier_ratio"]) == (f"remove {number}", "object_removal", 0.75)
    assert pair["split"] == ("test" if number == PAIRS - 1 else "train")
    assert (pair["edited"]["width"], pair["edited"]["height"]) == (96, 64)
    assert decoded(pair["edited"]).convert("RGB").getpixel((5, 5)) == pytest.approx((10 * number, 90, 30), abs=4)
    mask = np.asarray(decoded(pair["mask"]).convert("RGBA"))[..., 3]
    assert mask.shape == (128, 128)
    assert (mask[:, :32] == 255).all()
    assert not mask[:, 32:].any()
    assert pair["mask"]["share"] == 0.25


def test_page_needs_no_other_file(annotated):
    text = write_review(annotated, per_source=1).page.read_text(encoding="utf-8")
    assert not re.search(r"""(?:src|href)=["']|https?://|@import|url\(""", text)
    assert "default-src 'none'" in text
    assert list((annotated / "review").iterdir()) == [annotated / "review" / "index.html"]


def test_page_is_accessible(annotated):
    text = write_review(annotated, per_source=1).page.read_text(encoding="utf-8")
    assert '<html lang="en">' in text
    assert "prefers-color-scheme:dark" in text
    assert text.count('aria-pressed="false"') == 3
    for words in ("less than 20 % of the edited region", "negligible", "substantial errors"):
        assert text.count(words) == 2  # before the first pair, and below each
    for labelled in ('role="status"', 'aria-label="Previous pair"', 'aria-label="Pairs rated"', ":focus-visible"):
        assert labelled in text


def test_large_images_are_reduced(tmp_path):
    row = write_pair(tmp_path / "train", 0, "a")
    wide = Image.new("RGB", (1200, 600), (200, 100, 50))
    (tmp_path / "train" / row["file_name"]).write_bytes(image_bytes(wide, "JPEG"))
    turned = Image.new("RGB", (1200, 600))
    exif = turned.getexif()
    exif[0x0112] = 6
    (tmp_path / "train" / row["original_file_name"]).write_bytes(image_bytes(turned, "JPEG", exif=exif))
    (tmp_path / "train" / row["mask_file_name"]).write_bytes(image_bytes(Image.new("L", (1200, 600), 1)))
    write_rows(tmp_path / "train", [row])
    _, [pair] = on_page(write_review(tmp_path).page)
    assert decoded(pair["edited"]).size == decoded(pair["mask"]).size == (512, 256)
    assert decoded(pair["original"]).size == (256, 512)
    assert (pair["original"]["width"], pair["original"]["height"]) == (600, 1200)
    assert pair["mask"]["share"] == 1.0


def test_images_with_damaged_exif_are_shown(tmp_path):
    row = write_pair(tmp_path / "train", 0, "a")
    wide = Image.new("RGB", (60, 40))
    (tmp_path / "train" / row["file_name"]).write_bytes(image_bytes(wide, "JPEG", exif=TURNED_AND_DAMAGED))
    (tmp_path / "train" / row["original_file_name"]).write_bytes(image_bytes(wide, "JPEG", exif=NO_EXIF))
    write_rows(tmp_path / "train", [row])
    _, [pair] = on_page(write_review(tmp_path).page)
    assert decoded(pair["edited"]).size == (pair["edited"]["width"], pair["edited"]["height"]) == (40, 60)
    assert decoded(pair["original"]).size == (pair["original"]["width"], pair["original"]["height"]) == (60, 40)


@pytest.mark.parametrize("mode", ["1", "P", "RGB", "RGBA", "LA", "I;16"])
def test_masks_of_every_mode(tmp_path, mode):
    row = write_pair(tmp_path / "train", 0, "a")
    pixels = np.zeros((16, 16), np.uint8)
    pixels[:4] = 1 if mode == "P" else 255
    mask = Image.fromarray(pixels)
    if mode == "P":
        mask.putpalette([0, 0, 0] * 2)  # an index is an id, whatever its colour
    else:
        mask = Image.fromarray(pixels.astype(np.uint16) * 257) if mode == "I;16" else mask.convert(mode)
    (tmp_path / "train" / row["mask_file_name"]).write_bytes(image_bytes(mask))
    write_rows(tmp_path / "train", [row])
    _, [pair] = on_page(write_review(tmp_path).page)
    assert pair["mask"]["share"] == 0.25


def test_texts_never_become_markup(tmp_path):
    root = tmp_path / "a <b> & c"
    row = write_pair(root / "train", 0, "src")
    row |= {"instruction": NASTY, "instruction_en": "\u2028 \ud83d", "id": NASTY, "task": NASTY, "source": NASTY}
    write_rows(root / "train", [json.dumps(row)])
    page = write_review(root).page
    text = page.read_text(encoding="utf-8")
    assert "alert(" in text
    assert "<script>alert" not in text
    assert text.count("</script>") == 3  # facts, one pair, the script
    assert "<title>forgescope review: a &lt;b&gt; &amp; c</title>" in text
    facts, [pair] = on_page(page)
    assert pair["instruction"] == pair["id"] == facts["index"][0]["source"] == NASTY


def test_json_in_html_is_still_json():
    text = json_in_html({NASTY: [NASTY]})
    assert not set("<>&") & set(text)
    assert json.loads(text) == {NASTY: [NASTY]}


def test_equal_seeds_give_equal_pages(annotated):
    first = write_review(annotated, per_source=2, seed=3)
    content = first.page.read_bytes()
    for split in ("train", "test"):
        file = annotated / split / "metadata.jsonl"
        file.write_text("\n" + "".join(reversed(file.read_text().splitlines(keepends=True))))
    second = write_review(annotated, per_source=2, seed=3)
    assert second.page.read_bytes() == content
    assert second.key == first.key
    drawn = [pair["id"] for pair in on_page(first.page)[1]]
    others = [[pair["id"] for pair in on_page(write_review(annotated, 2, seed).page)[1]] for seed in range(4, 8)]
    assert any(set(other) != set(drawn) for other in others)


def test_draw_follows_the_hash_of_the_id(annotated):
    _, pairs = on_page(write_review(annotated, per_source=2, seed=1).page)
    for source in SOURCES:
        ids = sorted((f"{source}-{number}" for number in range(PAIRS)), key=lambda row_id: drawing_order(row_id, 1))
        assert [pair["id"] for pair in pairs if pair["source"] == source] == ids[:2]


def test_the_key_changes_with_a_mask(annotated):
    before = write_review(annotated).key
    mask = annotated / "train" / "masks" / f"{SOURCES[0]}-0.png"
    mask.write_bytes(image_bytes(Image.new("L", (128, 128), 255)))
    assert write_review(annotated).key != before


def test_unusable_pairs_are_named_and_replaced(annotated):
    train = annotated / "train"
    ids = sorted((f"{SOURCES[0]}-{number}" for number in range(PAIRS)), key=lambda row_id: drawing_order(row_id, 0))
    spoil = [annotated / ("test" if row_id.endswith("-4") else "train") for row_id in ids]
    (spoil[0] / f"masks/{ids[0]}.png").unlink()
    (spoil[1] / f"originals/{ids[1]}.png").write_bytes(b"")
    (spoil[2] / f"images/{ids[2]}.png").write_text("no image")
    with (train / "metadata.jsonl").open("a") as lines:
        lines.write('{"id": 1\n[1, 2]\n' + json.dumps({"file_name": "x.png", "mask_file_name": "x.png"}) + "\n")
    review = write_review(annotated, per_source=2)
    assert review.sources == dict.fromkeys(SOURCES, 2)
    shown = [pair["id"] for pair in on_page(review.page)[1] if pair["source"] == SOURCES[0]]
    assert shown == ids[3:5]
    number = len(SOURCES) * (PAIRS - 1)
    assert review.problems[:3] == [
        f"train/metadata.jsonl, line {number + 1}: not a JSON object",
        f"train/metadata.jsonl, line {number + 2}: not a JSON object",
        f"train/metadata.jsonl, line {number + 3}: no original_file_name",
    ]
    assert review.problems[3:5] == [
        f"{spoil[0].name}, {ids[0]}: missing file masks/{ids[0]}.png",
        f"{spoil[1].name}, {ids[1]}: empty file originals/{ids[1]}.png",
    ]
    assert review.problems[5].startswith(f"{spoil[2].name}, {ids[2]}: images/{ids[2]}.png cannot be read: ")
    assert len(review.problems) == 6


def test_an_id_is_shown_once(tmp_path):
    row = write_pair(tmp_path / "train", 0, "a")
    write_rows(tmp_path / "train", [row, row])
    review = write_review(tmp_path)
    assert review.count == 1
    assert review.problems == ["train/metadata.jsonl, line 2: the id a-0 was there before"]


def test_rows_without_id_and_source_in_one_file(tmp_path):
    row = write_pair(tmp_path, 0, "a") | {"id": None, "source": ""}
    write_rows(tmp_path, [row])
    _, [pair] = on_page(write_review(tmp_path).page)
    assert (pair["id"], pair["source"]) == ("a-0", "unknown")


def test_folders_that_cannot_be_reviewed(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent does not exist: give the folder that was annotated"):
        write_review(tmp_path / "absent")
    with pytest.raises(ValueError, match="no <split>/metadata.jsonl in"):
        write_review(tmp_path)
    (tmp_path / "rejects.jsonl").write_text('{"id": "a", "reason": "too_few_matches"}\n')
    with pytest.raises(ValueError, match=r"no pair in .* was kept, all were rejected: rejects\.jsonl says why$"):
        write_review(tmp_path)
    write_rows(tmp_path / "train", ["{"])
    with pytest.raises(ValueError, match=r"can be shown: train/metadata.jsonl, line 1: not a JSON object$"):
        write_review(tmp_path)
    with pytest.raises(ValueError, match="per_source must be at least 1, got 0"):
        write_review(tmp_path, per_source=0)
    assert not (tmp_path / "review").exists()


# Ratings by id of three raters: p, m, s, or - where there is none. Source a holds the first four.
VOTES = {
    "a1": "ppp", "a2": "ppm", "a3": "mms", "a4": "pms", "b1": "sss", "b2": "pp-", "b3": "pm-", "b4": "---",
}  # fmt: skip
LETTERS = {"p": "perfect", "m": "minor", "s": "significant", "-": None}


def rating_file(folder: Path, rater: str, ratings: dict[str, str | None], /, **changes) -> Path:
    entries = [{"id": row_id, "source": row_id[0], "rating": rating} for row_id, rating in ratings.items()]
    content = {"format": "forgescope-review", "version": 1, "page": "0123", "rater": rater, "ratings": entries}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"ratings-{rater}.json"
    path.write_text(json.dumps(content | changes))
    return path


@pytest.fixture
def rated(tmp_path) -> list[Path]:
    """Three files in DIR/review."""
    return [
        rating_file(tmp_path / "review", rater, {row_id: LETTERS[cast[number]] for row_id, cast in VOTES.items()})
        for number, rater in enumerate(("ann", "ben", "cat"))
    ]


def test_majority_vote(rated):
    result = tally(rated)
    assert result.outcomes == {
        "a1": "perfect", "a2": "perfect", "a3": "minor", "a4": "tie",
        "b1": "significant", "b2": "perfect", "b3": "incomplete", "b4": "incomplete",
    }  # fmt: skip
    assert [(row.source, row.pairs, tuple(row.counts.values())) for row in result.rows] == [
        ("a", 4, (2, 1, 0, 1, 0, 0)),
        ("b", 4, (1, 0, 1, 0, 0, 2)),
        ("all", 8, (3, 1, 1, 1, 0, 2)),
    ]
    assert result.rows[-1].share("perfect") == 3 / 8
    assert result.given["cat"] == {"perfect": 1, "minor": 1, "significant": 3}
    assert result.unanimous == 2
    # equal pairs of ratings: a1 3, a2 1, a3 1, a4 0, b1 3, b2 1, b3 0 of 5 * 3 + 2
    assert result.agreement == 9 / 17


@pytest.mark.parametrize(
    ("votes", "outcome"),
    [
        ("p", "perfect"),
        ("pm", "tie"),
        ("ppmm", "tie"),
        ("ppms", "no majority"),
        ("pppms", "perfect"),
        ("ppmms", "tie"),
        ("ppm--", "incomplete"),
        ("ppp--", "perfect"),
        ("-", "incomplete"),
    ],
)
def test_majority_of_other_numbers_of_raters(votes, outcome):
    assert majority([LETTERS[letter] for letter in votes]) == outcome


def test_tally_finds_files_in_folders(rated, tmp_path):
    for paths in (tmp_path, str(tmp_path / "review"), [tmp_path, rated[0]], rated):
        assert tally(paths).raters == ["ann", "ben", "cat"]
    alone = tally(rated[0])
    assert (alone.raters, alone.agreement, alone.unanimous) == (["ann"], None, 7)


def test_tally_as_markdown(rated):
    text = tally(rated).to_markdown()
    lines = text.splitlines()
    assert lines[0] == "| source | pairs | perfect | minor | significant | tie | no majority | incomplete |"
    assert lines[4] == ("| all | 8 | 3 (37.5%) | 1 (12.5%) | 1 (12.5%) | 1 (12.5%) | 0 (0.0%) | 2 (25.0%) |")
    assert lines[5] == "| paper | 200 | 172 (86.0%) | 20 (10.0%) | 8 (4.0%) | - | - | - |"
    assert "how it breaks ties is not given" in text
    assert "ann (7 rated), ben (7 rated), cat (5 rated)" in text


def test_tally_as_json(rated):
    content = json.loads(tally(rated).to_json())
    assert content["rows"][-1]["counts"]["perfect"] == 3
    assert content["rows"][-1]["shares"]["perfect"] == 0.375
    assert content["paper"] == {"raters": 3, "pairs": 200, "counts": {"perfect": 172, "minor": 20, "significant": 8}}
    assert content["undecided"][0] == {
        "id": "a4",
        "outcome": "tie",
        "votes": {"ann": "perfect", "ben": "minor", "cat": "significant"},
    }
    assert [entry["id"] for entry in content["undecided"]] == ["a4", "b3", "b4"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "is no file that the review page saved"),
        ({"version": 9}, "has version 9: this release reads version 1"),
        ({"rater": ""}, "lacks rater, page or ratings"),
        ({"ratings": {}}, "lacks rater, page or ratings"),
        ({"ratings": [3]}, "rating 1 is no object"),
        ({"ratings": [{"id": "a"}]}, "rating 1 lacks id or source"),
        (
            {"ratings": [{"id": "a", "source": "a", "rating": "good"}]},
            "is 'good': expected perfect, minor, significant",
        ),
        ({"ratings": [{"id": "a", "source": "a", "rating": ["good"]}]}, r"is \['good'\]: expected perfect"),
        ({"ratings": [{"id": "a", "source": "a", "rating": None}] * 2}, "rating 2: a was there before"),
    ],
)
def test_wrong_rating_files_are_refused(tmp_path, changes, message):
    path = rating_file(tmp_path, "dan", {}, **changes)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}.*{message}"):
        tally(path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[]", b"null"])
def test_files_that_are_no_ratings(tmp_path, content):
    path = tmp_path / "ratings-x.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"is not JSON|is no file that the review page saved"):
        tally(path)


def test_files_that_do_not_belong_together(tmp_path):
    ratings = {"a1": "perfect"}
    first = rating_file(tmp_path, "ann", ratings)
    with pytest.raises(ValueError, match="rate different pages: give files of one page"):
        tally([first, rating_file(tmp_path / "b", "ben", ratings, page="4567")])
    with pytest.raises(ValueError, match="rate different pages"):
        tally([first, rating_file(tmp_path / "c", "cat", {"a2": "minor"})])
    with pytest.raises(ValueError, match="are both of ann: give one file a rater"):
        tally([first, rating_file(tmp_path / "d", "ann", ratings)])
    with pytest.raises(FileNotFoundError, match="absent.json does not exist"):
        tally(tmp_path / "absent.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no ratings-\*.json in .*empty"):
        tally(tmp_path / "empty")
    with pytest.raises(ValueError, match="no files of ratings were given"):
        tally([])


@pytest.fixture
def command():
    """The two verbs as the command line has them."""
    app = typer.Typer()
    app.command()(annotate_review.review)
    app.command()(annotate_review.tally)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def test_review_verb(annotated, command):
    done = command("review", annotated, "--per-source", 1, "--seed", 5)
    assert done.exit_code == 0, done.output
    assert "3 pairs (pico-banana 1, x2edit-bagel 1, x2edit-kontext 1)" in done.stdout
    assert on_page(annotated / "review/index.html")[0]["seed"] == 5
    (annotated / "test/masks" / f"{SOURCES[0]}-4.png").unlink()
    done = command("review", annotated)
    assert done.exit_code == 1
    assert f"skipped test, {SOURCES[0]}-4: missing file masks/{SOURCES[0]}-4.png" in done.stderr


def test_tally_verb(rated, tmp_path, command):
    done = command("tally", tmp_path, "--json", tmp_path / "tally.json")
    assert done.exit_code == 1
    assert "2 pairs could still be decided: not everyone has rated them" in done.stderr
    assert "| paper | 200 | 172 (86.0%)" in done.stdout
    assert json.loads((tmp_path / "tally.json").read_text())["raters"] == ["ann", "ben", "cat"]
    full = rating_file(tmp_path / "full", "ann", {"a1": "perfect"})
    assert command("tally", full).exit_code == 0


@pytest.mark.slow
def test_page_in_a_browser(annotated, tmp_path):
    """Rate by keys, filter, undo, save, come back; the saved file is counted."""
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium on the path")
    file = annotated / "train" / "metadata.jsonl"
    file.write_text(file.read_text().replace("remove 0", json.dumps(NASTY)[1:-1]))
    review = write_review(annotated)
    with api.sync_playwright() as play:
        options = ["--no-sandbox"] if os.getuid() == 0 else []
        browser = play.chromium.launch(executable_path=CHROMIUM, args=options)
        page = browser.new_page(accept_downloads=True)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("dialog", lambda dialog: errors.append(dialog.message))
        page.goto(review.page.as_uri())
        page.fill("#name", "Ann B.")
        page.keyboard.press("Enter")
        for key in ("1", "2", "3", "ArrowRight", "1", "u", "ArrowLeft", "ArrowLeft", "2"):
            page.keyboard.press(key)
        assert page.inner_text("#count") == "3 of 15 rated"
        assert page.inner_text("#number") == "Pair 4 of 15"
        page.select_option("#state", "minor")
        assert page.inner_text("#number") == "Pair 2 of 15"
        page.select_option("#state", "")
        texts = set()
        for _ in range(15):
            texts.add(page.inner_text("#instruction"))
            page.locator("body").press("ArrowRight")
        assert NASTY in texts
        assert page.evaluate("document.getElementById('fill').getContext('2d').getImageData(5,5,1,1).data[3]") == 255
        assert page.evaluate("document.getElementById('fill').getContext('2d').getImageData(900,5,1,1).data[3]") == 0
        with page.expect_download() as download:
            page.click("#save")
        assert download.value.suggested_filename == "ratings-Ann-B.json"
        saved = tmp_path / download.value.suggested_filename
        download.value.save_as(saved)
        page.reload()
        assert page.inner_text("#count") == "3 of 15 rated"
        assert errors == []
        browser.close()
    result = tally(saved)
    assert (result.page, result.raters) == (review.key, ["Ann B."])
    assert result.given["Ann B."] == {"perfect": 1, "minor": 2, "significant": 0}
