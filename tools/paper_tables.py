"""Fill the tables of docs/papers.md from the code: `python tools/paper_tables.py` rewrites the page in place.

A table stands between `<!-- table: SOURCE -->` and `<!-- end of table -->`. SOURCE is `package.module.Class`, a
configuration whose docstring says where a value is from, or `recipe NAME`, a file of trainers/recipes whose comments
say so. Its head may say what holds for lines without a comment: `recipe NAME; otherwise: published code`. A test fails
when the page is not what this script makes.
"""

import dataclasses
import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "papers.md"
RECIPES = ROOT / "trainers" / "recipes"
TABLE = re.compile(r"(<!-- table: (.+?)(?:; otherwise: (.+?))? -->\n).*?(<!-- end of table -->)", re.DOTALL)
HEAD = "| setting | value | where it is from |\n|---|---|---|\n"
# Where files go, and how fast: nothing of this decides what is learnt. Shown where the paper is quoted on it.
MACHINERY = re.compile(
    r"training\.(dataloader_num_workers|greater_is_better|logging_steps|report_to|tf32|activation_checkpointing|"
    r"per_device_eval_batch_size|eval_\w+|save_\w+|load_best_model_at_end|ddp_\w+)|data\.batch_size|tuning\.save|"
    r"data\.validation_rows"
)
# The decision about an image is forgescope's, the same for all models: docs/limits.md.
DECISION = ("forged_threshold", "false_alarm_rate", "calibration_images")
KEY = re.compile(r"^(?P<indent> *)(?P<key>[\w-]+):(?P<value>.*?)(?:\s+#\s*(?P<comment>.*))?$")
# `names (`type`, *optional*, defaults to ...):` as transformers has it, or `names: text`
ENTRY = re.compile(r"^(?P<names>\w+(?:, \w+)*)(?: \((?P<form>.*)\))?:(?: (?P<text>.*))?$")
DEFAULT = re.compile(r"defaults to (.+)$")
NO_DEFAULT = "to be given"
NOT_GIVEN = "*"  # at the end of a text: not given in the paper


class Line(NamedTuple):
    """One setting: its name, its value, and where that is from."""

    setting: str
    value: str
    source: str


def recipe_lines(text: str) -> list[Line]:
    """Settings of a recipe, with the comments that stand beside and directly above their values."""
    values, section, above = yaml.safe_load(text), "", []
    lines = []
    for line in text.splitlines():
        found = KEY.match(line)
        if line.lstrip().startswith("#"):
            above.append(line.strip(" #"))
        elif found and not found["indent"]:
            section, above = found["key"], []
        elif found and len(found["indent"]) == 2:
            comments = [*above, *filter(None, [found["comment"]])]
            value = values[section][found["key"]]
            lines.append(Line(f"{section}.{found['key']}", shown(value), " ".join(comments)))
            above = []
    return [line for line in lines if '"' in line.source or not MACHINERY.fullmatch(line.setting)]


def class_lines(source: type) -> list[Line]:
    """Settings of a configuration, with what its docstring says of them."""
    defaults = {field.name: default_of(field) for field in dataclasses.fields(source)}
    lines = []
    for names, form, text in entries(inspect.getdoc(source) or ""):
        values = [defaults[name] for name in names]
        if names[0] in DECISION or dataclasses.is_dataclass(values[0]):  # a section has a table of its own
            continue
        stated = DEFAULT.search(form)
        unset = all(value is None for value in values) and stated is not None
        value = stated[1] if unset and stated else ", ".join(dict.fromkeys(map(shown, values)))
        source_text = f"{text[:-1]} Not given in the paper." if text.endswith(NOT_GIVEN) else text
        lines.append(Line(", ".join(names), value, source_text))
    return lines


def entries(docstring: str) -> list[tuple[list[str], str, str]]:
    """Names, form and text of the entries below `Args:`."""
    found: list[tuple[list[str], str, str]] = []
    _, _, arguments = docstring.partition("Args:\n")
    for line in arguments.splitlines():
        if line and not line.startswith(" "):
            break
        entry = ENTRY.match(line[4:])
        if entry and not line[4:].startswith(" "):
            found.append((entry["names"].split(", "), entry["form"] or "", entry["text"] or ""))
        elif line.strip():
            names, form, text = found[-1]
            found[-1] = (names, form, f"{text} {line.strip()}".strip())
    return found


def default_of(field: dataclasses.Field) -> Any:
    """Default of a field."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return NO_DEFAULT if field.default is dataclasses.MISSING else field.default


def shown(value: Any) -> str:
    """A value as a reader of YAML writes it."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return ", ".join(shown(one) for one in value)
    if isinstance(value, dict):
        return ", ".join(f"{key}: {shown(one)}" for key, one in value.items())
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}"


def table(source: str, otherwise: str = "") -> str:
    """The table of one source; lines that say nothing of where they are from say `otherwise`."""
    kind, _, name = source.rpartition(" ")
    if kind == "recipe":
        lines = recipe_lines((RECIPES / f"{name}.yaml").read_text(encoding="utf-8"))
    else:
        module, _, attribute = source.rpartition(".")
        lines = class_lines(getattr(import_module(module), attribute))
    rows = [(line.setting, line.value, line.source or otherwise) for line in lines]
    return HEAD + "".join(f"| `{setting}` | {value} | {source} |\n" for setting, value, source in rows)


def filled(page: str) -> str:
    """The page with its tables made anew."""
    return TABLE.sub(lambda found: found[1] + table(found[2], found[3] or "") + found[4], page)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
