"""Every table of the papers has a protocol or a reason, and every protocol has its table."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from forgescope.cli import app
from forgescope.evaluation.paper_tables import BEYOND_THE_PAPERS, PAPER_TABLES
from forgescope.evaluation.protocols import PROTOCOLS
from forgescope.grounded_evaluation import EMBEDDER
from forgescope.trainers.recipe import available_ablations

# Paper -> its file, and the number of its last table.
PAPERS = {
    "PromptForge-350k / ICL-Net": ("000_*.txt", 4),
    "DiffSeg30k": ("001_*.txt", 8),
    "LEGION": ("002_*.txt", 10),
    "FakeReasoning": ("003_*.txt", 8),
    "GAMMA": ("004_*.txt", 8),
}
CAPTION = re.compile(r"^Table (\d+)[.:]", re.MULTILINE)
EACH_PAPER = pytest.mark.parametrize("paper", PAPERS)


def tables_of(paper):
    return [int(one.place.split()[1]) for one in PAPER_TABLES[paper] if one.place.startswith("Table ")]


@EACH_PAPER
def test_every_table_is_listed_once_and_in_order(paper):
    assert tables_of(paper) == list(range(1, PAPERS[paper][1] + 1))
    assert set(PAPER_TABLES) == set(PAPERS)


@EACH_PAPER
def test_the_paper_has_these_tables_and_no_others(paper, repository):
    files = sorted((repository.parent / "shared" / "papers").glob(PAPERS[paper][0]))
    if not files:
        pytest.skip("the papers are not here")
    assert sorted(map(int, CAPTION.findall(files[0].read_text()))) == tables_of(paper)


@EACH_PAPER
def test_a_table_names_protocols_of_its_paper_or_says_why_not(paper):
    for table in PAPER_TABLES[paper]:
        assert table.protocols or len(table.reason) > 20, table
        assert not table.reason or table.reason.endswith("."), table
        for name in table.protocols:
            assert PROTOCOLS[name].paper == paper
            number = table.place.removeprefix("Table ")
            assert table.place == "Figure 5" or number.split()[-1] in re.findall(r"\d+", PROTOCOLS[name].table)


def test_the_encoder_of_css_is_named_as_the_paper_names_it(repository):
    (table,) = (one for one in PAPER_TABLES["LEGION"] if one.place == "Table 3")
    name = EMBEDDER.rpartition("/")[2]
    assert name in table.reason
    for file in (repository.parent / "shared" / "papers").glob(PAPERS["LEGION"][0]):
        assert f"we use {name}" in file.read_text()


def test_every_protocol_is_of_a_table_or_beyond_the_papers():
    of_tables = {name for tables in PAPER_TABLES.values() for table in tables for name in table.protocols}
    assert of_tables | set(BEYOND_THE_PAPERS) == set(PROTOCOLS)
    assert not of_tables & set(BEYOND_THE_PAPERS)
    assert [name for name, protocol in PROTOCOLS.items() if protocol.paper not in PAPERS] == []


def reasons():
    return [table.reason for tables in PAPER_TABLES.values() for table in tables if table.reason]


def test_commands_in_reasons_are_commands():
    commands = [text for reason in reasons() for text in re.findall(r"`(forgescope [^`]+)`", reason)]
    assert len(commands) > 10
    for text in commands:
        command, words = typer.main.get_command(app), shlex.split(text)[1:]
        while words and hasattr(command, "commands") and words[0] in command.commands:
            command, words = command.commands[words[0]], words[1:]
        assert not hasattr(command, "commands"), text
        names = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= names


def test_files_and_ablations_in_reasons_exist(repository):
    for reason in reasons():
        for file in re.findall(r"evaluation/\w+\.py", reason):
            assert Path(repository, file).is_file()
        for model, row in re.findall(r"train (\w+) --ablation ([\w-]+)", reason):
            assert row in available_ablations(model)
