"""Fill docs/cli.md from the command line itself: `python tools/cli_reference.py` rewrites the page in place.

Everything between the two markers is made of the verbs' own help. A test fails when the page is not what this script
makes.
"""

import inspect
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

import typer

from forgescope.cli import VERBS, app

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "cli.md"
BEGIN, END = "<!-- made by tools/cli_reference.py -->\n", "<!-- end of what is made -->\n"
EXAMPLE = "Example: "
HEAD = "| argument or option | default | meaning |\n|---|---|---|"
PLACEHOLDERS: dict[Any, str] = {Path: "PATH", int: "N", float: "NUMBER", str: "TEXT"}


def reference() -> str:
    """Text between the markers: a table of the verbs, then each verb with its options."""
    root = typer.main.get_command(app)
    lines = ["| verb | what it does |", "|---|---|"]
    lines += [f"| [`{name}`](#forgescope-{name}) | {VERBS[name]} |" for name in root.list_commands(None)]
    for name in root.list_commands(None):
        lines += _describe(root.commands[name], f"forgescope {name}", "##")
    return "\n".join(lines) + "\n"


def updated(page: str) -> str:
    """The page with its generated part made anew.

    Raises:
        ValueError: it lacks a marker.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN.strip()} and {END.strip()}: put them where the verbs shall stand")
    return f"{before}{begin}\n{reference()}\n{end}{after}"


def _describe(command: Any, name: str, level: str) -> Iterator[str]:
    yield f"\n{level} {name}\n"
    if hasattr(command, "commands"):
        yield _text(command.help)
        for inner in command.list_commands(None):
            # `annotate PAIRS` stands for `annotate run PAIRS`
            title = name if inner == "run" else f"{name} {inner}"
            yield from _describe(command.commands[inner], f"{title} PAIRS" if inner == "run" else title, f"{level}#")
        return
    for paragraph in inspect.cleandoc(command.help).split("\n\n"):
        line = " ".join(paragraph.split())
        yield f"```bash\n{line.removeprefix(EXAMPLE)}\n```\n" if line.startswith(EXAMPLE) else f"{_text(line)}\n"
    annotations = inspect.signature(command.callback).parameters
    yield HEAD
    for one in command.params:
        if not one.hidden and one.name in annotations:
            # what was declared, for some versions of typer lose the help of arguments
            kind, declared = get_args(annotations[one.name].annotation)[:2]
            yield f"| `{_named(one, kind, declared)}` | {_default(one, declared)} | {_text(declared.help)} |"


def _named(parameter: Any, annotation: Any, declared: Any) -> str:
    """`--option VALUE`, `--flag / --no-flag`, or `ARGUMENT`."""
    repeated, kind = _kind(annotation)
    if parameter.param_type_name == "argument":
        name = declared.metavar or parameter.name.upper()
        return name + "..." * repeated
    names = " / ".join([*sorted(parameter.opts, key=len), *parameter.secondary_opts])
    if kind is bool:
        return names
    if isinstance(kind, type) and issubclass(kind, Enum):
        placeholder = "{" + ",".join(str(one.value) for one in kind) + "}"
    else:
        placeholder = PLACEHOLDERS[kind]
    return f"{names} {declared.metavar or placeholder}"


def _kind(annotation: Any) -> tuple[bool, Any]:
    """Whether several values may be given, and the type of one."""
    if get_origin(annotation) is UnionType:
        (annotation,) = (one for one in get_args(annotation) if one is not NoneType)
    if get_origin(annotation) is list:
        return True, get_args(annotation)[0]
    return False, annotation


def _default(parameter: Any, declared: Any) -> str:
    if parameter.required:
        return "required"
    if isinstance(declared.show_default, str):
        return _text(declared.show_default)
    value = parameter.default
    if value is None or value is False:
        return ""
    if value is True:
        return "on"
    return f"`{value.value if isinstance(value, Enum) else value}`"


def _text(help_: str) -> str:
    """Text as Markdown shows it unchanged, also in a table."""
    return " ".join(help_.split()).replace("<", "&lt;").replace("|", "\\|")


def main() -> None:
    """Rewrite the page."""
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(updated(page), encoding="utf-8")
    print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
