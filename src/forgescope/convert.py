"""Authors' checkpoints become ours: a table of names, applied strictly, with a report of every tensor."""

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch

from forgescope.convert_weights import LazyTensor

CONFIG_FILE = "config.json"
REPORT_FILE = "conversion_report.json"
NAMES_IN_MESSAGE = 3
NOT_STORED = "computed, not stored by transformers 5"  # why such a buffer is dropped


@dataclass(frozen=True)
class Rule:
    r"""What becomes of the tensors whose whole name fits a pattern.

    Args:
        pattern: regular expression.
        names: new names, with `\1`, ... for groups of the pattern; none: the tensor is dropped.
        why: the part of the model it belongs to; for a dropped tensor, the reason.
        split: whether the tensor is cut along its first axis into one piece a name, or each name gets all of it.
    """

    pattern: str
    names: tuple[str, ...]
    why: str
    split: bool = False


@dataclass(frozen=True)
class Source:
    """Tensors that come from one place, with the table for them; the first rule that fits is taken.

    Args:
        name: how the report calls the place.
        weights: tensors by their original names.
        rules: the table.
        prefix: taken off each name where it is there, before the rules are asked.
    """

    name: str
    weights: Mapping[str, LazyTensor]
    rules: Sequence[Rule]
    prefix: str = ""


class KeyRow(NamedTuple):
    """What became of one tensor of a source: `status` is used, dropped or unexpected (no rule, or no such name)."""

    source: str
    key: str
    status: str
    names: tuple[str, ...]
    why: str


class NewTensor(NamedTuple):
    """A tensor that no source has, and where its values come from."""

    tensor: LazyTensor
    why: str


class WrongShape(NamedTuple):
    """A tensor that does not fit its place."""

    name: str
    expected: tuple[int, ...]
    found: tuple[int, ...]


@dataclass
class ConversionReport:
    """What became of every tensor.

    Args:
        rows: each tensor of each source, once.
        added: name -> origin of the tensors that no source has.
        missing: names of the model that nothing fills.
        twice: names of the model that several tensors would fill.
        wrong_shape: tensors that do not fit.
        notes: what a reader should know besides.
    """

    rows: list[KeyRow] = field(default_factory=list)
    added: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    wrong_shape: list[WrongShape] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def check(self, hint: str = "") -> None:
        """Raise one ValueError that names everything that does not fit; nothing when all does.

        Args:
            hint: what to do when names are missing.
        """
        unexpected = [f"{row.key} ({row.source})" for row in self.rows if row.status == "unexpected"]
        shapes = [f"{one.name} (expected {one.expected}, got {one.found})" for one in self.wrong_shape]
        found = {
            "missing": self.missing,
            "unexpected": unexpected,
            "given twice": self.twice,
            "of another shape": shapes,
        }
        problems = [f"{len(names)} {kind}: {_first(names)}" for kind, names in found.items() if names]
        if hint and self.missing:
            problems.append(hint)
        if problems:
            raise ValueError(f"the weights do not fit the model, nothing is written; {'; '.join(problems)}")

    def table(self) -> list[tuple[str, str, str, str]]:
        """Rows (status, source, number of tensors, part of the model or reason), equal ones counted together."""
        counted = Counter((row.status, row.source, row.why) for row in self.rows)
        counted.update(("added", "", why) for why in self.added.values())
        return [(status, source, str(number), why) for (status, source, why), number in counted.items()]

    def write(self, folder: Path) -> Path:
        """Write `conversion_report.json`: the fields of this class, with each row as an object."""
        content = dataclasses.asdict(self) | {
            "rows": [row._asdict() for row in self.rows],
            "wrong_shape": [one._asdict() for one in self.wrong_shape],
        }
        file = folder / REPORT_FILE
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return file


def rename_weights(source: Source) -> dict[str, LazyTensor]:
    """Tensors of a source by their new names, without those that are dropped or that no rule fits."""
    renamed = {}
    for key, tensor in source.weights.items():
        rule, names = _apply(source, key)
        for index, name in enumerate(names):
            renamed[name] = _piece(tensor, index, len(names)) if rule is not None and rule.split else tensor
    return renamed


def plan_conversion(
    sources: Sequence[Source], target: Mapping[str, Sequence[int]], new: Mapping[str, NewTensor] | None = None
) -> tuple[dict[str, LazyTensor], ConversionReport]:
    """Decide where each tensor of a model comes from; nothing is read.

    Args:
        sources: the places, with their tables.
        target: shapes of the model's state dict by name.
        new: tensors for names that no source fills.

    Returns:
        Tensors of the model by name, and the report; call its `check` before the tensors are used.
    """
    report, filled = ConversionReport(), {}
    for source in sources:
        for key, tensor in source.weights.items():
            rule, names = _apply(source, key)
            if rule is None or any(name not in target for name in names):
                why = f"the model has no {names[0]}" if names else "no rule for this name"
                report.rows.append(KeyRow(source.name, key, "unexpected", names, why))
                continue
            report.rows.append(KeyRow(source.name, key, "used" if names else "dropped", names, rule.why))
            for index, name in enumerate(names):
                if name in filled:
                    report.twice.append(name)
                filled[name] = _piece(tensor, index, len(names)) if rule.split else tensor
    for name, (tensor, why) in (new or {}).items():
        if name in target and name not in filled:
            filled[name], report.added[name] = tensor, why
    report.missing = [name for name in target if name not in filled]
    for name, tensor in filled.items():
        if tensor.shape != tuple(target[name]):
            report.wrong_shape.append(WrongShape(name, tuple(target[name]), tensor.shape))
    return filled, report


def initialised(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights and buffers of a module on the meta device, each layer initialised as its class does."""
    module.to_empty(device="cpu")
    for layer in module.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    return module.state_dict()


def _apply(source: Source, key: str) -> tuple[Rule | None, tuple[str, ...]]:
    """First rule that fits a name, and the new names."""
    inner = key.removeprefix(source.prefix)
    for rule in source.rules:
        found = re.fullmatch(rule.pattern, inner)
        if found:
            return rule, tuple(found.expand(name) for name in rule.names)
    return None, ()


def _piece(tensor: LazyTensor, index: int, number: int) -> LazyTensor:
    """One of `number` equal pieces along the first axis."""
    rows = tensor.shape[0] // number
    shape = (rows, *tensor.shape[1:]) if rows * number == tensor.shape[0] else tensor.shape
    return LazyTensor(shape, lambda: tensor.load()[index * rows : (index + 1) * rows], tensor.dtype)


def _first(names: Sequence[str]) -> str:
    """The first names of a list."""
    more = len(names) - NAMES_IN_MESSAGE
    return ", ".join(names[:NAMES_IN_MESSAGE]) + (f" and {more} more" if more > 0 else "")


__all__ = [
    "CONFIG_FILE",
    "NOT_STORED",
    "REPORT_FILE",
    "ConversionReport",
    "KeyRow",
    "NewTensor",
    "Rule",
    "Source",
    "initialised",
    "plan_conversion",
    "rename_weights",
]
