"""Answers with masks: asked for and kept, read from files, and drawn images."""

import json
import re

import numpy as np
import pytest
from artifact_corpora import BOXES, Finder, Found, Phrase, box_mask, write_loki, write_synthscars

from forgescope.evaluation.perturbations import parse_perturbations
from forgescope.evaluation.protocols import find_protocol
from forgescope.grounded_answers import read_grounded_answers
from forgescope.grounded_data import GroundedItem, draw_grounded_images, with_rasterizer
from forgescope.grounded_evaluation import GroundedRule, evaluate_grounded


@pytest.fixture(scope="module")
def synthscars(tmp_path_factory):
    return write_synthscars(tmp_path_factory.mktemp("synthscars"))


GRID = ("none", "jpeg:20", "noise:0.3", "blur:15")


def asked(data, file, finder, protocol="legion-robustness", grid=GRID, **changes):
    images = draw_grounded_images(find_protocol(protocol), data)
    options = {"model": "finder", "seed": 0, "resamples": 0, "settings": {"threshold": 0.5}, **changes}
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


def test_every_damaged_image_is_named(tmp_path):
    data = write_loki(tmp_path)
    file = data / "data_json/image/open_ended_vqa.json"
    entries = json.loads(file.read_bytes().decode("utf-16"))
    damaged = [f"media_data/image/damaged{number}.png" for number in range(30)]
    for name in damaged:
        (data / name).write_bytes(b"no image")
    entries += [{**entries[0], "image_path": name} for name in damaged]
    file.write_bytes(json.dumps(entries).encode("utf-16"))
    images = draw_grounded_images(find_protocol("legion-loki"), data)
    assert sorted(one.name for one in images.skipped) == sorted(damaged)


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


def book_of(tmp_path, *names):
    file = tmp_path / "names.jsonl"
    file.write_text("".join(json.dumps({"id": name, "text": name}) + "\n" for name in names))
    return read_grounded_answers(file)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        # of images with one file name, each has its own answer or none
        (["cats/x.png", "dogs/x.png"], ["cats/x.png", "dogs/x.png"]),
        (["cats/x.png"], ["cats/x.png", None]),
        (["/data/LOKI/dogs/x.png", "x.png"], [None, "/data/LOKI/dogs/x.png"]),
        (["x.png"], [None, None]),
        (["birds/x.png"], [None, None]),
    ],
)
def test_images_that_share_a_file_name_keep_their_own_answers(tmp_path, names, found):
    book = book_of(tmp_path, *names)
    items = [GroundedItem(f"{folder}/x.png", "x.png", (1, 1), is_only=False) for folder in ("cats", "dogs")]
    answers = [book.find(item, "none") for item in items]
    assert [answer and answer.text for answer in answers] == found


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["x.png"], "x.png"),
        (["elsewhere/x.png"], "elsewhere/x.png"),
        (["7"], "7"),
        (["7", "elsewhere/x.png"], "7"),
        (["one/x.png", "other/x.png"], None),
        (["y.png"], None),
    ],
)
def test_a_file_name_is_enough_where_it_is_the_only_one(tmp_path, names, found):
    answer = book_of(tmp_path, *names).find(GroundedItem("7", "x.png", (1, 1)), "none")
    assert (answer and answer.text) == found


def test_file_names_that_several_images_have_are_known(tmp_path):
    data = write_loki(tmp_path)
    (tmp_path / "media_data/image/more").mkdir()
    file = tmp_path / "data_json/image/open_ended_vqa.json"
    entries = json.loads(file.read_bytes().decode("utf-16"))
    entries.append({**entries[0], "image_path": "media_data/image/more/im0.png"})
    file.write_bytes(json.dumps(entries).encode("utf-16"))
    (tmp_path / "media_data/image/more/im0.png").write_bytes((tmp_path / "media_data/image/im1.png").read_bytes())
    items = draw_grounded_images(find_protocol("legion-loki"), data).items
    assert {item.file_name: item.is_only for item in items} == {"im0.png": False, "im1.png": True, "im2.png": True}
    assert sum(item.file_name == "im0.png" for item in items) == 2
