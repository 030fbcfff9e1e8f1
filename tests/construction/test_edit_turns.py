import csv
import json
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from forgescope.cli.data import app
from forgescope.construction.edit_turns import edit_sequences
from forgescope.construction.promptforge.pairs import Pair


@pytest.fixture
def files(tmp_path):
    """Photograph a, edited to b, then c; b also edited to d; e edited once to f."""
    for number, name in enumerate("abcdef"):
        Image.new("RGB", (64, 48), (40 * number, 90, 120)).save(tmp_path / f"{name}.png")
    return {name: tmp_path / f"{name}.png" for name in "abcdef"}


def chain(files, text):
    return [Pair(id=pair, original=files[pair[0]], edited=files[pair[1]], instruction="x") for pair in text.split()]


def names(sequences):
    return {one.name: [turn.id for turn in one.turns] for one in sequences}


def test_turns_are_chained_whatever_their_order(files):
    expected = {"bc": ["ab", "bc"], "bd": ["ab", "bd"], "ef": ["ef"]}
    assert names(edit_sequences(chain(files, "ab bc bd ef"))) == expected
    assert names(edit_sequences(chain(files, "ef bd bc ab"))) == expected


def test_an_image_made_twice_is_refused(files):
    with pytest.raises(ValueError, match=r"c\.png is the edited image of two pairs, ac and bc"):
        edit_sequences(chain(files, "ac bc"))


def test_a_circle_is_refused(files):
    with pytest.raises(ValueError, match="the edits of ab, ba lead back to their own original"):
        edit_sequences(chain(files, "ab ba ef"))


def write_table(tmp_path, rows):
    with (tmp_path / "pairs.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["original", "edited", "id", "instruction"])
        writer.writerows(rows)
    return tmp_path / "pairs.csv"


def run(*arguments):
    return CliRunner().invoke(app, ["turns", *map(str, arguments)])


def test_strips_with_the_masks_of_an_annotation(files, tmp_path):
    table = write_table(tmp_path, [["a.png", "b.png", "one", "add a dog"], ["b.png", "c.png", "two", "remove it"]])
    folder = tmp_path / "annotated" / "train"
    (folder / "mask").mkdir(parents=True)
    mask = np.zeros((32, 32), np.uint8)
    mask[8:20, 8:20] = 255
    Image.fromarray(mask).save(folder / "mask" / "two.png")
    row = {"id": "two", "mask_file_name": "mask/two.png", "crop": [2, 0, 64, 48]}
    (folder / "metadata.jsonl").write_text(json.dumps(row) + "\n")
    assert run(table, "--out", tmp_path / "plain").exit_code == 0
    result = run(table, "--out", tmp_path / "outlined", "--annotated", tmp_path / "annotated")
    assert result.exit_code == 0, result.output
    assert "two.png  2 turns" in result.output
    plain, outlined = (
        np.asarray(Image.open(tmp_path / kind / "two.png").convert("RGB")) for kind in ("plain", "outlined")
    )
    assert plain.shape == outlined.shape
    changed = np.argwhere((plain != outlined).any(axis=2))
    assert len(changed) > 0
    assert changed[:, 1].min() > plain.shape[1] * 2 / 3  # only the last of three panels has a mask


def test_a_broken_turn_is_named_and_the_others_are_drawn(files, tmp_path):
    files["c"].write_bytes(b"no image")
    rows = [["a.png", "b.png", "one", ""], ["b.png", "c.png", "two", ""], ["e.png", "f.png", "three", ""]]
    result = run(write_table(tmp_path, rows), "--out", tmp_path / "strips", "--single")
    assert result.exit_code == 1
    assert "skipped two:" in result.output
    assert sorted(path.name for path in (tmp_path / "strips").iterdir()) == ["three.png"]


def test_single_edits_alone_are_refused_without_the_option(files, tmp_path):
    result = run(write_table(tmp_path, [["a.png", "b.png", "one", ""]]), "--out", tmp_path / "strips")
    assert isinstance(result.exception, ValueError)
    assert "no image that was edited more than once: add --single" in str(result.exception)


def test_real_turns(data_dir, tmp_path):
    pairs = data_dir / "pairs"
    turns = [pairs / f"magicbrush_mt_band__turn{number}.png" for number in range(4)]
    rows = [[before, after, f"band-{k}", "edit"] for k, (before, after) in enumerate(pairwise(turns))]
    result = run(write_table(tmp_path, rows), "--out", tmp_path / "strips")
    assert result.exit_code == 0, result.output
    assert "band-2.png  3 turns" in result.output
