"""From pairs to a corpus: rows, masks, rejects, resume after a kill, several processes, a real Ray, the command."""

import json
import os
import signal
import struct
import subprocess
import sys
import tarfile
import time
import zlib

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from forgescope.cli import app
from forgescope.cli.annotate import read_pair_image
from forgescope.construction.promptforge.annotator import AnnotationSettings, Annotator
from forgescope.construction.promptforge.corpus_folder import CorpusFolder
from forgescope.construction.promptforge.engines import AnnotationJob, batches, run_local, run_ray
from forgescope.construction.promptforge.pairs import read_pairs
from forgescope.datasets_scripts.features import promptforge_split
from forgescope.datasets_scripts.load import load_corpus

from .conftest import EDITS, SIZE

CLASSICAL = AnnotationSettings(backbone="classical")
REASONS = {"unrelated": "inlier ratio too low", "flat": "too few keypoints", "identical": "nothing was edited"}


def annotate(table, out, settings=CLASSICAL, run=run_local, **job):
    folder = CorpusFolder(out, settings)
    pairs = [pair for pair in read_pairs(table) if pair.id not in folder.done]
    return folder.write(run(pairs, AnnotationJob(settings, out, read_pair_image, **job)), len(pairs))


def rows_of(out):
    rows = {}
    for split in ("train", "test"):
        file = out / split / "metadata.jsonl"
        if file.is_file():
            rows |= {row["id"]: (split, row) for row in map(json.loads, file.read_text().splitlines())}
    return rows


def rejects_of(out):
    return {row["id"]: row for row in map(json.loads, (out / "rejects.jsonl").read_text().splitlines())}


def test_rows_masks_and_rejects(pair_table, tmp_path):
    out = tmp_path / "out"
    result = annotate(pair_table, out)
    assert (result.annotated, result.made) == (3, 7)
    rows, rejects = rows_of(out), rejects_of(out)
    assert set(rows) == set(EDITS)
    assert set(rejects) == {*REASONS, "broken"}
    assert rejects["identical"]["reason"] == REASONS["identical"]
    assert rejects["identical"]["inlier_ratio"] == 1.0
    assert rejects["flat"]["num_keypoints"][0] == 0
    assert rejects["broken"]["reason"] == "image cannot be read"
    assert "text.png" in rejects["broken"]["detail"]
    for name, (x, y, radius) in EDITS.items():
        split, row = rows[name]
        assert split == promptforge_split(name)
        assert row["affine"] == [1, 0, 0, 0, 1, 0]
        assert row["crop"] == [0, 0, SIZE[1], SIZE[0]]
        assert row["instruction"] == f"add a ball, {name}"
        mask = np.asarray(Image.open(out / split / row["mask_file_name"]))
        assert mask.shape == (128, 128)
        assert set(np.unique(mask)) == {0, 255}
        rows_, columns = np.mgrid[:128, :128]
        truth = np.hypot((columns + 0.5) * SIZE[1] / 128 - x, (rows_ + 0.5) * SIZE[0] / 128 - y) < radius
        overlap = ((mask > 0) & truth).sum() / ((mask > 0) | truth).sum()
        assert overlap > 0.6, name  # 0.69 for the smallest, four cells in radius
        # nothing moved: the very bytes of the files that were given
        assert (out / split / row["file_name"]).read_bytes() == (pair_table.parent / f"{name}_e.png").read_bytes()


def test_the_corpus_reads_what_was_written(pair_table, tmp_path):
    annotate(pair_table, tmp_path / "out")
    corpus = load_corpus("promptforge", tmp_path / "out", cache_dir=tmp_path / "cache")
    rows = {row["id"]: row for split in corpus.values() for row in split}
    assert set(rows) == set(EDITS)
    assert rows["b"]["image"].size == rows["b"]["original"].size == (SIZE[1], SIZE[0])
    assert np.unique(np.asarray(rows["b"]["mask"])).tolist() == [0, 1]
    assert rows["b"]["num_matches"] > 10


def test_full_size_masks(pair_table, tmp_path):
    annotate(pair_table, tmp_path / "out", AnnotationSettings(backbone="classical", full_size_masks=True))
    split, row = rows_of(tmp_path / "out")["b"]
    assert Image.open(tmp_path / "out" / split / row["full_mask_file_name"]).size == (SIZE[1], SIZE[0])


def test_two_processes_equal_one(pair_table, tmp_path):
    annotate(pair_table, tmp_path / "one")
    annotate(pair_table, tmp_path / "two", num_proc=2, batch_size=2)
    assert rows_of(tmp_path / "one") == rows_of(tmp_path / "two")
    assert rejects_of(tmp_path / "one") == rejects_of(tmp_path / "two")
    for mask in (tmp_path / "one").rglob("mask/*.png"):
        assert mask.read_bytes() == (tmp_path / "two" / mask.relative_to(tmp_path / "one")).read_bytes()


def test_a_second_run_makes_nothing_anew(pair_table, tmp_path):
    annotate(pair_table, tmp_path / "out")
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").rglob("*.png")}
    result = annotate(pair_table, tmp_path / "out")
    assert (result.annotated, result.made) == (3, 0)
    assert before == {file: file.stat().st_mtime_ns for file in (tmp_path / "out").rglob("*.png")}


def test_a_torn_line_is_annotated_anew(pair_table, tmp_path):
    out = tmp_path / "out"
    annotate(pair_table, out)
    expected, card = rows_of(out), (out / "README.md").read_text()
    assert f"| all | 3 |\n| train | {sum(split == 'train' for split, _ in expected.values())} |\n" in card
    assert "| rejected | 4 |\n" in card
    (out / "README.md").write_text(card.replace("| all | 3 |", "| all | 2 |"))
    split, row = expected["b"]
    file = out / split / "metadata.jsonl"
    file.write_text(
        "".join(line + "\n" for line in file.read_text().splitlines() if json.loads(line)["id"] != "b")
        + json.dumps(row)[:40]
    )
    result = annotate(pair_table, out)
    assert result.made == 1
    assert rows_of(out) == expected
    assert (out / "README.md").read_text() == card


def test_unusual_line_ends_within_an_instruction_stay_one_line(pair_table, tmp_path):
    pair_table.write_text(pair_table.read_text().replace("add a ball, a", "add\u2028a\u0085ball"))
    annotate(pair_table, tmp_path / "out")
    folder = CorpusFolder(tmp_path / "out", CLASSICAL)
    (row,) = [row for rows in folder.rows.values() for row in rows if row["id"] == "a"]
    assert row["instruction"] == "add\u2028a\u0085ball"
    table = tmp_path / "pairs.jsonl"
    table.write_text(
        json.dumps({"original": "1", "edited": "2", "instruction": "a\u2028b"}, ensure_ascii=False) + "\n"
    )
    assert read_pairs(table)[0].instruction == "a\u2028b"


def test_other_settings_are_refused(pair_table, tmp_path):
    annotate(pair_table, tmp_path / "out")
    with pytest.raises(ValueError, match=r"was begun with other settings \(full_size_masks\)"):
        CorpusFolder(tmp_path / "out", AnnotationSettings(backbone="classical", full_size_masks=True))


def test_a_folder_without_a_pair_takes_other_settings(tmp_path):
    CorpusFolder(tmp_path / "out", AnnotationSettings(backbone="timm/no_such_model"))
    CorpusFolder(tmp_path / "out", CLASSICAL)
    assert json.loads((tmp_path / "out" / "settings.json").read_text())["backbone"] == "classical"


def test_a_foreign_folder_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty and no annotated corpus"):
        CorpusFolder(tmp_path, CLASSICAL)


def test_bytes_are_annotated_like_files(pair_table, tmp_path):
    from dataclasses import replace

    pair = read_pairs(pair_table)[1]
    as_bytes = replace(pair, original=pair.original.read_bytes(), edited=pair.edited.read_bytes())
    outcomes = [
        Annotator(CLASSICAL, tmp_path / name, read_pair_image)([item])[0].row
        for name, item in (("file", pair), ("bytes", as_bytes))
    ]
    assert outcomes[0] == outcomes[1]
    assert outcomes[0]["id"] == "b"


def test_a_moved_original_is_warped(pair_table, tmp_path):
    import cv2

    folder = pair_table.parent
    affine = np.array([[1.1, 0, -12.0], [0, 1.1, -9.0]])
    edited = np.asarray(Image.open(folder / "b_e.png"))
    moved = cv2.warpAffine(edited, affine, (SIZE[1], SIZE[0]), borderMode=cv2.BORDER_REFLECT)
    Image.fromarray(moved).save(folder / "b_e.png")
    annotate(pair_table, tmp_path / "out")
    split, row = rows_of(tmp_path / "out")["b"]
    np.testing.assert_allclose(np.array(row["affine"]).reshape(2, 3), affine, atol=0.3)
    left, top, right, bottom = row["crop"]
    original, crop = (
        np.asarray(Image.open(tmp_path / "out" / split / row[key])) for key in ("original_file_name", "file_name")
    )
    assert original.shape == crop.shape == (bottom - top, right - left, 3)
    np.testing.assert_array_equal(crop, moved[top:bottom, left:right])


def test_a_bomb_among_bytes_is_one_clear_error():
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")
    with pytest.raises(ValueError, match="cannot be decoded: Image size"):
        read_pair_image(bomb)
    with pytest.raises(OSError, match="cannot identify image file"):
        read_pair_image(b"no image")


def test_batches():
    assert [len(batch) for batch in batches(iter([None] * 7), 3)] == [3, 3, 1]


@pytest.mark.parametrize("job", [{"num_proc": 0}, {"batch_size": 0}])
def test_wrong_numbers(tmp_path, job):
    with pytest.raises(ValueError, match="must be at least 1"):
        AnnotationJob(CLASSICAL, tmp_path, read_pair_image, **job)


def command(*arguments):
    return [sys.executable, "-m", "forgescope", "annotate", *map(str, arguments)]


def test_command_line(pair_table, tmp_path):
    out = tmp_path / "out"
    arguments = (pair_table, "--out", out, "--backbone", "classical")
    run = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
    assert run.returncode == 1  # one file could not be read
    assert f"3 pairs with masks in {out} (7 pairs looked at now)" in run.stdout
    assert "rejected: 1 x nothing was edited" in run.stdout
    assert rows_of(out)["a"][1]["task"] == "object_addition"
    statistics = json.loads((out / "statistics.json").read_text())
    assert statistics["tasks"] == {"object_addition": 3}
    assert sum(statistics["splits"].values()) == 3
    assert set(statistics["seconds_a_pair"]) == {"read", "align", "warp", "similarity", "write"}
    wrong = subprocess.run(command(*arguments, "--engine", "spark"), capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert wrong.stderr == "error: --engine must be one of local, ray, got spark\n"


def test_review_and_tally_are_verbs_beside_pairs(pair_table, tmp_path):
    annotate(pair_table, tmp_path / "out")
    run = CliRunner().invoke(app, ["annotate", "review", str(tmp_path / "out")])
    assert run.exit_code == 0, run.output
    assert (tmp_path / "out" / "review" / "index.html").is_file()
    assert "3 pairs" in run.output
    help_text = CliRunner().invoke(app, ["annotate", "--help"]).output
    assert "review" in help_text
    assert "tally" in help_text


def test_global_edits_are_left_out(pair_table, tmp_path):
    text = pair_table.read_text().replace("subject_addition", "style_change", 1)
    pair_table.write_text(text)
    out = tmp_path / "out"
    run = CliRunner().invoke(app, ["annotate", str(pair_table), "--out", str(out), "--backbone", "classical"])
    assert "left out: 1 pairs whose task is no local edit" in run.stderr
    assert set(rows_of(out)) == {"b", "c"}


def test_x2edit_tars(pair_table, tmp_path):
    import io

    tars = tmp_path / "X2Edit_data" / "kontext" / "0"
    tars.mkdir(parents=True)
    with tarfile.open(tars / "00000.tar", "w") as tar:
        for number, name in enumerate(EDITS):
            record = {"instruction": f"add a ball {name}", "task": "Subject Addition", "model": "kontext"}
            for suffix, data in (
                (".1.0.jpg", (pair_table.parent / f"{name}_o.png").read_bytes()),
                (".2.jpg", (pair_table.parent / f"{name}_e.png").read_bytes()),
                (".json", json.dumps(record).encode()),
                (".txt", record["instruction"].encode()),
            ):
                member = tarfile.TarInfo(f"{number:09d}{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    out = tmp_path / "out"
    arguments = [str(tmp_path / "X2Edit_data"), "--format", "x2edit", "--out", str(out), "--backbone", "classical"]
    run = CliRunner().invoke(app, ["annotate", *arguments])
    assert run.exit_code == 0, run.output
    rows = [row for _, row in rows_of(out).values()]
    assert len(rows) == 3
    assert {row["source"] for row in rows} == {"x2edit-kontext"}
    assert {row["task"] for row in rows} == {"object_addition"}


def test_killed_and_started_again(pair_table, tmp_path):
    """Nothing lost, nothing twice."""
    lines = pair_table.read_text().splitlines()
    good = lines[1:4]
    many = [line.replace(f",{name},", f",{name}{copy},") for copy in range(8) for line, name in zip(good, EDITS)]  # noqa: B905
    pair_table.write_text("\n".join([lines[0], *many]) + "\n")
    whole, out = tmp_path / "whole", tmp_path / "out"
    annotate(pair_table, whole)
    arguments = command(pair_table, "--out", out, "--backbone", "classical", "--batch-size", "1")
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(rows_of(out)) < 3 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    begun = len(rows_of(out))
    assert begun >= 3
    run = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    found, expected = rows_of(out), rows_of(whole)
    assert found.keys() == expected.keys()
    for name, (split, row) in expected.items():
        assert found[name] == (split, row | {"task": "object_addition"})
    text = "".join(
        (out / split / "metadata.jsonl").read_text() for split in ("train", "test") if (out / split).is_dir()
    )
    assert len(text.splitlines()) == len(many)


@pytest.mark.skipif(sys.platform == "win32", reason="Ray runs on Linux and macOS here")
def test_ray_equals_local(pair_table, tmp_path):
    ray = pytest.importorskip("ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    annotate(pair_table, tmp_path / "local")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        result = annotate(pair_table, tmp_path / "ray", run=run_ray, batch_size=3)
    finally:
        ray.shutdown()
    assert (result.annotated, result.made) == (3, 7)
    assert rows_of(tmp_path / "ray") == rows_of(tmp_path / "local")
    assert rejects_of(tmp_path / "ray") == rejects_of(tmp_path / "local")


def test_pico_banana_with_a_broken_image(pair_table, tmp_path):
    source = tmp_path / "pico"
    (source / "images" / "positive-edit").mkdir(parents=True)
    records = []
    for number, name in enumerate(EDITS):
        for role, file in (("o", f"{name}_original.png"), ("e", f"images/positive-edit/{number}.png")):
            (source / file).write_bytes((pair_table.parent / f"{name}_{role}.png").read_bytes())
        record = {
            "open_image_input_url": f"https://farm1.example/{name}_original.png",
            "local_input_image": f"{name}_original.png",
            "text": f"add a ball {name}",
            "output_image": f"images/positive-edit/{number}.png",
            "edit_type": "Add a new object to the scene",
        }
        records.append(record)
    broken = source / "images" / "positive-edit" / "2.png"
    broken.write_bytes(broken.read_bytes()[:400])  # the header is whole, the pixels are not
    (source / "sft.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    out = tmp_path / "out"
    arguments = [str(source), "--format", "pico_banana", "--out", str(out), "--backbone", "classical"]
    run = CliRunner().invoke(app, ["annotate", *arguments])
    assert run.exit_code == 1, run.output
    rows = [row for _, row in rows_of(out).values()]
    assert sorted(row["instruction"] for row in rows) == ["add a ball a", "add a ball b"]
    assert {row["task"] for row in rows} == {"object_addition"}
    (reject,) = rejects_of(out).values()
    assert reject["reason"] == "image cannot be read"
