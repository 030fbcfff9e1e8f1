"""docs/cli.md is what tools/cli_reference.py makes of the verbs."""

import importlib.util
import re

import pytest
import typer

from forgescope.cli import app


@pytest.fixture(scope="module")
def tool(repository):
    spec = importlib.util.spec_from_file_location("cli_reference", repository / "tools" / "cli_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(tool):
    page = tool.PAGE.read_text(encoding="utf-8")
    assert page == tool.updated(page), "the verbs have changed: run python tools/cli_reference.py"


def test_every_verb_and_option_has_its_line(tool):
    text = tool.reference()

    def walk(command, path):
        if hasattr(command, "commands"):
            for name, inner in command.commands.items():
                yield from walk(inner, f"{path} {name}")
        else:
            yield path, command

    for path, command in walk(typer.main.get_command(app), "forgescope"):
        title = path.replace("annotate run", "annotate PAIRS")
        (part,) = re.findall(rf"^#+ {re.escape(title)}\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
        for option in (one for one in command.params if one.param_type_name == "option" and not one.hidden):
            assert re.search(rf"^\| `[^`]*{option.opts[-1]}\b", part, re.MULTILINE) or option.name == "help"


@pytest.mark.parametrize(
    "line",
    [
        "| `PATH...` | required | Image files, folders or patterns. |",
        "| `--recursive / --no-recursive` | on | Descend into folders of folders. |",
        "| `--out PATH` | `forgescope-report` | Folder for report, masks and overlays. |",
        "| `-o --option KEY=VALUE` |  | Option of the corpus; repeatable. |".replace("-o --", "-o / --"),
        "| `--real PATH` |  | With --protocol: photographs, where its data are fake images only. |",
    ],
)
def test_forms_of_lines(tool, line):
    assert line in tool.reference().splitlines()


def test_the_old_name_of_an_option_is_not_shown(tool):
    assert "--output" not in tool.reference()


def test_a_page_without_markers_is_refused(tool):
    with pytest.raises(ValueError, match="the page has no <!-- made by"):
        tool.updated("# Command line\n")
