"""What README and docs promise: every Python block runs, every command line parses, every link leads somewhere."""

import io
import re
import shlex
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import typer

from forgescope.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^(<!-- not run: .+ -->\n)?```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\d+(?:\.\d+)?")
# scores differ a little between processors
TOLERANCE = 0.05
SOURCES = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page: Path, *languages: str) -> list[tuple[str, str]]:
    """Language and text of the blocks to be tried, in order."""
    return [
        (block[2], block[3]) for block in BLOCK.finditer(page.read_text()) if block[2] in languages and not block[1]
    ]


def assert_same_output(printed: str, promised: str) -> None:
    assert NUMBER.sub("#", printed.strip()) == NUMBER.sub("#", promised.strip())
    for got, expected in zip(NUMBER.findall(printed), NUMBER.findall(promised), strict=True):
        assert float(got) == pytest.approx(float(expected), abs=max(TOLERANCE, TOLERANCE * float(expected)))


@SOURCES
def test_python_blocks_run_in_order(page, tmp_path, monkeypatch):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "__main__"}
    printed = ""
    for language, text in blocks(page, "python", "text"):
        if language == "text":
            assert_same_output(printed, text)
            continue
        stream = io.StringIO()
        with redirect_stdout(stream):
            exec(compile(text, str(page), "exec"), names)
        printed = stream.getvalue()


def command_lines(page: Path) -> list[list[str]]:
    text = "".join(text for _, text in blocks(page, "bash")).replace("\\\n", " ")
    return [words for line in text.splitlines() if (words := shlex.split(line, comments=True))]


@SOURCES
def test_command_lines_parse(page):
    for words in command_lines(page):
        if "forgescope" not in words[:5] or words[0] in ("pip", "cd"):
            continue
        command, words = typer.main.get_command(app), words[words.index("forgescope") + 1 :]
        while hasattr(command, "commands"):
            # `annotate PAIRS` stands for `annotate run PAIRS`
            if words[0] not in command.commands and "run" in command.commands:
                words = ["run", *words]
            assert words[0] in command.commands, words
            command, words = command.commands[words[0]], words[1:]
        # parses and checks the arguments as a call would, without running the verb
        command.make_context(command.name, list(words))


@SOURCES
def test_make_targets_exist(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {words[1] for words in command_lines(page) if words[0] == "make"} <= targets


@SOURCES
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


def test_readme_comes_to_the_point():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert next(number for number, line in enumerate(lines, start=1) if line.startswith("make demo")) < 30
    assert next(number for number, line in enumerate(lines, start=1) if line == "```text") < 45


def test_readme_lists_every_model():
    from forgescope.auto import MODELS

    text = (ROOT / "README.md").read_text()
    for family in MODELS.values():
        assert family.task_model.__name__ in text
