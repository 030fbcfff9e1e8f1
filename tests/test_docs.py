"""What README and docs promise: every Python block runs, every command line parses, every link leads somewhere.

A block that cannot be run here has `<!-- not run: reason -->` above it. A block `text` is what the block before it
prints, of Python or of a script of examples/.
"""

import io
import re
import runpy
import shlex
import sys
from collections import Counter
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path

import pytest
import typer

from forgescope.cli import app

ROOT = Path(__file__).parents[1]
NAMED = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "examples/README.md")
PAGES = sorted([*(ROOT / name for name in NAMED), *(ROOT / "docs").rglob("*.md")])
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


def run_examples(text: str) -> str | None:
    """What the scripts of examples/ print that a block of commands calls; None where it calls none."""
    calls = [words[1:] for words in split_lines(text) if words[0] == "python" and words[1].startswith("examples/")]
    stream = io.StringIO()
    for script, *arguments in calls:
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(stream):
            patch.setattr(sys, "argv", [script, *arguments])
            with pytest.raises(SystemExit) as stop:
                runpy.run_path(script, run_name="__main__")
        assert stop.value.code in (0, None)
    return stream.getvalue() if calls else None


@SOURCES
def test_blocks_run_in_order(page, tmp_path, monkeypatch):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "__main__"}
    printed: str | None = None
    for language, text in blocks(page, "python", "bash", "text"):
        if language == "bash":
            printed = run_examples(text)
        elif language == "python":
            with redirect_stdout(io.StringIO()) as stream:
                exec(compile(text, str(page), "exec"), names)
            printed = stream.getvalue()
        elif printed is not None:
            assert_same_output(printed, text)


def split_lines(text: str) -> list[list[str]]:
    """The words of every command of a block."""
    lines = text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def command_lines(page: Path) -> list[list[str]]:
    return split_lines("".join(text for _, text in blocks(page, "bash")))


@SOURCES
def test_command_lines_parse(page):
    for words in command_lines(page):
        if words[0] != "forgescope" and ["-m", "forgescope"] not in [words[at : at + 2] for at in range(len(words))]:
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


def test_the_demo_names_its_pictures_and_ends_with_what_a_score_means():
    rule = re.search(r"^demo:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert "$(DEMO_OUT)/overlays/" in rule
    page = re.search(r"(docs/\w+\.md)\"$", rule.splitlines()[-1])[1]
    assert (ROOT / page).read_text().startswith("# What a score means")


@SOURCES
def test_scripts_and_tests_of_command_lines_exist(page):
    words = [
        word for line in command_lines(page) if line[0] in ("python", "pytest", "accelerate") for word in line[1:]
    ]
    named = [word for word in words if re.match(r"(benchmarks|examples|tests|tools)/", word)]
    assert [word for word in named if not (ROOT / word).exists()] == []


@cache
def anchors(page: Path) -> dict[str, int]:
    """Anchors of a page's headings that GitHub and mkdocs make alike, and how often."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = [re.sub(r"[^\w\s-]", "", title).strip().lower() for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]
    github = Counter(title.replace(" ", "-") for title in titles)
    mkdocs = Counter(re.sub(r"[-\s]+", "-", title) for title in titles)
    return {name: number for name, number in github.items() if mkdocs[name] == number}


@SOURCES
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    wrong = []
    for link in re.findall(r"\]\(([^)\s]+)", text):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchors(target.resolve()).get(anchor) != 1):
            wrong.append(link)
    assert wrong == []


def test_readme_comes_to_the_point():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert next(number for number, line in enumerate(lines, start=1) if line.startswith("make demo")) < 30
    assert next(number for number, line in enumerate(lines, start=1) if line == "```text") < 45


def test_readme_lists_every_model():
    from forgescope.auto import MODELS

    text = (ROOT / "README.md").read_text()
    for family in MODELS.values():
        assert family.task_model.__name__ in text
