"""`forgescope evaluate --protocol mmfr-...` on a small MMFR, with answers of another system and with an answerer."""

import json
import re
import sys
from collections import Counter
from dataclasses import replace

import mmfr_layout
import numpy as np
import pytest
from answering_fakereasoning import ANSWERS, plain_photo, save_answering_checkpoint
from archives_layout import write_parts, write_tree
from PIL import Image
from report_page import page_data

from forgescope.cli import main
from forgescope.evaluation.protocols import find_protocol
from forgescope.evaluation.text_scores import text_scores
from forgescope.processing.chain_of_thought import parse_chain_of_thought
from forgescope.reasoning_answers import AnswerBook, ask, image_key, read_answers
from forgescope.reasoning_data import draw_annotated_images
from forgescope.reasoning_evaluation import evaluate_reasoning

# as users' folders are named, in the order of the paper's table
FOLDERS = ("glide", "guided", "SD", "dalle3", "if", "biggan", "gaugan", "stylegan2", "stylegan-xl", "gigagan")
PER_CLASS = 2


def mmfr_files(folders=FOLDERS):
    return mmfr_layout.mmfr_files(count=1, generated=PER_CLASS, generators=folders)


@pytest.fixture(scope="module")
def mmfr(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("mmfr"), mmfr_files())


def labelled_images(root):
    """Path and label of every test image."""
    files = sorted((root / "dataset/evaluation_sets").rglob("*.png"))
    return [(file, "fake" if file.parent.name == "1_fake" else "real") for file in files]


def write_answers(file, lines):
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


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


def rows_of(file, metric):
    return {row["source"]: row for row in json.loads(file.read_text()) if row["metric"] == metric}


def wrong(label):
    return {"fake": "real", "real": "fake"}[label]


def test_answers_of_another_system_beside_the_paper(run, mmfr, tmp_path):
    """The first image of each class is called wrong in glide, unclear in `if`; all other verdicts are right."""
    lines, expected = [], {}
    for file, label in labelled_images(mmfr):
        folder, first = file.parts[-3], file.name in ("0000.png", "0001.png")
        text = mmfr_layout.answer(wrong(label) if folder == "glide" and first else label, 1)
        if folder == "if" and first:
            text = "I cannot tell."
        lines.append({"path": f"/elsewhere/{'/'.join(file.parts[-3:])}", "answer": text})
        expected.setdefault(folder, []).append(not (first and folder in ("glide", "if")))
    answers = write_answers(tmp_path / "gpt4o.jsonl", lines)
    words = ("--protocol", "mmfr-detection", "--data", mmfr, "--answers", answers, "--resamples", 20)
    page = tmp_path / "page.html"
    files = ("--json", tmp_path / "rows.json", "--markdown", tmp_path / "rows.md", "--html", page)
    status, out, err = run(*words, *files)
    assert (status, err) == (0, "")
    images = {row["path"]: row for row in page_data(page)["rows"]}
    assert len(images) == len(lines)
    assert Counter(
        (row["verdict"], row["outcome"]) for row in images.values() if row["subset"] in ("glide", "if")
    ) == {
        ("forged", None): 2,
        ("authentic", None): 2,
        ("forged", "false alarm"): 1,
        ("authentic", "missed"): 1,
        ("inconclusive", None): 2,
    }
    assert {row["explanation"] for row in images.values()} == {line["answer"] for line in lines}
    rows = rows_of(tmp_path / "rows.json", "image_accuracy")
    assert (rows["glide"]["value"], rows["if"]["value"], rows["stablediffusion"]["value"]) == (0.5, 0.5, 1)
    assert rows["average"]["value"] == pytest.approx(np.mean([np.mean(one) for one in expected.values()]))
    assert (rows["DM"]["value"], rows["GAN"]["value"]) == (pytest.approx(0.8), 1)
    assert [rows[name]["paper_value"] for name in ("styleganxl", "DM", "average")] == [0.891, 0.9478, 0.9098]
    assert (rows["average"]["n"], rows["average"]["unparsed"]) == (40, "wrong")
    assert rows_of(tmp_path / "rows.json", "image_unparsed")["if"]["value"] == 0.5
    assert "FakeReasoning, Tables 2 and 3" in out
    assert "mmfr-detection: verdicts, answers without a verdict count as wrong" in out
    assert f"answers: {answers}" in (tmp_path / "rows.md").read_text()


def test_the_authors_way_drops_what_it_cannot_read(run, mmfr, tmp_path):
    """The paper's own wording of real conclusions (in the layout) is not what the authors' script looks for."""
    lines = [{"id": str(file), "answer": mmfr_layout.answer(label, 1)} for file, label in labelled_images(mmfr)]
    lines[0]["answer"] = ""
    words = ("--protocol", "mmfr-detection", "--data", mmfr, "--answers", write_answers(tmp_path / "a.jsonl", lines))
    assert run(*words, "--json", tmp_path / "kept.json")[0] == 0
    kept = rows_of(tmp_path / "kept.json", "image_accuracy")["average"]
    assert (kept["n"], kept["value"]) == (40, pytest.approx(39 / 40))
    status, out, _ = run(*words, "--json", tmp_path / "dropped.json", "--unparsed", "drop")
    dropped = rows_of(tmp_path / "dropped.json", "image_accuracy")
    assert (status, dropped["all"]["n"], dropped["all"]["value"], dropped["all"]["unparsed"]) == (0, 20, 1, "drop")
    assert rows_of(tmp_path / "dropped.json", "image_unparsed")["all"]["value"] == 20 / 40
    assert "conclusions are read letter for letter" in out


def test_reasons_beside_the_annotations(run, mmfr, tmp_path):
    lines, scores = [], {}
    for file, label in labelled_images(mmfr):
        attributes = mmfr_layout.attributes(label, int(file.stem))
        reference = " ".join(attributes[name] for name in sorted(attributes) if attributes[name])
        reasons = f"{reference} Therefore, this image is {label}."
        text = f"<REASONING>{reasons}</REASONING><CONCLUSION>This image is {label}.</CONCLUSION>"
        lines.append({"id": str(file), "answer": text})
        scores.setdefault(file.parts[-3], []).append((reasons, reference))
    answers = write_answers(tmp_path / "a.jsonl", lines)
    words = ("--protocol", "mmfr-reasoning", "--data", mmfr, "--answers", answers, "--json", tmp_path / "rows.json")
    status, out, _ = run(*words, "--plot", tmp_path / "bars.png")
    assert status == 0
    for metric in ("bleu1", "bleu2", "rouge_l"):
        rows = rows_of(tmp_path / "rows.json", f"text_{metric}")
        means = [text_scores(*zip(*pairs, strict=True))[metric].mean() for pairs in scores.values()]
        assert rows["average"]["value"] == pytest.approx(np.mean(means))
        assert 0.3 < rows["glide"]["value"] < 1
    assert rows_of(tmp_path / "rows.json", "text_rouge_l")["average"]["paper_value"] == 0.34
    assert "no CSS: name its embeddings by --embedder" in out
    assert Image.open(tmp_path / "bars.png").size[0] >= 900


def test_a_checkpoint_is_asked_once(run, tmp_path):
    """Two of three fake images are called fake, one real image is, and one has no verdict."""
    colors = {
        "glide/1_fake/0.png": "red",
        "glide/1_fake/1.png": "black",
        "glide/0_real/2.png": "green",
        "glide/0_real/3.png": "blue",
        "if/1_fake/4.png": "green",
        "if/0_real/5.png": "red",
    }
    sets = tmp_path / "evaluation_sets"
    for name, color in colors.items():
        (sets / name).parent.mkdir(parents=True, exist_ok=True)
        plain_photo(color).save(sets / name)
    reasons = {"High Image Quality": "Fine grain.", "Semantic Rationality": None}
    for generator in ("glide", "if"):
        own = {name: reasons for name in colors if name.startswith(generator)}
        (sets / generator / f"{generator}_reasoning.json").write_text(json.dumps(own))
    checkpoint = save_answering_checkpoint(tmp_path / "checkpoint")
    words = (checkpoint, "--protocol", "mmfr-reasoning", "--data", tmp_path, "--json", tmp_path / "rows.json")
    status, out, err = run(*words, "--batch-size", 3)
    assert status == 0, err
    accuracies = rows_of(tmp_path / "rows.json", "image_accuracy")
    assert {source: row["value"] for source, row in accuracies.items()} == {"glide": 0.75, "if": 0, "all": 0.5}
    assert rows_of(tmp_path / "rows.json", "image_unparsed")["glide"]["value"] == 1 / 4
    texts = [parse_chain_of_thought(ANSWERS[color]).reasoning for color in ("red", "black", "green", "blue")]
    expected = text_scores(texts, ["Fine grain."] * 4)["rouge_l"].mean()
    assert rows_of(tmp_path / "rows.json", "text_rouge_l")["glide"]["value"] == pytest.approx(expected)
    assert 0 < expected < 1
    assert "precision: float32" in out
    lines = [json.loads(line) for line in (tmp_path / "rows.answers.jsonl").read_text().splitlines()]
    assert [line["answer"] for line in lines] == [ANSWERS[color] for color in colors.values()]
    assert {(line["temperature"], line["round"], line["model"]) for line in lines} == {(0.2, 0, str(checkpoint))}
    before = (tmp_path / "rows.answers.jsonl").stat().st_mtime_ns
    assert run(*words)[0] == 0
    assert (tmp_path / "rows.answers.jsonl").stat().st_mtime_ns == before


class Diviner:
    """Answers by the brightness of the image and, above temperature 0, by the seed."""

    def __init__(self):
        self.asked = []

    def answers(self, images, temperature=0.0, seed=0):
        self.asked.append((len(images), temperature, seed))
        random = np.random.default_rng(seed)
        found = [float(np.asarray(image).mean()) + temperature * 40 * random.standard_normal() for image in images]
        return [mmfr_layout.answer("fake" if value > 127 else "real", 1) for value in found]


def measured(mmfr, protocol, file, answerer, rounds=None, **changes):
    table = find_protocol(protocol)
    images = draw_annotated_images(replace(table, rounds=rounds or table.rounds), mmfr, **changes)
    return evaluate_reasoning(images, file, answerer, model="diviner", seed=0, resamples=0)


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(mmfr, tmp_path):
    whole = measured(mmfr, "mmfr-consistency", tmp_path / "whole.jsonl", Diviner(), 4)
    lines = (tmp_path / "whole.jsonl").read_bytes().splitlines(keepends=True)
    assert len(lines) == 4 * 40
    assert {row.setting for row in whole.rows} == {*(f"round {number}" for number in range(4)), "mean of rounds"}
    # seeds differ from set to set and from round to round
    diviner = Diviner()
    # killed in the middle of a set of images, and of a line
    (tmp_path / "half.jsonl").write_bytes(b"".join(lines[:57]) + lines[57][:30])
    again = measured(mmfr, "mmfr-consistency", tmp_path / "half.jsonl", diviner, 4)
    assert (tmp_path / "half.jsonl").read_bytes() == b"".join(lines)
    assert again.rows == whole.rows
    assert len(diviner.asked) == len({seed for *_, seed in diviner.asked}) == 4 * 3 - 4
    assert {temperature for _, temperature, _ in diviner.asked} == {0.2}
    fluctuation = next(
        row for row in whole.rows if row.metric == "image_verdict_changes" and row.setting == "mean of rounds"
    )
    assert 0 < fluctuation.value < 1
    # everything is there: nothing is asked, and the file alone gives the same numbers
    finished = Diviner()
    assert measured(mmfr, "mmfr-consistency", tmp_path / "half.jsonl", finished, 4).rows == whole.rows
    assert finished.asked == []
    assert measured(mmfr, "mmfr-consistency", tmp_path / "half.jsonl", None, 4).rows == whole.rows
    with pytest.raises(ValueError, match="is of the model 'diviner' and seed 0, this run of 'other' and 0: choose"):
        ask(
            finished,
            draw_annotated_images(find_protocol("mmfr-detection"), mmfr),
            tmp_path / "half.jsonl",
            model="other",
        )


def test_temperatures_from_tar_parts(tmp_path):
    """Archives give the same images and answers as the unpacked tree."""
    files = mmfr_files(("glide", "if"))
    (tmp_path / "parts").mkdir()
    write_parts(tmp_path / "parts", files, 3)
    write_tree(tmp_path / "tree", files)
    found = [
        measured(tmp_path / name, "mmfr-temperature", tmp_path / f"{name}.jsonl", Diviner(), rounds=2, per_class=1)
        for name in ("parts", "tree")
    ]
    assert found[0].rows == found[1].rows
    assert (tmp_path / "parts.jsonl").read_text() == (tmp_path / "tree.jsonl").read_text()
    assert len((tmp_path / "tree.jsonl").read_text().splitlines()) == 6 * 2 * 4
    assert {row.setting for row in found[0].rows} == {f"temperature 0.{tenth}" for tenth in range(1, 7)}
    assert "not measured, so that there is no average: guided, stablediffusion" in " ".join(found[0].notes)
    assert "average" not in {row.source for row in found[0].rows}


def test_damaged_images_and_missing_answers_are_named(run, mmfr, tmp_path):
    files = mmfr_files(("glide", "if"))
    files["dataset/evaluation_sets/glide/1_fake/0000.png"] = b""
    cut = "dataset/evaluation_sets/if/0_real/0001.png"
    files[cut] = files[cut][: len(files[cut]) // 2]
    root = write_tree(tmp_path / "data", files)
    diviner = Diviner()
    result = measured(root, "mmfr-detection", tmp_path / "a.jsonl", diviner)
    named = {one.name: one.reason for one in result.results[0].skipped}
    assert named.keys() == {"dataset/evaluation_sets/glide/1_fake/0000.png", "evaluation_sets/if/0_real/0001.png"}
    assert [count for count, *_ in diviner.asked] == [6]
    assert {row.n for row in result.rows if (row.source, row.metric) == ("all", "image_accuracy")} == {6}
    # the damaged one is tried again, but nobody is asked anew
    measured(root, "mmfr-detection", tmp_path / "a.jsonl", diviner)
    assert len(diviner.asked) == 1
    some = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    answers = write_answers(tmp_path / "b.jsonl", [*some[1:], {"id": "x/1_fake/0.png", "answer": ""}])
    status, out, err = run("--protocol", "mmfr-detection", "--data", mmfr, "--answers", answers)
    assert status == 1
    assert f"skipped {some[0]['id']}: no answer about it" in err
    assert "1 answers are about other images, such as x/1_fake/0.png" in out
    assert "gaugan" not in err


def test_draws_are_of_names_and_seed_alone(mmfr):
    protocol = find_protocol("mmfr-detection")
    one, again, other, every = (
        [item.id for item in draw_annotated_images(protocol, mmfr, count, seed).items]
        for count, seed in ((1, 0), (1, 0), (1, 7), (None, 0))
    )
    assert one == again != other
    assert (len(one), len(every)) == (20, 40)
    assert set(one) < set(every)
    items = draw_annotated_images(protocol, mmfr).items
    assert {item.source for item in items} == set(protocol.groups)
    assert items[0].reference.startswith(("Anomalous", "Consistent", "High", "Inconsistent", "Semantic"))


def test_answers_by_temperature():
    book = AnswerBook()
    book.add((None, 0), "a", "x")
    assert book.runs((0.2,)) == {0.2: {0: {"a": "x"}}}
    book.add((0.2, 1), "a", "y")
    assert book.runs((0.2,)) == {0.2: {1: {"a": "y"}}}
    assert book.runs((0.1, 0.2)) == {0.2: {1: {"a": "y"}}}
    with pytest.raises(
        ValueError, match="there are no answers with the temperature 0.5, 0.6: each line must have its"
    ):
        book.runs((0.5, 0.6))
    assert image_key("C:\\mmfr\\if\\0_real\\1.png") == "if/0_real/1.png"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no answers: expected JSON lines with id (or path) and answer"),
        ('{"id": "a"}', "line 1 of FILE must have the texts id (or path) and answer, got ['id']"),
        ("nothing", "line 1 of FILE is no JSON"),
        ("[1]", "line 1 of FILE must be a JSON object, got list"),
        ('{"id": "a", "answer": "x"}\n\n{"path": "a", "answer": "y"}', "line 3 of FILE: a has two answers in round 0"),
        ('{"id": "a", "answer": "x", "round": "one"}', "line 1 of FILE has the round 'one': expected 0, 1, ..."),
        ('{"id": "a", "answer": "x", "temperature": "hot"}', "line 1 of FILE has the temperature 'hot'"),
    ],
)
def test_wrong_answer_files(tmp_path, text, message):
    file = tmp_path / "a.jsonl"
    file.write_text(text)
    with pytest.raises(ValueError, match=re.escape(message.replace("FILE", str(file)))):
        read_answers(file)
    assert file.read_text() == text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--protocol", "mmfr-detection"], "MODEL is missing: name a checkpoint, or --answers FILE"),
        ([], "MODEL is missing: name a checkpoint; only the mmfr and legion protocols can do without"),
        (["some", "--protocol", "mmfr-detection"], "give --answers FILE or --json FILE: the answers are kept there"),
        (["--protocol", "mmfr-detection", "--answers", "no.jsonl"], "no file no.jsonl: expected JSON lines"),
        (
            ["--protocol", "mmfr-detection", "--answers", "no.jsonl", "--unparsed", "skip"],
            "--unparsed must be wrong or drop, got 'skip'",
        ),
        (
            ["--protocol", "mmfr-detection", "--answers", "no.jsonl", "--embedder", "x"],
            "--embedder cannot be used with mmfr-detection: it compares no reasons",
        ),
        (
            ["--protocol", "mmfr-consistency", "--answers", "no.jsonl", "--plot", "x.png"],
            "--plot cannot be used with mmfr-consistency",
        ),
        (
            ["--protocol", "mmfr-detection", "--answers", "a", "--perturb", "jpeg:80", "--split", "test"],
            "--split, --perturb cannot be used with mmfr-detection",
        ),
        (["x", "--protocol", "gamma-genimage", "--answers", "a"], "--answers cannot be used with gamma-genimage"),
        (["x", "--protocol", "diffseg-binary", "--unparsed", "drop"], "--unparsed cannot be used with diffseg-binary"),
        (["x", "--embedder", "y"], "--embedder cannot be used without --protocol"),
        (
            ["iclnet-mini", "--protocol", "mmfr-detection", "--json", "rows.json"],
            "checkpoint 'iclnet-mini' has model type 'iclnet', which cannot be used here; expected fakereasoning",
        ),
    ],
)
def test_wrong_usage_of_reasoning_is_one_line(run, mmfr, words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = run("--data", mmfr, *words)
    assert status == 2
    assert message in err
