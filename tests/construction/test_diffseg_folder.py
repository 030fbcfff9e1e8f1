import dataclasses
import json
from collections import Counter

import datasets
import numpy as np
import pytest
from chat_server import ChatServer, Status
from diffseg_tools import answer_diffseg, edit_tools
from PIL import Image

from forgescope.construction.diffseg.edit_folder import EditJob, write_edits
from forgescope.construction.diffseg.edit_plots import coloured_mask, editor_colour
from forgescope.construction.diffseg.editing import Tools, square_photo
from forgescope.construction.diffseg.editors import Editor
from forgescope.construction.diffseg.regions import Region
from forgescope.construction.diffseg.settings import EDIT_TYPES, EditSettings
from forgescope.datasets_scripts.load import load_corpus

SIZE = 64
SETTINGS = EditSettings(image_size=SIZE, min_area=0.02, max_area=0.9, save_turns=True)


@pytest.fixture(autouse=True)
def online(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture(scope="module")
def corpus(photographs, tmp_path_factory):
    """A folder made of twelve photographs, half of which count as generated, and the result of its run."""
    out = tmp_path_factory.mktemp("corpus") / "out"
    with pytest.MonkeyPatch.context() as patch, ChatServer(answer_diffseg) as server:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        bases = ["real", "ai"] * 6
        return out, write_edits(EditJob(photographs, bases, out, edit_tools(server.url), SETTINGS))


def lines(file) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_every_photograph_is_a_row_or_a_reject(corpus, photographs):
    out, result = corpus
    assert (result.made, result.failed, result.stopped) == (12, {}, None)
    assert sorted(row["index"] for row in (*result.rows, *result.rejects)) == list(range(12))
    assert lines(out / "metadata.jsonl") == result.rows
    assert lines(out / "rejects.jsonl") == result.rejects
    assert [row["photo"] for row in result.rows] == [photographs[row["index"]].name for row in result.rows]
    assert {row["base"] for row in result.rows} <= {"real", "ai"}
    assert all(row["base"] == ("real", "ai")[row["index"] % 2] for row in (*result.rows, *result.rejects))
    assert {row["reason"] for row in result.rejects} == {
        "no object was named",
        "reply could not be used",
        "quality is too low",
    }


def test_masks_hold_the_ids_of_the_record(corpus):
    out, result = corpus
    assert result.rows
    for row in result.rows:
        ids = np.asarray(Image.open(out / row["mask_file_name"]))
        expected = np.zeros((SIZE, SIZE), dtype=int)
        for turn in row["turns"]:
            assert SETTINGS.id2editor[turn["editor_id"] - 1] == turn["editor"]
            region = np.asarray(Image.open(out / turn["mask_file"]))
            assert set(np.unique(region)) == {0, 255}
            assert turn["area"] == pytest.approx((region > 0).mean(), abs=1e-6)
            expected[region > 0] = turn["editor_id"]
        assert np.array_equal(ids, expected)
        for number, turn in enumerate(row["turns"], start=1):
            region = np.asarray(Image.open(out / turn["mask_file"])) > 0
            later = [np.asarray(Image.open(out / other["mask_file"])) > 0 for other in row["turns"][number:]]
            visible = region & ~np.any([np.zeros_like(region), *later], axis=0)
            assert turn["visible"] == pytest.approx(visible.sum() / region.sum(), abs=1e-6)
            assert turn["turn"] == number
            assert turn["edit_type"] in EDIT_TYPES
            assert (turn["removal_prompt"] is None) == (turn["edit_type"] != "addition")
            assert (turn["removal_seed"] is None) == (turn["edit_type"] != "addition")


def test_pictures_of_the_turns(corpus):
    out, result = corpus
    for row in result.rows:
        before = np.asarray(Image.open(out / f"turns/{row['id']}-0-image.png"))
        for turn in row["turns"]:
            after = np.asarray(Image.open(out / turn["image_file"]))
            region = np.asarray(Image.open(out / turn["mask_file"])) > 0
            assert np.array_equal(before[~region], after[~region])
            before = after
        assert np.array_equal(before, np.asarray(Image.open(out / row["file_name"])))


def test_statistics_are_the_counts_of_the_rows(corpus):
    out, result = corpus
    statistics = json.loads((out / "statistics.json").read_text())
    assert statistics == result.statistics
    turns = [turn for row in result.rows for turn in row["turns"]]
    assert statistics["images"] == len(result.rows)
    assert statistics["rejected"] == dict(sorted(Counter(row["reason"] for row in result.rejects).items()))
    assert statistics["editors"] == dict(sorted(Counter(turn["editor"] for turn in turns).items()))
    assert sum(statistics["edit_types"].values()) == len(turns)
    assert statistics["turns"] == {
        str(count): number for count, number in sorted(Counter(len(row["turns"]) for row in result.rows).items())
    }
    assert sum(statistics["areas"].values()) == len(turns)
    assert sum(statistics["before_quality"]["editors"].values()) > len(turns)
    calls = sum(row["vision_language"]["calls"] for row in (*result.rows, *result.rejects))
    assert statistics["vision_language"]["calls"] == calls > 12 * 3
    assert statistics["vision_language"]["prompt_tokens"] > 50 * calls


def test_rejected_images_are_not_written(corpus):
    out, result = corpus
    low = [row for row in result.rejects if row["reason"] == "quality is too low"]
    assert all(row["turns"] and row["quality"] < 3 and row["detail"] == row["quality_reason"] for row in low)
    assert not any(key.endswith("_file") for row in low for turn in row["turns"] for key in turn)
    kept = {row["id"] for row in result.rows}
    assert {path.name[:8] for path in out.glob("*.png")} == kept
    assert {path.name[:8] for path in (out / "turns").iterdir()} == kept


def test_the_folder_is_read_as_the_corpus(corpus, tmp_path):
    out, result = corpus
    rows = load_corpus("diffseg30k", out, cache_dir=tmp_path)
    rows = [row for split in rows.values() for row in split]
    assert {row["id"] for row in rows} == {row["id"] for row in result.rows}
    by_id = {row["id"]: row for row in result.rows}
    for row in rows:
        visible = {turn["editor"] for turn in by_id[row["id"]]["turns"] if turn["visible"]}
        assert set(row["edit_models"]) == visible
        assert np.array_equal(np.asarray(row["mask"]), np.asarray(Image.open(out / f"{row['id']}.mask.png")))


def test_the_folder_is_an_imagefolder(corpus, tmp_path):
    out, result = corpus
    dataset = datasets.load_dataset("imagefolder", data_dir=str(out), split="train", cache_dir=str(tmp_path))
    assert dataset.num_rows == len(result.rows)
    row = dataset[0]
    assert row["image"].size == (SIZE, SIZE)
    assert row["id"] == result.rows[0]["id"]
    assert [turn["editor"] for turn in row["turns"]] == [turn["editor"] for turn in result.rows[0]["turns"]]
    assert row["turns"][0]["prompt"] == result.rows[0]["turns"][0]["prompt"]


def test_colours_are_those_of_figure_6():
    settings = EditSettings(id2editor=("sd2", "mine", "kandinsky2.2"))
    assert [editor_colour(name, settings) for name in ("sd2", "kandinsky2.2")] == ["crimson", "red"]
    colours = coloured_mask(np.array([[0, 1], [2, 3]]), settings)
    assert colours[0].tolist() == [[0, 0, 0], [220, 20, 60]]
    assert colours[1, 1].tolist() == [255, 0, 0]
    assert len({tuple(colour) for colour in colours.reshape(-1, 3).tolist()}) == 4


def test_an_item_does_not_depend_on_what_was_made_before(corpus, photographs, tmp_path, digest):
    out, _ = corpus
    with ChatServer(answer_diffseg) as server:
        job = EditJob(photographs, ["real", "ai"] * 6, tmp_path / "out", edit_tools(server.url), SETTINGS)
        write_edits(job)
        # as if the run had been killed with only some items done, and their files lost in part
        for name, keep in (("metadata.jsonl", 2), ("rejects.jsonl", 1)):
            file = tmp_path / "out" / name
            rows = file.read_bytes().splitlines(keepends=True)
            file.write_bytes(b"".join(rows[::-1][:keep]) + rows[0][:40])
        (tmp_path / "out" / f"{lines(out / 'metadata.jsonl')[-1]['id']}.mask.png").unlink()
        result = write_edits(job)
    assert result.made == 12 - 2
    assert digest(tmp_path / "out") == digest(out)


def fixed(images, prompt):
    if '"objects"' in prompt:
        return '{"objects": [{"name": "dog", "person": false}]}'
    return '{"prompt": "a wall", "object": "cat", "score": 5, "reason": "so"}'


def find_square(image, things, most):
    mask = np.zeros(image.size[::-1], dtype=bool)
    mask[:32, :32] = True
    return [Region(things[0], (0, 0, 32, 32), 0.9, mask)]


def blue(image, mask, prompt, seed):
    return Image.new("RGB", image.size, (0, 0, 255))


SIMPLE = Tools(fixed, find_square, {"sd2": Editor(blue)})


def test_overviews_show_every_turn_and_rejected_images_too(photo_folder, tmp_path):
    def name_nothing(images, prompt):
        return (
            '{"objects": []}'
            if '"objects"' in prompt and images[0].getpixel((0, 0)) == corner
            else fixed(images, prompt)
        )

    def find(image, things, most):
        other = find_square(image, things, most)[0]
        return [*find_square(image, things, most), dataclasses.replace(other, mask=other.mask[::-1])]

    photos = sorted(photo_folder.iterdir())[:3]
    corner = square_photo(Image.open(photos[0]), SIZE).getpixel((0, 0))
    tools = dataclasses.replace(SIMPLE, vision_language=name_nothing, find_regions=find)
    settings = EditSettings(image_size=SIZE, turn_weights=(0, 1))
    result = write_edits(EditJob(photos, ["real"] * 3, tmp_path / "out", tools, settings, plots=True))
    assert [row["index"] for row in result.rejects] == [0]
    for name, panels in (("00000000", 2), ("00000001", 4), ("00000002", 4)):
        with Image.open(tmp_path / "out" / "overview" / f"{name}.png") as picture:
            assert picture.size == (panels * 320, 450)
            colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20)}
        assert ((220, 20, 60) in colours) == (panels == 4)  # crimson, of Stable Diffusion 2


def test_bad_photographs_and_failing_editors_are_named_and_tried_again(photo_folder, tmp_path):
    photos = sorted(photo_folder.iterdir())[:3]
    bad = tmp_path / "bad.jpg"
    bad.write_text("no photograph")
    broken = []

    def sometimes(image, mask, prompt, seed):
        if not broken:
            broken.append(1)
            raise RuntimeError("out of memory")
        return blue(image, mask, prompt, seed)

    tools = dataclasses.replace(SIMPLE, editors={"sd2": Editor(sometimes)})
    job = EditJob([*photos, bad], ["real"] * 4, tmp_path / "out", tools, EditSettings(image_size=SIZE))
    result = write_edits(job)
    assert [row["index"] for row in result.rows] == [1, 2]
    assert result.failed == {
        str(photos[0]): f"{photos[0]}: sd2 failed (RuntimeError: out of memory)",
        str(bad): f"{bad} is not an image",
    }
    assert result.statistics["failed"] == 2
    again = write_edits(job)
    assert [row["index"] for row in again.rows] == [0, 1, 2]
    assert (again.made, list(again.failed)) == (2, [str(bad)])
    assert [row["index"] for row in lines(tmp_path / "out" / "metadata.jsonl")] == [0, 1, 2]
    assert again.statistics["vision_language"]["calls"] == 0


def test_a_row_that_was_made_anew_stands_there_once(photo_folder, tmp_path):
    job = EditJob(
        sorted(photo_folder.iterdir()), ["real"] * 5, tmp_path / "out", SIMPLE, EditSettings(image_size=SIZE)
    )
    write_edits(job)
    file = tmp_path / "out" / "metadata.jsonl"
    before = file.read_bytes()
    file.write_bytes(before + before.splitlines(keepends=True)[2])  # as a run leaves it that was killed then
    assert write_edits(job).made == 0
    assert file.read_bytes() == before


def test_a_folder_that_cannot_be_written_ends_the_run(photo_folder, tmp_path):
    job = EditJob(
        sorted(photo_folder.iterdir()), ["real"] * 5, tmp_path / "out", SIMPLE, EditSettings(image_size=SIZE)
    )
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "turns").write_text("in the way")
    with pytest.raises(OSError, match="turns"):
        write_edits(job)


def test_a_server_that_is_gone_ends_the_run_and_loses_nothing(photo_folder, tmp_path):
    photos = sorted(photo_folder.iterdir())

    def answer(request):
        return fixed(request.images, request.prompt) if len(server.bodies) <= 12 else Status(500)

    with ChatServer(answer) as server:
        job = EditJob(
            photos * 4,
            ["real"] * 20,
            tmp_path / "out",
            edit_tools(server.url, retries=0),
            EditSettings(image_size=SIZE),
        )
        job = dataclasses.replace(job, tools=dataclasses.replace(job.tools, find_regions=find_square))
        result = write_edits(job)
        done = len(result.rows)
        assert 2 <= done <= 4
        assert "answers 500" in result.stopped
        # one item was cut off, and three in a row found no server at all, of which the last ended the run
        assert result.made < 20
        assert len(server.bodies) <= 12 + 3
    with ChatServer(lambda request: fixed(request.images, request.prompt)) as server:
        tools = dataclasses.replace(edit_tools(server.url), find_regions=find_square)
        again = write_edits(dataclasses.replace(job, tools=tools))
    assert len(again.rows) == 20
    assert again.made == 20 - done
    assert again.stopped is None


def test_what_cannot_begin(photo_folder, tmp_path):
    photos = sorted(photo_folder.iterdir())
    job = EditJob(photos, ["real"] * 5, tmp_path / "out", SIMPLE, EditSettings(image_size=SIZE))
    write_edits(job)
    for change in (
        {"settings": EditSettings(image_size=32)},
        {"description": {"vlm": "other"}},
        {"photos": photos[:4], "bases": ["real"] * 4},
        {"bases": ["ai"] * 5},
    ):
        with pytest.raises(ValueError, match="was begun with other"):
            write_edits(dataclasses.replace(job, **change))
    with pytest.raises(ValueError, match="expected a base for each photograph, real or ai"):
        dataclasses.replace(job, bases=["real"] * 4 + ["fake"])
    with pytest.raises(ValueError, match="expected editors that id2editor names, got mine"):
        dataclasses.replace(job, tools=dataclasses.replace(SIMPLE, editors={"mine": Editor(blue)}))
    with pytest.raises(ValueError, match="expected editors that id2editor names, got none"):
        dataclasses.replace(job, tools=dataclasses.replace(SIMPLE, editors={}))


def test_editors_of_ones_own(photo_folder, tmp_path):
    settings = EditSettings(image_size=SIZE, id2editor=("telea", "navier-stokes"), turn_weights=(1,))
    tools = dataclasses.replace(SIMPLE, editors={"navier-stokes": Editor(blue)})
    result = write_edits(EditJob(sorted(photo_folder.iterdir()), ["real"] * 5, tmp_path / "out", tools, settings))
    for row in result.rows:
        assert set(np.unique(np.asarray(Image.open(tmp_path / "out" / row["mask_file_name"])))) == {0, 2}
    rows = load_corpus("diffseg30k", tmp_path / "out", id2editor=settings.id2editor, cache_dir=tmp_path / "cache")
    assert all(row["edit_models"] == ["navier-stokes"] for split in rows.values() for row in split)
