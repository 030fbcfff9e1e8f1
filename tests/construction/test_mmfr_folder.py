import dataclasses
import json
import os
from collections import Counter

import pytest
from chat_server import ChatServer
from mmfr_answers import answer_mmfr, lines, mmfr_client, mmfr_image_folder, mmfr_job, picture_number, plain_model
from PIL import Image

from forgescope.construction.mmfr import write_mmfr
from forgescope.construction.mmfr_attributes import ATTRIBUTES
from forgescope.construction.mmfr_images import find_labelled_images
from forgescope.construction.mmfr_statistics import cost_of
from forgescope.datasets_scripts.load import load_corpus
from forgescope.processing.chain_of_thought import QUESTION, parse_chain_of_thought

REAL, FAKE = 20, 20


@pytest.fixture(autouse=True)
def online(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return find_labelled_images([mmfr_image_folder(tmp_path_factory.mktemp("images"), REAL, FAKE)])


@pytest.fixture(scope="module")
def corpus(images, tmp_path_factory):
    """A folder made of forty images with five requests in flight, and the result of its run."""
    out = tmp_path_factory.mktemp("corpus") / "out"
    with pytest.MonkeyPatch.context() as patch, ChatServer(answer_mmfr) as server:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        return out, write_mmfr(mmfr_job(images, out, mmfr_client(server), workers=5, plots=True))


def test_every_image_is_a_row_or_a_reject_for_its_reason(corpus, images):
    out, result = corpus
    assert (result.made, result.failed, result.stopped) == (REAL + FAKE, {}, None)
    assert sorted(row["index"] for row in (*result.rows, *result.rejects)) == list(range(REAL + FAKE))
    assert lines(out / "metadata.jsonl") == result.rows
    assert lines(out / "rejects.jsonl") == result.rejects
    reasons = {
        0: "cannot be told",
        1: "answer contradicts the label",
        2: "reply could not be used",
        3: "no known attribute was named",
    }
    kept = {row["index"] for row in result.rows}
    rejected = {row["index"]: row["reason"] for row in result.rejects}
    for index, image in enumerate(images):
        case = picture_number(Image.open(image.path)) % 12
        assert (index in kept) == (case not in reasons)
        assert rejected.get(index) == reasons.get(case)
    assert set(rejected.values()) == set(reasons.values())
    contradiction = next(row for row in result.rejects if "contradicts" in row["reason"])
    assert contradiction["detail"] in ("fake, not real", "real, not fake")


def test_images_are_copied_byte_for_byte(corpus, images):
    out, result = corpus
    for row in result.rows:
        image = images[row["index"]]
        folder = {"real": "0_real", "fake": "1_fake"}[image.label]
        assert row["file_name"] == f"pets/{folder}/{row['index']:08d}.png"
        assert (out / row["file_name"]).read_bytes() == image.path.read_bytes()
        assert (row["label"], row["photo"]) == (image.label, image.path.name)
    assert len(list((out / "pets").rglob("*.png"))) == len(result.rows)


def test_answers_have_four_stages_split_by_level(corpus):
    out, result = corpus
    conversations = json.loads((out / "forgery_reasoning_cot.json").read_text())
    assert len(conversations) == len(result.rows)
    for row, entry in zip(result.rows, conversations, strict=True):
        assert entry["image"] == row["file_name"]
        human, gpt = entry["conversations"]
        assert human == {"from": "human", "value": f"<image>\n{QUESTION}"}
        read = parse_chain_of_thought(gpt["value"], strict=True)
        assert (read.label, read.problems, read.caption) == (row["label"], [], row["caption"])
        texts = {entry["attribute"]: entry["text"] for entry in row["attributes"]}
        names = [attribute.name for attribute in ATTRIBUTES[row["label"]]]
        low = " ".join(texts[name] for name in names[:4] if name in texts)
        expected = f"From low-level perspective: {low}"
        if names[4] in texts:
            expected += f" From high-level perspective: {texts[names[4]]}"
        assert read.reasoning == f"{expected} Therefore, this image is {row['label']}."
    assert any(len(row["attributes"]) == 5 for row in result.rows)


def test_the_folder_is_read_as_the_corpus(corpus, tmp_path):
    out, result = corpus
    conversations = load_corpus("mmfr", out, config="cot", split="train", cache_dir=tmp_path)
    texts = load_corpus("mmfr", out, config="annotations", split="test", cache_dir=tmp_path)
    assert len(conversations) == len(texts) == len(result.rows)
    by_name = {row["file_name"]: row for row in result.rows}
    for row in conversations:
        made = by_name[row["id"]]
        assert (row["label"], row["source"]) == (made["label"] == "fake", "pets")
        assert row["answer"].endswith(f"<CONCLUSION> This image is {made['label']}. </CONCLUSION>")
        assert row["image"].size == (24, 24)
    for row in texts:
        made = by_name[row["id"]]
        assert row["label"] == (made["label"] == "fake")
        assert row["reasoning"] == sorted(made["attributes"], key=lambda entry: entry["attribute"])
    stored = json.loads((out / "pets" / "pets_reasoning.json").read_text())
    for name, entries in stored.items():
        assert list(entries) == [attribute.name for attribute in ATTRIBUTES[by_name[name]["label"]]]


def test_sources_of_the_training_split(images, tmp_path):
    renamed = [
        dataclasses.replace(image, source={"real": "laion", "fake": "diffusiondb"}[image.label]) for image in images
    ]
    result = write_mmfr(mmfr_job(renamed, tmp_path / "out", plain_model))
    texts = load_corpus("mmfr", tmp_path / "out", config="annotations", split="train", cache_dir=tmp_path / "cache")
    assert Counter(texts["source"]) == Counter(row["source"] for row in result.rows)
    assert Counter(texts["label"]) == Counter(row["label"] == "fake" for row in result.rows)


def test_statistics_are_the_counts_of_the_rows(corpus):
    out, result = corpus
    statistics = json.loads((out / "statistics.json").read_text())
    assert statistics == result.statistics
    by_label = Counter(row["label"] for row in result.rows)
    assert statistics["images"] == dict(by_label) == statistics["sources"]["pets"]
    named = Counter((row["label"], entry["attribute"]) for row in result.rows for entry in row["attributes"])
    for label in ("real", "fake"):
        assert statistics["attributes"][label] == {
            attribute.name: named[label, attribute.name] for attribute in ATTRIBUTES[label]
        }
        assert statistics["annotations"][label] == sum(statistics["attributes"][label].values())
    assert statistics["rejected"] == dict(sorted(Counter(row["reason"] for row in result.rejects).items()))
    # "A dog sleeps on a bench, number 12."
    assert statistics["words"]["caption"] == {"mean": 8.0, "median": 8.0, "min": 8, "max": 8}
    lengths = []
    for row in result.rows:
        levels = {"Semantic" in entry["attribute"] for entry in row["attributes"]}
        words = sum(len(entry["text"].split()) for entry in row["attributes"])
        # "From low-level perspective:" of each level, and "Therefore, this image is fake."
        lengths.append(3 * len(levels) + words + 5)
    reasoning = statistics["words"]["reasoning"]
    assert (reasoning["min"], reasoning["max"]) == (min(lengths), max(lengths))
    assert reasoning["mean"] == pytest.approx(sum(lengths) / len(lengths), abs=0.005)
    assert statistics["dropped_attributes"] == {
        "Mood": sum("Mood" in row["dropped_attributes"] for row in (*result.rows, *result.rejects))
    }
    used = statistics["vision_language"]
    for name, total in used.items():
        assert total == sum(row["vision_language"][name] for row in (*result.rows, *result.rejects))
    assert all(row["vision_language"]["calls"] >= 2 for row in result.rows)
    assert cost_of({"prompt_tokens": 3_000_000, "completion_tokens": 500_000}, 2.5, 10) == 12.5


def test_plots_are_drawn(corpus, images, tmp_path):
    out, _ = corpus
    for name in ("attributes.png", "text_lengths.png"):
        with Image.open(out / "plots" / name) as picture:
            assert picture.size == (1350, 540)
            colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20)}
        expected = {"attributes.png": [(76, 154, 106), (200, 85, 61)], "text_lengths.png": [(59, 110, 165)]}[name]
        assert set(expected) <= colours
    fake = [image for image in images if image.label == "fake"]
    write_mmfr(mmfr_job(fake, tmp_path / "fake", plain_model, plots=True))
    assert (tmp_path / "fake" / "plots" / "attributes.png").exists()
    write_mmfr(mmfr_job(fake, tmp_path / "none", lambda images, prompt: "no", plots=True))
    assert not (tmp_path / "none" / "plots").exists()


def test_the_order_of_answers_does_not_matter(corpus, images, tmp_path, digest):
    out, _ = corpus
    with ChatServer(answer_mmfr) as server:
        write_mmfr(mmfr_job(images, tmp_path / "out", mmfr_client(server), workers=1, plots=True))
    assert digest(tmp_path / "out") == digest(out)


def test_what_was_logged_is_not_asked_again(corpus, images, tmp_path, digest):
    out, whole = corpus
    with ChatServer(answer_mmfr) as server:
        job = mmfr_job(images, tmp_path / "out", mmfr_client(server), workers=3, plots=True)
        write_mmfr(job)
        for name, keep in (("metadata.jsonl", 7), ("rejects.jsonl", 2)):
            file = tmp_path / "out" / name
            rows = file.read_bytes().splitlines(keepends=True)
            file.write_bytes(b"".join(rows[::-1][:keep]) + rows[0][:40])
        # its answer is kept, so the image is copied and not asked about again
        (tmp_path / "out" / whole.rows[-1]["file_name"]).unlink()
        (tmp_path / "out" / "forgery_reasoning_cot.json").unlink()
        result = write_mmfr(job)
        before = len(server.bodies)
        again = write_mmfr(job)
    assert result.made == REAL + FAKE - 7 - 2
    assert (again.made, len(server.bodies)) == (0, before)
    assert digest(tmp_path / "out") == digest(out)


def test_the_card_counts_real_and_fake_images(corpus):
    out, result = corpus
    counts = Counter(row["label"] for row in result.rows)
    lines_ = [f"| all | {len(result.rows)} |", f"| real | {counts['real']} |", f"| fake | {counts['fake']} |"]
    assert min(counts.values()) > 0
    assert "\n".join([*lines_, f"| rejected | {len(result.rejects)} |"]) in (out / "README.md").read_text()


def test_names_and_texts_that_are_no_utf_8_stop_nothing(tmp_path, digest):
    folder = mmfr_image_folder(tmp_path, 1, 1)
    (folder / "0_real" / "image0.png").rename(folder / "0_real" / os.fsdecode(b"caf\xe9.png"))

    def model(images, prompt):
        if '"caption"' in prompt:
            return r'{"caption": "Half a smile \ud83d"}'
        label = "fake" if '"answer": "fake"' in prompt else "real"
        return json.dumps({"answer": label, "attributes": {ATTRIBUTES[label][0].name: "It shows"}})

    job = mmfr_job(find_labelled_images([folder]), tmp_path / "out", model)
    result = write_mmfr(job)
    assert (len(result.rows), result.failed, result.rows[0]["photo"]) == (2, {}, os.fsdecode(b"caf\xe9.png"))
    assert (
        "smile \ud83d"
        in json.loads((tmp_path / "out/forgery_reasoning_cot.json").read_text())[0]["conversations"][1]["value"]
    )
    whole = digest(tmp_path / "out")
    assert (write_mmfr(job).made, digest(tmp_path / "out")) == (0, whole)
