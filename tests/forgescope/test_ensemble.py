"""Several checkpoints on one photograph."""

import json

import numpy as np
import pytest
from PIL import Image
from tiny_models import tiny_model, tiny_processor

import forgescope
from forgescope.analyze import Analyzer
from forgescope.cli import main
from forgescope.decision import DecisionRule
from forgescope.ensemble import Ensemble, agree
from forgescope.reading import ImageReadError
from forgescope.report import ForgeryReport, Region


def report(verdict, mask, score=0.4, **settings):
    """A report with the given mask; None: of a model that marks no pixels."""
    pixels = np.zeros((4, 6), np.uint8) if mask is None else np.array(mask, np.uint8)
    given = {
        "verdict": verdict,
        "score": score,
        "mask": pixels,
        "regions": [],
        "attribution": None,
        "explanation": None,
        "model": "model",
        "forged_fraction": float(pixels.mean()),
        "probability_map": None if mask is None else pixels.astype(np.float32),
        "rule": DecisionRule(),
        "notes": [],
        "precision": "float32",
    }
    return ForgeryReport(**given | settings)


def marked(*columns):
    mask = np.zeros((4, 6), np.uint8)
    mask[:, list(columns)] = 1
    return mask


@pytest.mark.parametrize(
    ("verdicts", "verdict", "score"),
    [
        (("forged", "forged", "authentic"), "forged", 2 / 3),
        (("forged", "authentic"), "inconclusive", 0.5),
        (("inconclusive", "inconclusive"), "inconclusive", 0.5),
        (("forged", "inconclusive"), "forged", 0.75),
        (("authentic", "inconclusive", "authentic"), "authentic", 1 / 6),
        (("forged",), "forged", 1.0),
    ],
)
def test_more_than_half_of_the_votes_decide(verdicts, verdict, score):
    agreed = agree([report(one, marked()) for one in verdicts])
    assert agreed.verdict == verdict
    assert agreed.score == pytest.approx(score)
    assert agreed.rule.verdict(agreed.score) == agreed.verdict
    assert [view.verdict for view in agreed.views] == list(verdicts)


def test_a_pixel_needs_more_than_half_of_the_models_that_mark_pixels():
    views = [report("forged", marked(0, 1)), report("forged", marked(1, 2)), report("forged", None)]
    agreed = agree(views)
    assert np.array_equal(agreed.mask, marked(1))
    np.testing.assert_allclose(agreed.probability_map[0], [0.5, 1, 0.5, 0, 0, 0])
    assert agreed.forged_fraction == pytest.approx(4 / 24)
    assert [region.box for region in agreed.regions] == [(1, 0, 2, 4)]
    assert agreed.notes[-1].endswith("more than half of the 2 checkpoints that mark pixels mark it.")


def test_each_view_keeps_what_the_agreed_report_has_no_room_for():
    editors = {"attribution": {"sdxl": 0.75, "glide": 0.25}, "regions": [Region((0, 0, 1, 4), 1 / 6, 0.9, "sdxl")]}
    named = Region((1, 0, 3, 4), 1 / 3, 0.8, number=1, phrase="left hand", explanation="six fingers")
    words = {"regions": [named], "explanation": "A hand.\n1. left hand: six fingers"}
    agreed = agree([report("forged", marked(0), **editors), report("forged", marked(1, 2), **words)])
    found = json.loads(json.dumps(agreed.to_dict()))
    assert (found["attribution"], found["regions"]) == (None, [])
    first, second = found["views"]
    assert (first["attribution"], first["explanation"]) == (editors["attribution"], None)
    assert [region["editor"] for region in first["regions"]] == ["sdxl"]
    assert (second["attribution"], second["explanation"]) == (None, words["explanation"])
    assert second["regions"] == [named.to_dict()]
    assert (second["regions"][0]["phrase"], second["regions"][0]["explanation"]) == ("left hand", "six fingers")


def test_models_without_masks():
    agreed = agree([report("forged", None), report("forged", None)])
    assert agreed.probability_map is None
    assert not agreed.mask.any()
    assert agreed.notes[-1] == "None of the checkpoints marks pixels."


def test_words_and_ai_masks_are_joined():
    one = report("forged", marked(), explanation="It is odd.", model="a", ai_mask=marked(0, 1), ai_fraction=0.3)
    other = report("forged", marked(), model="b", ai_mask=marked(1), ai_fraction=0.2)
    agreed = agree([one, other, report("forged", marked(), model="c")])
    assert agreed.explanation == "a: It is odd."
    assert np.array_equal(agreed.ai_mask, marked(1))
    assert agreed.model == "a + b + c"


def test_reports_of_different_images_do_not_agree():
    with pytest.raises(ValueError, match="reports of one image, got sizes 6 x 4, 5 x 4"):
        agree([report("forged", marked()), report("forged", np.zeros((4, 5)))])
    with pytest.raises(ValueError, match="got sizes none"):
        agree([])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A localizer and a classifier."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for name in ("iclnet", "gamma"):
        tiny_model(name).save_pretrained(folder / name)
        tiny_processor(name).save_pretrained(folder / name)
    return [str(folder / "iclnet"), str(folder / "gamma")]


@pytest.fixture
def photos(tmp_path):
    paths = []
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (70, 90, 3), dtype=np.uint8)
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(pixels).save(paths[-1])
    return paths


def test_each_view_is_what_its_checkpoint_says_alone(folders, photos):
    together = list(Ensemble(folders, overlap=16).analyze_many(photos))
    for place, folder in enumerate(folders):
        for alone, agreed in zip(Analyzer(folder, overlap=16).analyze_many(photos), together, strict=True):
            view = agreed.views[place]
            assert (view.verdict, view.model, view.path) == (alone.verdict, folder, alone.path)
            assert view.score == pytest.approx(alone.score, rel=1e-5)
            assert np.array_equal(view.mask, alone.mask)
    assert [one.path for one in together] == photos


def test_analyze_takes_a_list(folders, photos):
    found = forgescope.analyze(photos[0], model=folders, overlap=16)
    assert len(found.views) == 2
    json.dumps(found.to_dict())
    assert [view["model"] for view in found.to_dict()["views"]] == folders
    assert found.overlay().size == (90, 70)


def test_analyze_loads_a_list_once(folders, photos, monkeypatch):
    loaded = []
    load = Analyzer.__init__

    def counted(self, model=None, *args, **kwargs):
        loaded.append(str(model))
        load(self, model, *args, **kwargs)

    monkeypatch.setattr(Analyzer, "__init__", counted)
    # other settings than in the tests above, so that nothing is kept from them
    first, again = (forgescope.analyze(photos[0], model=folders, overlap=8) for _ in range(2))
    assert (first.score, loaded) == (again.score, folders)
    # what was asked last is what is kept
    forgescope.analyze(photos[0], model=folders[0], overlap=8)
    forgescope.analyze(photos[0], model=folders, overlap=8)
    assert loaded == [*folders, folders[0], *folders]


def test_an_unreadable_photograph_is_one_failure(folders, photos, tmp_path):
    (tmp_path / "1.png").write_bytes(b"no picture")
    results = list(Ensemble(folders, overlap=16).results(photos))
    assert [hasattr(one, "error") for one in results] == [False, True, False]
    with pytest.raises(ImageReadError, match="1.png"):
        list(Ensemble(folders, overlap=16).analyze_many(photos))


@pytest.mark.parametrize("models", [[], ["iclnet-mini"], "iclnet-mini"])
def test_one_checkpoint_is_no_ensemble(models):
    with pytest.raises(ValueError, match="at least two checkpoints"):
        Ensemble(models)


def test_detect_with_two_models(folders, photos, tmp_path, monkeypatch, capsys):
    arguments = ["detect", *photos, "--overlap", "16", "--out", str(tmp_path / "out"), "--format", "html"]
    monkeypatch.setattr("sys.argv", ["forgescope", *arguments, "--model", folders[0], "--model", folders[1]])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    rows = [json.loads(line) for line in (tmp_path / "out" / "report.jsonl").read_text().splitlines()]
    assert [[view["model"] for view in row["views"]] for row in rows] == [folders] * 3
    assert {view["verdict"] for row in rows for view in row["views"]} <= {"forged", "inconclusive", "authentic"}
    assert {row["model"] for row in rows} == {" + ".join(folders)}
    assert "3 examined" in capsys.readouterr().out
