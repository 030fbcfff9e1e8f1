"""A collection made with a real feature network and a chat server: rows, counts, pictures, failures, stops."""

import dataclasses
import json
import shutil
from collections import Counter

import datasets
import numpy as np
import pytest
from chat_server import ChatServer, Status
from PIL import Image
from synthscars_tools import CRITERIA, TINY_NETWORK, answer_curation, save_tiny_weights

from forgescope.construction.synthscars import CurationJob, write_curation
from forgescope.construction.synthscars_clusters import cluster_features, draw_samples, equal_quotas
from forgescope.construction.synthscars_features import FeatureSettings, load_features
from forgescope.construction.synthscars_filter import CRITERIA as ORDER
from forgescope.construction.synthscars_plots import COLOURS, FRAME, LINE, MARGIN, TILE
from forgescope.construction.synthscars_settings import CurationSettings
from forgescope.construction.vision_language import ServerVisionLanguage

SETTINGS = CurationSettings(samples=11, clusters=3, seed=2)
SOURCES = ["first"] * 5 + ["second"] * 8
LABELS = ("Acceptable", "Rejected[Clarity]", "Rejected[Safety]", "Rejected[Realism]")
ACCEPT = json.dumps(dict.fromkeys(CRITERIA, True))


@pytest.fixture(autouse=True)
def online(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture(scope="module")
def extract(tmp_path_factory):
    weights = save_tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.pth")
    return load_features(FeatureSettings(TINY_NETWORK, str(weights), device="cpu"))


@pytest.fixture(scope="module")
def images(photographs, tmp_path_factory):
    """Twelve photographs and a file that is none."""
    folder = tmp_path_factory.mktemp("images")
    for number, photo in enumerate(photographs):
        shutil.copy(photo, folder / f"{number:02d}{photo.suffix.upper()}")
    (folder / "06-broken.png").write_text("no photograph")
    return sorted(folder.iterdir())


def ask(server) -> ServerVisionLanguage:
    return ServerVisionLanguage(server.url, "tiny", first_wait=0.0, timeout=60)


@pytest.fixture(scope="module")
def collection(images, extract, tmp_path_factory):
    """A folder made with two threads, and the result of its run."""
    out = tmp_path_factory.mktemp("collection") / "out"
    with pytest.MonkeyPatch.context() as patch, ChatServer(answer_curation) as server:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        job = CurationJob(images, SOURCES, out, extract, ask(server), SETTINGS, batch_size=4, workers=2, plots=True)
        return out, write_curation(job)


def lines(file) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_clusters_and_draw_are_those_of_the_features(collection, images):
    out, _ = collection
    batches = [np.load(file) for file in sorted((out / "features").glob("*.npz"))]
    indices, values = (np.concatenate([batch[name] for batch in batches]) for name in ("indices", "values"))
    broken = [photo.stem for photo in images].index("06-broken")
    assert indices.tolist() == [index for index in range(13) if index != broken]
    labels = cluster_features(values, 3, seed=2)
    drawn = draw_samples(labels, 11, seed=2)
    rows = lines(out / "clusters.jsonl")
    assert [row["cluster"] for row in rows] == labels.tolist()
    assert [row["drawn"] for row in rows] == drawn.tolist()
    assert [row["photo"] for row in rows] == [images[index].name for index in indices]
    assert [row["source"] for row in rows] == [SOURCES[index] for index in indices]
    assert np.bincount(labels[drawn]).tolist() == equal_quotas(np.bincount(labels).tolist(), 11)


def test_every_drawn_image_is_a_row_or_a_reject(collection, images):
    out, result = collection
    assert (result.made, result.failed, result.stopped) == (11, {}, None)
    assert lines(out / "metadata.jsonl") == result.rows
    assert lines(out / "rejects.jsonl") == result.rejects
    drawn = {row["index"] for row in lines(out / "clusters.jsonl") if row["drawn"]}
    broken = next(row for row in result.rejects if row["cluster"] is None)
    assert drawn == {row["index"] for row in (*result.rows, *result.rejects)} - {broken["index"]}
    assert list(result.unreadable.values()) == [broken["detail"]] == ["06-broken.png is not an image"]
    assert broken["reason"] == "image cannot be read"
    for part in (result.rows, result.rejects):
        assert [row["index"] for row in part] == sorted(row["index"] for row in part)


def test_labels_follow_the_criteria(collection):
    _, result = collection
    assert result.rows
    assert {row["curation"] for row in result.rows} == {"Acceptable"}
    assert {row["label"] for row in result.rows} == {"fake"}
    judged = [row for row in result.rejects if row["criteria"]]
    assert judged
    for row in judged:
        failed = next(name for name in ORDER if not row["criteria"][name])
        assert row["reason"] == f"Rejected[{failed.capitalize()}]"
        assert row["detail"].startswith("number ")
    assert {row["reason"] for row in result.rejects if not row["criteria"]} <= {
        "image cannot be read",
        "reply could not be used",
    }


def test_images_keep_their_bytes(collection, images):
    out, result = collection
    for row in result.rows:
        assert row["file_name"] == f"images/{row['index']:08d}{images[row['index']].suffix.lower()}"
        assert (out / row["file_name"]).read_bytes() == images[row["index"]].read_bytes()
    assert {f"images/{file.name}" for file in (out / "images").iterdir()} == {row["file_name"] for row in result.rows}


def test_statistics_are_the_counts_of_the_rows(collection):
    out, result = collection
    statistics = json.loads((out / "statistics.json").read_text())
    assert statistics == result.statistics
    clusters = lines(out / "clusters.jsonl")
    found = Counter([row["curation"] for row in result.rows] + [row["reason"] for row in result.rejects])
    assert [statistics[name] for name in ("images", "drawn", "kept", "failed")] == [13, 11, len(result.rows), 0]
    assert statistics["labels"] == {label: found[label] for label in LABELS}
    assert statistics["without_label"] == {key: found[key] for key in sorted(found) if key not in LABELS}
    for name in CRITERIA:
        unmet = [row for row in result.rejects if row["criteria"] and row["criteria"][name] is False]
        assert statistics["unmet"][name] == len(unmet)
    for key, groups in (("cluster", range(3)), ("source", ("first", "second"))):
        for group in groups:
            got = statistics[f"{key}s"][group]
            assert got["images"] == sum(row[key] == group for row in clusters)
            assert got["drawn"] == sum(row[key] == group and row["drawn"] for row in clusters)
            assert got["kept"] == sum(row[key] == group for row in result.rows)
            labels = Counter(row.get("curation", row.get("reason")) for row in (*result.rows, *result.rejects)
                             if row[key] == group)  # fmt: skip
            assert got["labels"] == {label: labels[label] for label in LABELS}
    calls = sum(row["vision_language"]["calls"] for row in (*result.rows, *result.rejects))
    assert statistics["vision_language"]["calls"] == calls > 11


def test_the_folder_is_read_as_an_imagefolder(collection, tmp_path):
    out, result = collection
    rows = datasets.load_dataset("imagefolder", data_dir=str(out), split="train", cache_dir=str(tmp_path))
    assert [row["id"] for row in rows] == [row["id"] for row in result.rows]
    for row, expected in zip(rows, result.rows, strict=True):
        with Image.open(out / expected["file_name"]) as image:
            assert row["image"].tobytes() == image.tobytes()


def test_only_safe_images_are_shown(collection):
    out, result = collection
    sheet = np.asarray(Image.open(out / "plots" / "clusters-1.png"))
    clusters = lines(out / "clusters.jsonl")
    outcomes = {row["index"]: row for row in (*result.rows, *result.rejects)}
    shown = 0
    for cluster in range(3):
        drawn = [row["index"] for row in clusters if row["cluster"] == cluster and row["drawn"]]
        top = LINE + 2 * MARGIN + cluster * (TILE + LINE + MARGIN) + LINE
        for column, index in enumerate(drawn):
            left = MARGIN + column * (TILE + MARGIN)
            tile = sheet[top : top + TILE, left : left + TILE]
            outcome = outcomes[index]
            label = outcome.get("curation") or outcome["reason"]
            assert tuple(tile[0, 0]) == COLOURS[label if label in LABELS else "no label"]
            inner = tile[FRAME:-FRAME, FRAME:-FRAME].reshape(-1, 3)
            is_safe = "curation" in outcome or bool(outcome["criteria"] and outcome["criteria"]["safety"])
            # a frame alone has its two greys and those of its text
            assert (np.ptp(inner.astype(int), axis=1).max() > 20) == is_safe
            shown += is_safe
    assert 0 < shown < 11


def test_a_run_goes_on_after_its_logs_were_cut(collection, images, extract, tmp_path, digest):
    out, _ = collection
    with ChatServer(answer_curation) as server:
        job = CurationJob(images, SOURCES, tmp_path / "out", extract, ask(server), SETTINGS, batch_size=4, plots=True)
        first = write_curation(job)
        assert digest(tmp_path / "out") == digest(out)
        # as if it had been killed: a row cut short, another without its image, a reject lost, a batch lost
        metadata = (tmp_path / "out" / "metadata.jsonl").read_bytes().splitlines(keepends=True)
        (tmp_path / "out" / "metadata.jsonl").write_bytes(metadata[0] + metadata[1][:40])
        (tmp_path / "out" / first.rows[0]["file_name"]).unlink()
        rejects = (tmp_path / "out" / "rejects.jsonl").read_bytes().splitlines(keepends=True)
        (tmp_path / "out" / "rejects.jsonl").write_bytes(b"".join(rejects[1:]))
        (tmp_path / "out" / "features" / "00000004.npz").unlink()
        (tmp_path / "out" / "clusters.jsonl").unlink()
        result = write_curation(job)
    assert result.made == len(metadata) - 1 + (first.rejects[0]["cluster"] is not None)
    assert digest(tmp_path / "out") == digest(out)


def test_collections_share_features(collection, images, tmp_path):
    out, _ = collection

    def never(batch):
        raise AssertionError("features are there")

    job = CurationJob(
        images,
        SOURCES,
        tmp_path / "out",
        never,
        lambda images, prompt: ACCEPT,
        CurationSettings(samples=4, clusters=2),
        batch_size=4,
        features_folder=out / "features",
    )
    result = write_curation(job)
    assert (len(result.rows), len(result.statistics["clusters"])) == (4, 2)
    assert not (tmp_path / "out" / "features").exists()
    with pytest.raises(ValueError, match="was begun with other settings: use the same or another folder"):
        write_curation(dataclasses.replace(job, settings=CurationSettings(samples=5, clusters=2)))


def test_what_fails_is_named_and_tried_again(images, extract, tmp_path):
    photos = [photo for photo in images if "broken" not in photo.name]
    angry = []

    def model(images, prompt):
        if len(angry) < 2:
            angry.append(1)
            raise RuntimeError("out of memory")
        return ACCEPT

    job = CurationJob(photos, ["one"] * 12, tmp_path / "out", extract, model, CurationSettings(samples=5, clusters=1))
    first = write_curation(job)
    assert (first.made, len(first.rows), first.statistics["failed"]) == (3, 3, 2)
    assert all(reason == f"{path}: RuntimeError: out of memory" for path, reason in first.failed.items())
    again = write_curation(job)
    assert (again.made, len(again.rows), again.failed, again.statistics["failed"]) == (2, 5, {}, 0)


def test_a_server_that_fails_three_times_ends_the_run(images, extract, tmp_path):
    settings = CurationSettings(samples=9, clusters=2)
    with ChatServer(lambda request: Status(401)) as server:
        job = CurationJob(images, SOURCES, tmp_path / "out", extract, ask(server), settings)
        result = write_curation(job)
        assert len(server.bodies) == 3
    assert "answers 401" in result.stopped
    assert (result.made, len(result.rows), len(result.failed)) == (0, 0, 3)
    assert [row["reason"] for row in result.rejects] == ["image cannot be read"]
    with ChatServer(lambda request: ACCEPT) as server:
        result = write_curation(dataclasses.replace(job, vision_language=ask(server), workers=4))
    assert (result.made, len(result.rows), result.stopped) == (9, 9, None)


def test_images_none_of_which_can_be_read(tmp_path):
    photos = [tmp_path / f"{number}.png" for number in range(3)]
    for photo in photos:
        photo.write_text("no photograph")
    never = None
    job = CurationJob(photos, ["a"] * 3, tmp_path / "out", never, never, CurationSettings(1, clusters=2), plots=True)
    result = write_curation(job)
    assert (result.rows, len(result.rejects), result.statistics["images"]) == ([], 3, 3)
    assert result.statistics["clusters"] == []
    assert list(result.statistics["sources"]) == ["a"]


def test_jobs_that_are_refused(images, extract, tmp_path):
    def job(**changes):
        given = {"photos": images, "sources": SOURCES, "settings": SETTINGS} | changes
        return CurationJob(out=tmp_path, extract=extract, vision_language=lambda *asked: ACCEPT, **given)

    with pytest.raises(ValueError, match="clusters must be at most the 13 images, got 14"):
        job(settings=CurationSettings(samples=3, clusters=14))
    with pytest.raises(ValueError, match="expected a source for each of 13 images, got 1"):
        job(sources=["a"])
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        job(workers=0)
