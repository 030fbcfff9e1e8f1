import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from forgescope.cli.construct import read_photo
from forgescope.construction.manipulation import TASKS, ManipulationConfig
from forgescope.construction.manipulation_folder import FolderJob, find_photos, make_item, write_manipulations

CONFIG = ManipulationConfig(max_side=160)


def job_for(photo_folder, out, config=CONFIG, seed=3):
    return FolderJob(find_photos([photo_folder]), out, seed, config, read_photo)


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def command_line(photo_folder, out, count, num_proc) -> list[str]:
    """The installed command, with the settings of `job_for`."""
    program = str(Path(sys.executable).with_name("forgescope"))
    options = {"out": out, "count": count, "seed": 3, "max-side": CONFIG.max_side, "num-proc": num_proc}
    return [program, "construct", "manipulations", str(photo_folder), *(f"--{k}={v}" for k, v in options.items())]


@pytest.fixture(scope="module")
def made(photo_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("made")
    return out, write_manipulations(job_for(photo_folder, out), 12)


def test_rows_are_sorted_and_name_every_file(made):
    out, result = made
    rows = [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]
    assert rows == result.rows
    assert [row["index"] for row in rows] == list(range(12))
    assert result.made == 12
    assert result.failed_photos == {}
    for row in rows:
        assert row["task"] in TASKS
        assert row["label"] == int(row["task"].startswith("inpainting"))
        assert (row["donor"] is not None) == (row["task"] == "splicing")
        assert row["donor"] != row["photo"]
        assert json.loads(row["parameters"])["format"] in ("png", "jpeg")
    files = {path for row in rows for key, path in row.items() if key.endswith("file_name")}
    assert files | {"metadata.jsonl", "settings.json", "README.md"} == set(digest(out))


def test_imagefolder_reads_the_masks_back(made, tmp_path):
    out, result = made
    dataset = datasets.load_dataset("imagefolder", data_dir=str(out), cache_dir=str(tmp_path), split="train")
    assert len(dataset) == 12
    by_id = {row["id"]: row for row in result.rows}
    for example in dataset:
        row = by_id[example["id"]]
        mask = np.asarray(example["mask"])
        assert (np.asarray(example["image"]) == np.asarray(Image.open(out / row["file_name"]))).all()
        assert (mask == np.asarray(Image.open(out / row["mask_file_name"]))).all()
        assert set(np.unique(mask)) <= {0, 255}
        assert mask.shape == example["image"].size[::-1]
        assert mask.any() == (example["task"] != "authentic")
        assert np.asarray(example["ai_mask"]).all() == (example["task"] == "inpainting")


def test_bytes_do_not_depend_on_processes(made, photo_folder, tmp_path):
    subprocess.run(command_line(photo_folder, tmp_path, 12, 2), check=True)
    assert digest(tmp_path) == digest(made[0])


def test_items_do_not_depend_on_order(made, photo_folder, tmp_path):
    job = job_for(photo_folder, tmp_path)
    for index in (7, 2, 11):
        assert make_item(job, index)[1] == made[1].rows[index]
    written = digest(tmp_path)
    assert written.items() <= digest(made[0]).items()


def test_a_folder_among_the_photographs_is_gone_on_with(made, photo_folder, tmp_path):
    photos = shutil.copytree(photo_folder, tmp_path / "photos")
    out = photos / "forged"
    for count in (2, 3):
        found = find_photos([photos], out)
        result = write_manipulations(FolderJob(found, out, 3, CONFIG, read_photo), count)
        assert {photo.name for photo in found} == {photo.name for photo in find_photos([photo_folder])}
    assert (len(result.rows), result.made) == (3, 1)
    with pytest.raises(ValueError, match="photos would be filled with what is made of it: choose another folder"):
        find_photos([photos], tmp_path / "forged" / ".." / "photos")
    assert find_photos([photos], tmp_path)


def test_growing_a_folder_keeps_what_is_there(made, photo_folder, tmp_path):
    job = job_for(photo_folder, tmp_path)
    write_manipulations(job, 5)
    image = tmp_path / "images" / next((tmp_path / "images").iterdir()).name
    before = image.stat().st_mtime_ns
    grown = write_manipulations(job, 12)
    assert grown.made == 7
    assert image.stat().st_mtime_ns == before
    assert digest(tmp_path) == digest(made[0])


def test_a_lost_file_and_a_cut_line_are_made_again(made, photo_folder, tmp_path):
    job = job_for(photo_folder, tmp_path)
    result = write_manipulations(job, 12)
    (tmp_path / result.rows[4]["mask_file_name"]).unlink()
    metadata = tmp_path / "metadata.jsonl"
    (tmp_path / ".metadata.partial.jsonl").write_text(metadata.read_text()[:-40])
    metadata.unlink()
    again = write_manipulations(job, 12)
    assert again.made == 2
    assert digest(tmp_path) == digest(made[0])


def test_a_killed_run_is_finished_with_the_same_bytes(made, photo_folder, tmp_path):
    child = subprocess.Popen(command_line(photo_folder, tmp_path, 100_000, 1))
    log = tmp_path / ".metadata.partial.jsonl"
    deadline = time.monotonic() + 120
    while not (log.exists() and log.read_text().count("\n") >= 4):
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    kept = log.read_text().count("\n")
    result = write_manipulations(job_for(photo_folder, tmp_path), 12)
    assert result.made <= 12 - min(kept, 12) + 1
    expected = digest(made[0])
    assert {name: value for name, value in digest(tmp_path).items() if name in expected and "/" in name} == {
        name: value for name, value in expected.items() if "/" in name
    }
    first_rows = (tmp_path / "metadata.jsonl").read_text().splitlines()[:12]
    assert first_rows == (made[0] / "metadata.jsonl").read_text().splitlines()


def test_bad_photographs_are_replaced_and_reported(photo_folder, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in find_photos([photo_folder]):
        (photos / path.name).write_bytes(path.read_bytes())
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "text.jpg").write_text("no photograph")
    (photos / "cut.jpg").write_bytes((photos / "photo1.jpg").read_bytes()[:2000])
    Image.new("RGB", (1, 1)).save(photos / "pixel.png")
    result = write_manipulations(job_for(photos, tmp_path / "out"), 12)
    assert [Path(path).name for path in result.failed_photos] == ["cut.jpg", "empty.jpg", "pixel.png", "text.jpg"]
    assert "truncated" in result.failed_photos[str(photos / "cut.jpg")]
    assert "1x1 pixels is too small" in result.failed_photos[str(photos / "pixel.png")]
    assert len(result.rows) == 12
    assert result.missing == []


def test_file_names_may_be_any_bytes(photo_folder, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    name = os.fsdecode(b"caf\xe9.jpg")
    (photos / name).write_bytes((photo_folder / "photo0.jpg").read_bytes())
    result = write_manipulations(
        job_for(photos, tmp_path / "out", dataclasses.replace(CONFIG).with_tasks(["copy_move"])), 1
    )
    assert ([row["photo"] for row in result.rows], result.failed_photos) == ([name], {})


def test_only_bad_photographs_leave_items_missing(tmp_path):
    (tmp_path / "text.jpg").write_text("no photograph")
    result = write_manipulations(job_for(tmp_path / "text.jpg", tmp_path / "out"), 2)
    assert result.missing == [0, 1]
    assert result.rows == []


def test_every_photograph_is_host_equally_often(made):
    hosts = [row["photo"] for row in made[1].rows]
    assert max(hosts.count(host) for host in hosts) - min(hosts.count(host) for host in set(hosts)) <= 1
    assert len(set(hosts)) == 5


def test_other_settings_are_refused(photo_folder, tmp_path):
    write_manipulations(job_for(photo_folder, tmp_path), 1)
    with pytest.raises(ValueError, match="was begun with other config, seed"):
        write_manipulations(job_for(photo_folder, tmp_path, dataclasses.replace(CONFIG, copies=1), seed=4), 1)


def test_a_folder_of_another_origin_is_left_alone(photo_folder, tmp_path):
    (tmp_path / "metadata.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match="holds a dataset of another origin"):
        write_manipulations(job_for(photo_folder, tmp_path), 1)
    assert (tmp_path / "metadata.jsonl").read_text() == "{}\n"


def test_wrong_calls_are_refused(photo_folder, tmp_path):
    with pytest.raises(ValueError, match="at least 1, got 0 and 1"):
        write_manipulations(job_for(photo_folder, tmp_path), 0)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        find_photos([tmp_path / "nowhere"])
    with pytest.raises(ValueError, match="no photographs in"):
        find_photos([tmp_path])
