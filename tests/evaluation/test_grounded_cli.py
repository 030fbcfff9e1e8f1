"""`forgescope evaluate --protocol legion-...` on tiny corpora, with another system's masks and with someone to ask."""

import json

import numpy as np
import pytest
from artifact_corpora import (
    BOXES,
    SIZE,
    box_mask,
    caption,
    write_loki,
    write_richhf,
    write_synthscars,
)
from PIL import Image
from report_page import page_data

from forgescope.evaluation.text_scores import rouge_l
from forgescope.processing.grounded_text import plain_text


@pytest.fixture(scope="module")
def synthscars(tmp_path_factory):
    return write_synthscars(tmp_path_factory.mktemp("synthscars"))


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
    status, out, err = run(*words, *files, "--html", tmp_path / "page.html")
    assert (status, err) == (0, "")
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 1
    assert '<button type="button">Rasterizer</button>' in page
    images = page_data(page)["rows"]
    assert [(row["f1"], row["iou"], len(row["regions"])) for row in images] == [
        *[(1, 1, len(boxes)) for boxes in BOXES],
        (None, None, 0),
    ]
    assert [one["kind"] for one in images[0]["pictures"]["layers"]] == ["overlay", "compared", "mask", "truth"]
    first = images[0]["regions"][0]
    assert (first["phrase"], first["explanation"], first["mean_probability"], first["number"]) == ("x", "y", None, 1)
    assert (images[0]["explanation"], images[0]["reference"]) == tuple(
        plain_text(one) for one in (caption(0), caption(0))
    )
    assert (images[0]["verdict"], images[0]["score"]) == (None, None)
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
        "untouched images: 6 artifacts are annotated, 6 were found in the same images, 6 paired (best)",
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
        (["legion-synthscars", "--answers", "a", "--longest-edge", "512"], "--longest-edge is of a model that is"),
        (["legion-synthscars", "--answers", "a", "--dtype", "bfloat16"], "--dtype is of a model that is asked"),
        (["legion-synthscars", "--answers", "a", "--batch-size", "2"], "--batch-size is of a model that is asked"),
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
