"""`forgescope evaluate --protocol legion-...` on tiny corpora, with another system's masks and with someone to ask."""

import json
import re
import sys

import numpy as np
import pytest
from artifact_corpora import (
    BOXES,
    SIZE,
    Finder,
    Found,
    Phrase,
    box_mask,
    caption,
    write_loki,
    write_richhf,
    write_synthscars,
)
from PIL import Image

from forgescope.cli import main
from forgescope.evaluation.perturbations import parse_perturbations
from forgescope.evaluation.protocols import find_protocol
from forgescope.evaluation.text_scores import rouge_l
from forgescope.grounded_answers import read_grounded_answers
from forgescope.grounded_data import draw_grounded_images, with_rasterizer
from forgescope.grounded_evaluation import GroundedRule, evaluate_grounded


@pytest.fixture(scope="module")
def synthscars(tmp_path_factory):
    return write_synthscars(tmp_path_factory.mktemp("synthscars"))


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line in this process: exit status, standard output, standard error."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["forgescope", "evaluate", *(str(word) for word in words)])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return exit_.value.code, " ".join(captured.out.split()), captured.err

    return call


def write_answers(folder, lines):
    """Lines whose masks are arrays, as a file with PNG files beside it."""
    folder.mkdir(exist_ok=True)

    def saved(mask):
        name = f"{len(list(folder.glob('*.png')))}.png"
        Image.fromarray(mask * np.uint8(255)).save(folder / name)
        return name

    with (folder / "answers.jsonl").open("w") as file:
        for line in lines:
            line = dict(line)
            if isinstance(line.get("mask"), np.ndarray):
                line["mask"] = saved(line["mask"])
            if "phrases" in line:
                line["phrases"] = [
                    {"phrase": "x", "explanation": "y", "mask": None if mask is None else saved(mask)}
                    for mask in line["phrases"]
                ]
            file.write(json.dumps(line) + "\n")
    return folder / "answers.jsonl"


def perfect_lines():
    """Phrases in reverse order, named by path, id and file name."""
    names = ("/elsewhere/test/images/im0.png", "1", "im2.png", "im3.png")
    masks = [[box_mask(box) for box in reversed(boxes)] for boxes in (*BOXES, ())]
    return [
        {"id": name, "text": f"<p> {caption(min(number, 2))} </p> [SEG]", "phrases": own}
        for number, (name, own) in enumerate(zip(names, masks, strict=True))
    ]


def found_rows(file, **wanted):
    rows = json.loads(file.read_text())
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def value_of(file, metric, classes="macro", **wanted):
    (row,) = found_rows(file, metric=metric, classes=classes, **wanted)
    return row["value"]


def test_masks_of_another_system_beside_the_paper(run, synthscars, tmp_path):
    answers = write_answers(tmp_path / "other", perfect_lines())
    words = ("--protocol", "legion-synthscars", "--data", synthscars, "--answers", answers, "--resamples", 20)
    files = ("--json", tmp_path / "rows.json", "--markdown", tmp_path / "rows.md", "--plot", tmp_path / "plots")
    status, out, err = run(*words, *files)
    assert (status, err) == (0, "")
    rows = json.loads((tmp_path / "rows.json").read_text())
    kinds = {(row["targets"], row["reduction"]) for row in rows}
    assert kinds == {(one, two) for one in ("union", "per_phrase") for two in ("image", "dataset")} | {(None, "image")}
    assert {row["value"] for row in rows if row["metric"].startswith("pixel_")} == {1.0}
    assert {row["n"] for row in rows if row["metric"].startswith("pixel_")} == {3}
    (miou,) = found_rows(
        tmp_path / "rows.json", metric="pixel_iou", classes="macro", targets="union", reduction="image"
    )
    assert (miou["paper_value"], miou["rasterizer"], miou["empty_rule"]) == (0.5941, "fillpoly", "skip")
    assert "0.5813 and 0.3454" in miou["note"]
    assert value_of(tmp_path / "rows.json", "text_rouge_l", "all") == pytest.approx(
        (3 + rouge_l(caption(2), "nothing")) / 4
    )
    for text in (
        "LEGION, Tables 2, 3 and 10",
        "one mask an image (union), mean over images, masks by fillpoly, images without artifact: left out",
        "one mask a phrase (per_phrase), counts of the data set added, masks by fillpoly, phrases paired by best",
        "none: 6 artifacts are annotated, 6 were found in the same images, 6 paired (best)",
        "no CSS: name its embeddings by --embedder, such as sentence-transformers/paraphrase-MiniLM-L6-v2",
        "masks as given",
    ):
        assert text in out
    assert f"answers: {answers}" in (tmp_path / "rows.md").read_text()
    assert sorted(one.name for one in (tmp_path / "plots").iterdir()) == [
        "chart.png",
        *(f"image_{number:02d}.png" for number in range(4)),
    ]
    assert Image.open(tmp_path / "plots/image_00.png").size == (3 * SIZE[0] + 16, SIZE[1])


def test_reduction_targets_and_matching_are_chosen(run, synthscars, tmp_path):
    answers = write_answers(tmp_path / "other", perfect_lines())
    words = ("--protocol", "legion-synthscars", "--data", synthscars, "--answers", answers, "--resamples", 0)
    file = tmp_path / "rows.json"
    choices = ("--targets", "per_phrase", "--reduction", "dataset", "--matching", "order", "--rasterizer", "coco")
    status, out, _ = run(*words, "--json", file, *choices)
    assert status == 0
    rows = [row for row in json.loads(file.read_text()) if row["metric"].startswith("pixel_")]
    assert {(row["targets"], row["reduction"], row["matching"], row["rasterizer"]) for row in rows} == {
        ("per_phrase", "dataset", "order", "coco")
    }
    # reversed phrases paired by their order: only the middle one of three, and the single one, are right
    assert value_of(file, "pixel_iou", "forged") < 0.7
    assert "phrases paired by order" in out
    run(*words, "--json", file, "--targets", "union", "--reduction", "image", "--authentic", "one")
    rows = [row for row in json.loads(file.read_text()) if row["metric"].startswith("pixel_")]
    assert {(row["targets"], row["reduction"], row["empty_rule"], row["n"], row["value"]) for row in rows} == {
        ("union", "image", "one", 4, 1.0)
    }


def test_the_authors_clean_up_joins_lines_without_a_blank(run, synthscars, tmp_path):
    lines = [{"id": str(number), "answer": f"{caption(0)}\nTo end"} for number in range(4)]
    answers = write_answers(tmp_path / "other", lines)
    words = (
        "--protocol",
        "legion-synthscars",
        "--data",
        synthscars,
        "--answers",
        answers,
        "--json",
        tmp_path / "r.json",
    )
    values = {}
    for cleaning in ("plain", "authors"):
        assert run(*words, "--cleaning", cleaning)[0] == 0
        # texts alone: there is nothing to say of masks
        assert {row["metric"] for row in found_rows(tmp_path / "r.json")} == {"text_rouge_l", "text_missing"}
        assert {row["cleaning"] for row in found_rows(tmp_path / "r.json")} == {cleaning}
        values[cleaning] = value_of(tmp_path / "r.json", "text_rouge_l", "all")
    assert values["plain"] != values["authors"]


def test_one_mask_an_image_and_nothing_found(run, synthscars, tmp_path):
    lines = [
        {"id": "im0.png", "mask": box_mask(*BOXES[0])},
        {"id": "im1.png", "mask": None},
        {"id": "im2.png", "mask": box_mask(*BOXES[2])},
        {"id": "im3.png", "mask": None},
    ]
    answers = write_answers(tmp_path / "other", lines)
    words = (
        "--protocol",
        "legion-synthscars",
        "--data",
        synthscars,
        "--answers",
        answers,
        "--json",
        tmp_path / "r.json",
    )
    assert run(*words)[0] == 0
    rows = found_rows(tmp_path / "r.json")
    assert {row["targets"] for row in rows} == {"union"}
    share = BOXES[1][0]
    area = (share[2] - share[0] + 1) * (share[3] - share[1] + 1) / (SIZE[0] * SIZE[1])
    assert value_of(tmp_path / "r.json", "pixel_f1", "forged", reduction="image") == pytest.approx(2 / 3)
    assert value_of(tmp_path / "r.json", "pixel_iou", reduction="image") == pytest.approx((2 + (1 - area) / 2) / 3)
    status, _, err = run(*words, "--targets", "per_phrase")
    assert status == 2
    assert "not one of 4 images could be scored" in err


def test_loki_and_richhf(run, tmp_path):
    for protocol, write, paper in (("legion-loki", write_loki, 0.4866), ("legion-richhf", write_richhf, 0.5007)):
        data = write(tmp_path / protocol)
        lines = [
            {"path": f"im{number}.png", "text": f"too smooth {number} region 0", "phrases": [box_mask(*boxes)]}
            for number, boxes in enumerate(BOXES)
        ]
        answers = write_answers(tmp_path / f"{protocol}-answers", lines)
        file = tmp_path / f"{protocol}.json"
        assert run("--protocol", protocol, "--data", data, "--answers", answers, "--json", file)[0] == 0
        miou = found_rows(file, metric="pixel_iou", classes="macro", targets="union", reduction="image")[0]
        assert (miou["value"], miou["paper_value"], miou["n"]) == (1, paper, 3)
    file = tmp_path / "legion-loki.json"
    expected = [
        rouge_l(
            f"too smooth {number} region 0",
            " ".join([f"too smooth {number}", *(f"region {one}" for one in range(count))]),
        )
        for number, count in enumerate(map(len, BOXES))
    ]
    assert value_of(file, "text_rouge_l", "all") == pytest.approx(np.mean(expected))
    assert found_rows(file, metric="text_rouge_l")[0]["paper_value"] == 0.1855
    # one found phrase of two annotated: the other is compared with an empty mask
    assert 0 < value_of(file, "pixel_iou", "forged", targets="per_phrase", reduction="image") < 1
    assert {row["targets"] for row in found_rows(tmp_path / "legion-richhf.json")} == {"union"}
    status, _, err = run(
        "--protocol", "legion-richhf", "--data", tmp_path, "--answers", "x", "--targets", "per_phrase"
    )
    assert (status, "its artifacts are not told apart" in err) == (2, True)


GRID = ("none", "jpeg:20", "noise:0.3", "blur:15")


def asked(data, file, finder, protocol="legion-robustness", grid=GRID, **changes):
    images = draw_grounded_images(find_protocol(protocol), data)
    options = {"model": "finder", "seed": 0, "resamples": 0, "threshold": 0.5, **changes}
    return evaluate_grounded(images, file, parse_perturbations(",".join(grid)), finder, **options)


def test_a_run_that_was_stopped_goes_on(synthscars, tmp_path):
    finder = Finder()
    whole = asked(synthscars, tmp_path / "whole.jsonl", finder)
    assert finder.asked == [4] * 4
    assert list(dict.fromkeys(row.perturbation for row in whole.rows)) == list(GRID)
    assert {row.threshold for row in whole.rows} == {0.5}
    values = [
        row.value for row in whole.rows if (row.metric, row.targets, row.reduction) == ("pixel_f1", "union", "image")
    ]
    assert len(set(values)) == 4
    # what was found in the noise is what the finder finds in the image with this noise
    images = draw_grounded_images(find_protocol("legion-robustness"), synthscars)
    book = read_grounded_answers(tmp_path / "whole.jsonl")
    for name, photo in images.read({"1"}):
        (noise,) = parse_perturbations("noise:0.3")
        found = Finder().find(noise.apply(photo, None, seed=0, name=name)[0])
        (item,) = (item for item in images.items if item.id == name)
        parts = book.find(item, "noise:0.3").parts(item.size)
        assert [one.tolist() for one in parts] == [one.mask.tolist() for one in found.phrases[:2]]
    lines = (tmp_path / "whole.jsonl").read_bytes().splitlines(keepends=True)
    assert len(lines) == 16
    # killed in the middle of a line; its masks are there already
    (tmp_path / "half.jsonl").write_bytes(b"".join(lines[:6]) + lines[6][:40])
    (tmp_path / "whole.masks").rename(tmp_path / "moved")
    (tmp_path / "moved").rename(tmp_path / "whole.masks")
    (tmp_path / "half.masks").mkdir()
    for mask in (tmp_path / "whole.masks").iterdir():
        (tmp_path / "half.masks" / mask.name).write_bytes(mask.read_bytes())
    text = (tmp_path / "half.jsonl").read_text().replace("whole.masks", "half.masks")
    (tmp_path / "half.jsonl").write_text(text)
    again = Finder()
    assert asked(synthscars, tmp_path / "half.jsonl", again).rows == whole.rows
    assert again.asked == [2, 4, 4]
    assert len((tmp_path / "half.jsonl").read_bytes().splitlines()) == 16
    # everything is there: nobody is asked, and the file alone gives the same numbers
    finished = Finder()
    assert asked(synthscars, tmp_path / "whole.jsonl", finished).rows == whole.rows
    assert finished.asked == []
    assert asked(synthscars, tmp_path / "whole.jsonl", None).rows == whole.rows
    with pytest.raises(
        ValueError, match="is of model finder, seed 0, threshold 0.5, this run of model finder, seed 7"
    ):
        asked(synthscars, tmp_path / "whole.jsonl", finished, seed=7)


def test_what_fails_is_named_and_the_rest_goes_on(tmp_path):
    data = write_synthscars(tmp_path / "data", broken=True)
    run = asked(data, tmp_path / "a.jsonl", Finder(), "legion-synthscars", ("none",))
    named = {one.name: one.reason for one in run.results[0].skipped}
    assert list(named) == ["test/images/im4.png"]
    with pytest.raises(ValueError, match="not one of 4 images could be scored; the first, .*: "):
        asked(data, tmp_path / "b.jsonl", Finder(broken=True), "legion-synthscars", ("none",))

    class Failing(Finder):
        def find(self, image):
            if image.getpixel((0, 0)) == first:
                raise ValueError("no sense in it")
            return super().find(image)

    images = draw_grounded_images(find_protocol("legion-synthscars"), data)
    ((_, photo),) = images.read({"2"})
    first = photo.getpixel((0, 0))
    run = asked(data, tmp_path / "c.jsonl", Failing(), "legion-synthscars", ("none",))
    assert {one.name: one.reason for one in run.results[0].skipped}["2"] == "no sense in it"
    assert next(row.n for row in run.rows) == 2
    # it is asked again, the others are not
    finder = Finder()
    assert next(row.n for row in asked(data, tmp_path / "c.jsonl", finder, "legion-synthscars", ("none",)).rows) == 3
    assert finder.asked == [1]


def test_masks_of_other_sizes_and_missing_answers_are_named(run, synthscars, tmp_path):
    lines = perfect_lines()[:3]
    lines[0]["phrases"] = [np.ones((3, 3), np.uint8)]
    answers = write_answers(tmp_path / "other", lines)
    (tmp_path / "other/3.png").unlink()
    status, _, err = run("--protocol", "legion-synthscars", "--data", synthscars, "--answers", answers)
    assert status == 1
    assert "0.png: the mask must be (height, width) = (16, 24) like its image, got (3, 3)" in err
    assert "skipped 2: " in err
    assert "3.png" in err
    assert "skipped 3: no answer about it" in err


def test_draws_are_of_ids_and_seed_alone(synthscars):
    protocol = find_protocol("legion-synthscars")
    one, again, other = (
        [item.id for item in draw_grounded_images(protocol, synthscars, 2, seed).items] for seed in (0, 0, 3)
    )
    assert one == again != other
    coco = draw_grounded_images(with_rasterizer(protocol, "coco"), synthscars).items
    filled = draw_grounded_images(protocol, synthscars).items
    assert coco[0].whole().sum() < filled[0].whole().sum() == box_mask(*BOXES[0]).sum()
    assert [len(item.phrases) for item in filled] == [2, 1, 3, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no answers: expected JSON lines with id (or path) and text, phrases or mask"),
        ('{"id": "a"}', "line 1 of FILE: expected id (or path) and text, phrases or mask, got ['id']"),
        ('{"mask": "a.png"}', "line 1 of FILE: expected id (or path)"),
        ('{"id": "a", "phrases": {}}', "line 1 of FILE: phrases must be a list of objects"),
        (
            '{"id": "a", "phrases": [{"mask": 1}]}',
            "line 1 of FILE: phrases must be a list of objects, each with a mask",
        ),
        ('{"id": "a", "text": 1}', "line 1 of FILE: text and mask must be texts"),
        ('{"id": "a", "text": ""}\n{"id": "a", "text": ""}', "line 2 of FILE: a has two answers"),
        ("no", "line 1 of FILE is no JSON"),
    ],
)
def test_wrong_answer_files(tmp_path, text, message):
    file = tmp_path / "a.jsonl"
    file.write_text(text)
    with pytest.raises(ValueError, match=re.escape(message.replace("FILE", str(file)))):
        read_grounded_answers(file)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["legion-synthscars"], "MODEL is missing: name a checkpoint, or --answers FILE"),
        (["legion-synthscars", "--answers", "no.jsonl"], "no file no.jsonl: expected JSON lines"),
        (["legion-synthscars", "--answers", "a", "--reduction", "pooled"], "reduction must be image or dataset"),
        (
            ["legion-synthscars", "--answers", "a", "--targets", "all"],
            "targets must be union or per_phrase, got 'all'",
        ),
        (["legion-synthscars", "--answers", "a", "--matching", "iou"], "matching must be best or order, got 'iou'"),
        (["legion-synthscars", "--answers", "a", "--cleaning", "none"], "cleaning must be plain or authors"),
        (["legion-synthscars", "--answers", "a", "--authentic", "two"], "authentic must be skip or zero or one"),
        (["legion-synthscars", "--answers", "a", "--rasterizer", "pil"], "unknown rasterizer 'pil'"),
        (
            ["legion-synthscars", "--answers", "a", "--split", "all", "--preset", "lisa"],
            "--preset cannot be used with",
        ),
        (["legion-synthscars", "--answers", "a", "--split", "train"], "needs the split train"),
        (["legion-loki", "--answers", "a", "--rasterizer", "coco"], "its masks are not made of polygons"),
        (["legion-robustness", "--answers", "a", "--embedder", "x"], "it compares no explanations"),
        (
            ["legion-detection", "--answers", "a", "--targets", "union"],
            "--targets cannot be used with legion-detection",
        ),
        (["gamma-genimage", "iclnet-mini", "--targets", "union"], "--targets cannot be used with gamma-genimage"),
        (["mmfr-detection", "--answers", "a", "--matching", "best"], "--matching cannot be used with mmfr-detection"),
    ],
)
def test_wrong_usage_of_artifacts_is_one_line(run, synthscars, words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = run("--data", synthscars, "--protocol", *words)
    assert status == 2
    assert message in err
    assert "Traceback" not in err


def test_an_empty_answer_and_a_named_phrase_without_mask(synthscars, tmp_path):
    class Silent(Finder):
        def find(self, image):
            mask = np.zeros(image.size[::-1], np.uint8)
            return Found("", [Phrase("sky", "", mask, None)], None)

    run = asked(synthscars, tmp_path / "a.jsonl", Silent(), "legion-synthscars", ("none",))
    assert not list((tmp_path / "a.masks").iterdir())
    found = {(row.targets, row.reduction, row.metric, row.classes): row.value for row in run.rows}
    background = [1 - box_mask(*boxes).mean() for boxes in BOXES]
    assert found["union", "image", "pixel_iou", "macro"] == pytest.approx(np.mean(background) / 2)
    assert found["per_phrase", "image", "pixel_f1", "forged"] == 0
    assert found[None, "image", "text_missing", "all"] == 1
    with pytest.raises(ValueError, match="matching must be best or order, got 'x'"):
        GroundedRule(matching="x")
