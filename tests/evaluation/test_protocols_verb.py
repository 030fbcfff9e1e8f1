"""`forgescope protocols`: what it lists, and what it finds on the disk."""

import json
import re
import sys

import pytest
from promptforge_layout import annotated_row, picture, write, write_lines

from forgescope import protocol_catalogue
from forgescope.auto import MODELS
from forgescope.cli import main
from forgescope.datasets_scripts.load import corpus_builder_class
from forgescope.evaluation.paper_tables import PAPER_TABLES
from forgescope.evaluation.protocols import PROTOCOLS
from forgescope.evaluation.protocols_legion import FAMILIES, METHOD, TABLE5
from forgescope.protocol_catalogue import describe, find_data, missing_packages, models_of, paper_values


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the verb in this process: exit status, standard output, standard error."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["forgescope", "protocols", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return stopped.value.code, *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """A folder of two corpora: PromptForge by the corpus' name, GenImage by its title, its training part alone."""
    folder = tmp_path_factory.mktemp("corpora")
    rows = [annotated_row(1, folder / "promptforge" / "test")]
    write_lines(folder / "promptforge" / "test" / "metadata.jsonl", rows)
    for label in ("ai", "nature"):
        write(folder / "GenImage" / "ADM" / "imagenet_ai_0508_adm" / "train" / label / "1.png", picture(3))
    (folder / "holiday").mkdir()
    return folder


def test_every_table_and_protocol_is_printed_under_its_paper(run):
    status, out, err = run()
    assert (status, err) == (0, "")
    parts = re.split(r"\n\n", out)
    for part, (paper, tables) in zip(parts, PAPER_TABLES.items(), strict=False):
        assert part.startswith(paper)
        for table in tables:
            assert re.search(rf"^  {table.place} +{re.escape(table.content)}$", part, re.MULTILINE)
            for name in table.protocols:
                assert re.search(rf"^    {re.escape(name)} ", part, re.MULTILINE)
    for protocol in PROTOCOLS.values():
        card = corpus_builder_class(protocol.corpus).CARD
        assert f"{protocol.corpus}: {card.title}, licence {card.licence}, {card.homepage or 'not offered'}" in out


def test_json_lists_the_same_as_one_object(run):
    status, out, err = run("--json")
    papers = json.loads(out)
    assert (status, err, out.count("\n")) == (0, "", 1)
    assert list(papers) == list(PAPER_TABLES)
    names = {one["name"] for tables in papers.values() for table in tables for one in table["protocols"]}
    assert names == set(PROTOCOLS)
    assert all(table["protocols"] or table["reason"] for tables in papers.values() for table in tables)
    assert {one["runs_here"] for tables in papers.values() for table in tables for one in table["protocols"]} == {None}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_each_is_described_in_full(name):
    found = describe(PROTOCOLS[name])
    assert found["homepage"] or found["terms"]
    types = [one for one in found["models"] if " " not in one]
    assert types
    assert set(types) <= set(MODELS)
    assert found["command"].startswith(f"forgescope evaluate MODEL --protocol {name} --data DIR")
    assert all(0 < number["value"] <= 1 for number in found["paper_values"])
    json.dumps(found)


def test_numbers_of_each_kind_of_protocol():
    def values(name):
        return list(paper_values(PROTOCOLS[name]))

    assert values("gamma-synthwildx") == [
        {"metric": "image_accuracy", "source": "average", "perturbation": "none", "value": 0.991}
    ]
    assert [(one["source"], one["value"]) for one in values("legion-detection")] == [
        (family, pytest.approx(percent / 100)) for family, percent in zip(FAMILIES, TABLE5[METHOD], strict=True)
    ]
    assert {"metric": "pixel_iou", "architecture": "fcn8s", "perturbation": "none", "value": 0.203} in values(
        "diffseg-semantic"
    )
    assert values("mmfr-temperature")[0] == {
        "metric": "image_accuracy_fluctuation",
        "source": "average",
        "setting": "temperature 0.1",
        "perturbation": "none",
        "value": 0.0054,
    }
    assert {"metric": "pixel_f1", "classes": "forged", "perturbation": "blur:9", "value": 0.3263} in values(
        "legion-robustness"
    )
    assert len(values("iclnet-robustness")) == 40
    assert values("mmfr-detection-v2") == []


def test_models_follow_what_is_measured():
    assert models_of(PROTOCOLS["diffseg-semantic"]) == ("diffseg",)
    assert models_of(PROTOCOLS["diffseg-binary"]) == models_of(PROTOCOLS["iclnet-robustness"])
    assert models_of(PROTOCOLS["mmfr-reasoning"])[0] == "fakereasoning"
    assert models_of(PROTOCOLS["legion-loki"])[0] == "legion"
    assert "iclnet" not in models_of(PROTOCOLS["legion-detection"])


def test_corpora_are_found_by_name_and_title(corpora):
    assert find_data(PROTOCOLS["iclnet-localization"], corpora) == (corpora / "promptforge", None)
    assert find_data(PROTOCOLS["iclnet-localization"], corpora / "promptforge") == (corpora / "promptforge", None)
    found, problem = find_data(PROTOCOLS["gamma-genimage"], corpora)
    assert found is None
    assert problem == f"{corpora / 'GenImage'} has no split validation, only train"
    found, problem = find_data(PROTOCOLS["mmfr-detection"], corpora)
    assert found is None
    assert problem.startswith(f"{corpora} holds no MMFR-Dataset: expected ")


def test_a_folder_of_other_sources_is_not_what_a_protocol_is_made_of(corpora, repository):
    examples = repository / "examples"
    sources = "pico-banana, x2edit-bagel, x2edit-kontext, x2edit-step1x"
    assert find_data(PROTOCOLS["iclnet-localization"], examples) == (None, f"{examples} has no image of {sources}")
    found, problem = find_data(PROTOCOLS["iclnet-unseen-kontext"], corpora)
    assert (found, problem) == (None, f"{corpora / 'promptforge'} has no image of x2edit-kontext")
    assert find_data(PROTOCOLS["iclnet-unseen-bagel"], corpora) == (corpora / "promptforge", None)


def test_what_can_be_run_is_said(corpora, run):
    status, out, _ = run("--data", corpora)
    assert status == 0
    flat = " ".join(out.split())
    assert (
        f"iclnet-robustness pixel_f1 0.752 on promptforge; takes iclnet, diffseg, gamma; can run on {corpora}" in flat
    )
    assert f"cannot run here: {corpora}/GenImage has no split validation" in flat
    status, out, _ = run("gamma-genimage", "--data", corpora, "--json")
    assert status == 0
    assert json.loads(out)["runs_here"] is False


def test_missing_packages_are_named_with_the_extra(monkeypatch):
    monkeypatch.setattr(protocol_catalogue, "find_spec", lambda name: None)
    assert missing_packages(PROTOCOLS["mmfr-detection"]) == []
    assert missing_packages(PROTOCOLS["mmfr-reasoning"]) == ["rouge_score", "nltk"]
    assert missing_packages(PROTOCOLS["legion-synthscars"]) == ["rouge_score", "scipy"]
    found = describe(PROTOCOLS["legion-synthscars"])
    assert found["lacking"] == ['packages rouge_score, scipy: pip install "forgescope[text]"']


def test_one_is_shown_with_its_command_its_needs_and_every_number(run):
    status, out, _ = run("diffseg-classification")
    assert status == 0
    assert "--protocol diffseg-classification --data DIR --real REAL --json rows.json" in out
    assert re.search(r"^  --real +unedited photographs$", out, re.MULTILINE)
    assert "    0.9970  image_accuracy  segformer" in out
    assert "not looked: give --data DIR" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gamma-genimag"], "unknown protocol 'gamma-genimag': did you mean gamma-genimage? `forgescope protocols`"),
        (["--data", "nowhere"], "nowhere does not exist: expected a corpus, or a folder of corpora"),
    ],
)
def test_wrong_usage(run, words, message):
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
