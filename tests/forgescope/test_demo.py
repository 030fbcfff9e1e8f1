"""What the page of the demo shows: the numbers of `forgescope.analyze`, changes by hand, one sentence for errors."""

import importlib.util
import re
import runpy
import socket
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from answering_fakereasoning import plain_photo
from PIL import Image

import forgescope
from forgescope.cli import main
from forgescope.decision import DecisionRule
from forgescope.demo_answers import NOTHING, SHOWN_EDGE, Answers, before_and_after, trials_frame, with_trial
from forgescope.demo_examine import CHANGES, MAX_PIXELS, Examiner, Trial, changed, sentence_of
from forgescope.demo_html import MOST_REGIONS, UNTRIED, badge, details_html, trials_html, verdict_html
from forgescope.evaluation.perturbations import TABLE2, Perturbation
from forgescope.overlay import editor_color
from forgescope.report import Region

JPEG, CROP, BLUR = CHANGES
WITHOUT_GRADIO = importlib.util.find_spec("gradio") is None
needs_gradio = pytest.mark.skipif(WITHOUT_GRADIO, reason='the page needs gradio: pip install "forgescope[demo]"')


@pytest.fixture(scope="module")
def photo_file(photos, tmp_path_factory):
    """300 x 200."""
    path = tmp_path_factory.mktemp("uploads") / "photo.png"
    photos[3].save(path)
    return path


@pytest.fixture(scope="module")
def answers(tiny_checkpoint, answering_checkpoint):
    return Answers(Examiner([tiny_checkpoint, answering_checkpoint], "cpu"))


@pytest.fixture(scope="module")
def model(tiny_checkpoint):
    return str(tiny_checkpoint)


@pytest.fixture(scope="module")
def upload(photo_file):
    """A file as Gradio gives it."""
    return {"path": str(photo_file), "orig_name": "photo.png", "meta": {"_type": "gradio.FileData"}}


@pytest.fixture(scope="module")
def report(photo_file, model):
    return forgescope.analyze(photo_file, model=model, device="cpu")


def rows_of(table):
    """Texts of the cells of an HTML table."""
    rows = re.findall(r"<tr>(.*?)</tr>", table)
    return [[re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[dh].*?>(.*?)</t[dh]>", row)] for row in rows]


def test_the_page_has_the_numbers_of_analyze(answers, upload, model, report):
    verdict, pictures, details, trials, table, changed_pictures, *frames = answers.examine(upload, model)
    assert badge(report.verdict) in verdict
    assert f"score {report.score:.3f}" in verdict
    assert f"{report.forged_fraction:.1%} of the pixels marked" in verdict
    assert report.rule.describe() in verdict
    np.testing.assert_array_equal(pictures[0], report.image)
    assert pictures[1].size == report.image.size
    assert trials == [Trial(None, 0, report.score, report.verdict, report.forged_fraction)]
    assert (table, changed_pictures, len(frames)) == (UNTRIED, None, 3)
    heads, *regions = rows_of(details)
    assert heads == ["region", "left, top", "right, bottom", "share of pixels", "mean probability"]
    assert len(regions) == min(len(report.regions), MOST_REGIONS) > 0
    left, top, right, bottom = report.regions[0].box
    share, probability = report.regions[0].area_fraction, report.regions[0].mean_probability
    assert regions[0] == ["1", f"{left}, {top}", f"{right}, {bottom}", f"{share:.2%}", f"{probability:.3f}"]
    assert all(note in details for note in report.notes)


def test_the_scale_has_the_thresholds_and_the_score(report):
    rule = DecisionRule(authentic_threshold=0.25, forged_threshold=0.75)
    page = verdict_html(replace(report, rule=rule, score=0.5))
    assert re.findall(r'<i class="(\w+)" style="width:([\d.]+)%', page) == [
        ("authentic", "25.00"),
        ("inconclusive", "50.00"),
        ("forged", "25.00"),
    ]
    assert '<b style="left:50.00%">' in page


def test_editors_phrases_and_many_regions(report):
    regions = [Region((0, 0, 4, 4), 0.1, 0.9, number=2, phrase="the <left> hand")]
    page = details_html(replace(report, regions=regions, probability_map=None))
    assert rows_of(page)[0][-1] == "where"
    assert rows_of(page)[1] == ["2", "0, 0", "4, 4", "10.00%", "0.900", "the &lt;left&gt; hand"]
    edited = replace(report, regions=[Region((0, 0, 4, 4), 0.1, 0.9, "sdxl")] * (MOST_REGIONS + 3))
    assert rows_of(details_html(edited))[1][-1] == "sdxl"
    assert "3 smaller ones are not listed." in details_html(edited)
    shares = replace(report, attribution={"sdxl": 0.75, "flux": 0.25}, ai_fraction=0.5)
    assert "editors: sdxl 75%, flux 25%" in verdict_html(shares)
    assert "50.0% AI-made" in verdict_html(shares)
    ids = np.full_like(report.mask, 2)
    ids[0] = 1
    colored = verdict_html(replace(shares, editor_map=ids, mask=np.ones_like(report.mask)))
    assert re.findall(r'background:rgb(\(.*?\))"></i>(\w+)', colored) == [
        (str(editor_color(2)), "sdxl"),
        (str(editor_color(1)), "flux"),
    ]


def test_regions_are_numbered_beside_their_places(report):
    rest = replace(report, regions=[])
    plain, numbered = (np.asarray(before_and_after(one)[1], int) for one in (rest, report))
    np.testing.assert_array_equal(plain, report.overlay())
    rows, columns = np.nonzero((plain != numbered).any(axis=2))
    assert rows.size > 0
    boxes = [region.box for region in report.regions]
    for row, column in zip(rows, columns, strict=True):
        assert any(abs(column - left) < 40 and abs(row - top) < 30 for left, top, _, _ in boxes)


def test_large_pictures_are_reduced_for_the_page(report):
    size = (2 * SHOWN_EDGE, SHOWN_EDGE)
    mask = np.zeros(size[::-1], np.uint8)
    large = replace(report, image=Image.new("RGB", size), mask=mask, probability_map=None)
    assert [picture.size for picture in before_and_after(large)] == [(SHOWN_EDGE, SHOWN_EDGE // 2)] * 2
    assert large.image.size == size


def test_changes_by_hand(photos):
    photo = photos[3]
    jpeg, _ = Perturbation(jpeg_quality=40).apply(photo, None)
    np.testing.assert_array_equal(changed(photo, "jpeg", 40), jpeg)
    blurred = cv2.GaussianBlur(np.asarray(photo), (9, 9), 0)
    np.testing.assert_array_equal(changed(photo, "blur", 9), blurred)
    # 300 x 200 without 20 percent: 240 x 160 from the middle
    np.testing.assert_array_equal(changed(photo, "crop", 20), np.asarray(photo)[20:180, 30:270])
    np.testing.assert_array_equal(changed(photo, "crop", CROP.neutral), photo)
    np.testing.assert_array_equal(changed(photo, "blur", BLUR.neutral), photo)
    assert changed(Image.new("RGB", (2, 1)), "crop", 60).size == (1, 1)


@pytest.mark.parametrize(
    ("kind", "strength", "message"),
    [
        ("noise", 1, "expected jpeg, crop or blur, got 'noise'"),
        ("jpeg", 0, "JPEG quality must be 1 to 100, got 0"),
        ("crop", 100, "crop must remove at least 0 and less than 100 percent, got 100"),
        ("blur", 4, "blur must have an odd kernel of at least 1 pixel, got 4"),
    ],
)
def test_changes_that_are_not_possible(photos, kind, strength, message):
    with pytest.raises(ValueError, match=message):
        changed(photos[0], kind, strength)


def test_sliders_can_stand_at_every_strength_that_is_tried():
    for change in CHANGES:
        for strength in (*change.strengths, change.neutral, change.highest):
            assert (strength - change.lowest) % change.step == 0
            assert change.lowest <= strength <= change.highest
    alone = [one for one in TABLE2 if "+" not in one.name]
    assert JPEG.strengths == tuple(one.jpeg_quality for one in alone if one.jpeg_quality)
    assert CROP.strengths == tuple(one.crop_percent for one in alone if one.crop_percent)


def test_a_slider_examines_the_changed_photograph(answers, upload, model, report):
    trials = answers.examine(upload, model)[3]
    found = forgescope.analyze(changed(report.image, "blur", 9), model=model, device="cpu")
    trials, table, pictures, *frames = answers.try_one(BLUR, upload, model, 9.0, trials)
    assert trials[1:] == [Trial("blur", 9, found.score, found.verdict, found.forged_fraction)]
    before = [f"{report.score:.3f}", "", f"{report.forged_fraction:.1%}", report.verdict]
    after = [f"{found.score:.3f}", f"{found.score - report.score:+.3f}", f"{found.forged_fraction:.1%}", found.verdict]
    assert rows_of(table)[1:] == [["unchanged", *before], ["blur:9 (shown)", *after]]
    np.testing.assert_array_equal(pictures[0], found.image)
    assert frames[2].query("line == 'score'")["strength"].tolist() == [BLUR.neutral, 9]
    assert frames[0].query("line == 'score'")["score"].tolist() == [report.score]


def test_a_slider_at_its_neutral_end_examines_nothing(answers, upload, model):
    trials = answers.examine(upload, model)[3]
    again, table, pictures, *_ = answers.try_one(JPEG, upload, model, JPEG.neutral, trials)
    assert (again, table, pictures) == (trials, UNTRIED, None)


def test_all_strengths_come_one_after_the_other(answers, upload, model, report):
    steps = list(answers.try_all(upload, model, answers.examine(upload, model)[3]))
    assert [len(trials) for trials, *_ in steps] == list(range(2, 13))
    names = [one.name for one in steps[-1][0]]
    assert names[:5] == ["unchanged", "jpeg:60", "jpeg:70", "jpeg:80", "jpeg:90"]
    assert names[5:] == ["crop:10", "crop:20", "crop:30", "crop:40", "blur:5", "blur:9", "blur:15"]
    for one in steps[-1][0][1::4]:
        found = forgescope.analyze(changed(report.image, one.kind, one.strength), model=model, device="cpu")
        assert (one.score, one.verdict) == (found.score, found.verdict)


def test_the_table_counts_what_stayed():
    trials = [Trial(None, 0, 0.9, "forged", 0.2), Trial("jpeg", 60, 0.3, "authentic", 0.0)]
    for one in (Trial("blur", 5, 0.95, "forged", 0.3), Trial("jpeg", 40, 0.8, "forged", 0.1)):
        trials = with_trial(trials, one)
    assert "The verdict stayed forged in 2 of 3 changes; scores from 0.300 to 0.950." in trials_html(trials)
    assert [row[0] for row in rows_of(trials_html(trials))[1:]] == ["unchanged", "jpeg:40", "jpeg:60", "blur:5"]
    unmarked = trials_html([Trial(None, 0, 0.9, "forged", None), Trial("jpeg", 60, 0.3, "authentic", None)])
    assert {row[3] for row in rows_of(unmarked)[1:]} == {""}
    again = with_trial(trials, Trial("jpeg", 60, 0.5, "inconclusive", 0.0))
    assert [one.score for one in again] == [0.9, 0.8, 0.5, 0.95]


def test_plots_have_scores_and_thresholds():
    rule = DecisionRule(authentic_threshold=0.4, forged_threshold=0.6)
    trials = [
        Trial(None, 0, 0.9, "forged", 0.2),
        Trial("crop", 20, 0.3, "authentic", 0.0),
        Trial("jpeg", 60, 0.5, "inconclusive", 0),
    ]
    frame = trials_frame(trials, CROP, rule)
    assert frame.values.tolist() == [
        [0, 0.9, "score"],
        [20, 0.3, "score"],
        [0, 0.6, "forged from"],
        [60, 0.6, "forged from"],
        [0, 0.4, "authentic below"],
        [60, 0.4, "authentic below"],
    ]


@pytest.mark.parametrize(
    ("content", "said"), [(b"no <b>image</b>", "bad.png: not an image"), (b"", "bad.png: the file is empty (0 bytes)")]
)
def test_a_bad_image_is_one_sentence(answers, model, tmp_path, content, said):
    (tmp_path / "bad.png").write_bytes(content)
    verdict, *others = answers.examine({"path": str(tmp_path / "bad.png")}, model)
    assert verdict.startswith(f'<p class="failed" role="alert">{said}')
    assert str(tmp_path) not in verdict
    assert others == list(NOTHING[1:])


def test_too_large_a_photograph_is_refused(answers, model, tmp_path):
    Image.new("1", (10_001, MAX_PIXELS // 10_000)).save(tmp_path / "large.png")
    verdict, *_ = answers.examine({"path": str(tmp_path / "large.png")}, model)
    assert 'class="failed"' in verdict
    assert "large.png" in verdict


def test_wrong_requests_are_one_sentence(answers, upload, model, tmp_path):
    assert "expected one of the models" in answers.examine(upload, "/etc")[0]
    assert answers.examine(None, model) == NOTHING
    for trials, table, *_ in (answers.try_one(JPEG, None, model, 60, []), *answers.try_all(upload, model, [])):
        assert (trials, table) == ([], '<p class="failed" role="alert">Choose a photograph first.</p>')
    trials = answers.examine(upload, model)[3]
    kept, table, *_ = answers.try_one(JPEG, {"path": str(tmp_path / "gone.png")}, model, 60, trials)
    assert (kept, table) == (trials, '<p class="failed" role="alert">gone.png: no such file</p>')
    assert "odd kernel" in answers.try_one(BLUR, upload, model, 4, trials)[1]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.kind)
def test_strengths_beyond_the_slider_are_refused(answers, upload, model, report, change):
    trials = answers.examine(upload, model)[3]
    for strength in (change.lowest - 1, change.highest + 1, 20_001):
        _, html, *_ = answers.try_one(change, upload, model, strength, trials)
        assert f"{change.title} goes from {change.lowest} to {change.highest}, got {strength}" in html


def test_errors_without_words_have_a_name():
    assert sentence_of(MemoryError()) == "MemoryError"
    assert sentence_of(RuntimeError("two\n lines")) == "two lines"


def test_a_model_that_explains(answers, answering_checkpoint, tmp_path):
    plain_photo("red").save(tmp_path / "red.png")
    verdict, pictures, details, *_ = answers.examine({"path": str(tmp_path / "red.png")}, str(answering_checkpoint))
    assert badge("forged") in verdict
    assert "of the pixels marked" not in verdict
    assert "<h3>Explanation</h3><p>Summary: I look.</p><p>Caption: A red wall.</p>" in details
    assert "<h3>Regions</h3>" not in details
    np.testing.assert_array_equal(*pictures)


def test_texts_of_models_and_files_are_no_markup(report):
    nasty = replace(report, explanation="<script>1</script>", notes=["<b>note</b>"])
    assert "<script>" not in details_html(nasty)
    assert "<b>note" not in details_html(nasty)


def test_each_model_is_loaded_once(answers, model):
    assert answers.examiner.names == [*answers.examiner.names[:2], "iclnet-mini"]
    assert answers.examiner.analyzer(model) is answers.examiner.analyzer(model)
    assert Examiner(["iclnet-mini"]).names == ["iclnet-mini"]


@pytest.fixture
def forgescope_demo(monkeypatch, capsys):
    """Run the verb in this process; gives exit status and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["forgescope", "demo", *map(str, arguments)])
        with pytest.raises(SystemExit) as status:
            main()
        return status.value.code, capsys.readouterr().err

    return run


@needs_gradio
def test_an_unknown_model_ends_the_command(forgescope_demo):
    status, err = forgescope_demo("--model", "./nowhere")
    assert status == 2
    assert err.startswith("error: unknown checkpoint './nowhere': no such folder")
    assert err.count("\n") == 1


@needs_gradio
def test_examples_that_are_no_folder_end_the_command(forgescope_demo):
    sentence = "error: nowhere is no folder: --examples takes a folder of images\n"
    assert forgescope_demo("--examples", "nowhere") == (2, sentence)


@needs_gradio
def test_a_taken_port_ends_the_command(forgescope_demo):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, err = forgescope_demo("--port", port, "--host", "127.0.0.1")
    place = f"127.0.0.1, port {port}"
    assert (status, err) == (
        2,
        f"error: cannot listen at {place}: the port is taken, or the address is not this computer's\n",
    )


def test_without_gradio_the_message_says_what_to_install(forgescope_demo, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "forgescope.demo", raising=False)
    assert forgescope_demo() == (2, 'error: the demo needs gradio: pip install "forgescope[demo]"\n')


@needs_gradio
def test_the_space_offers_the_embedded_checkpoint(repository):
    space = repository / "examples" / "space"
    _, front, text = (space / "README.md").read_text().split("---\n", 2)
    card = yaml.safe_load(front)
    assert (card["sdk"], card["app_file"], card["license"]) == ("gradio", "app.py", "apache-2.0")
    assert len(card["short_description"]) <= 60
    assert text.strip().startswith("# forgescope")
    page = runpy.run_path(str(space / card["app_file"]))["demo"]
    choices = [block.choices for block in page.blocks.values() if getattr(block, "elem_id", None) == "model"]
    assert choices == [[("iclnet-mini", "iclnet-mini")]]
    assert "forgescope[demo]" in Path(space / "requirements.txt").read_text().splitlines()
