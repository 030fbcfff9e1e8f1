"""Rows as JSON and as Markdown tables, each under a title that says how its numbers were computed."""

import contextlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .rows import Row

MISSING = "-"
PAPER = "paper"


@dataclass(frozen=True)
class Table:
    """Numbers that share one rule.

    Args:
        title: the rule in words.
        header: `source`, `n`, then the metrics, without the level that the title names; after a metric that a paper
            reports, `paper`.
        lines: one list of cells a source that has a number.
    """

    title: str
    header: list[str]
    lines: list[list[str]]


def to_tables(rows: Iterable[Row], *, intervals: bool = True) -> list[Table]:
    """Group rows by rule and lay each group out with one line a source and one column a metric.

    Args:
        rows: the numbers; those that are not defined leave an empty cell, sources without any have no line.
        intervals: add the bootstrap interval to each number.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(_title(row), []).append(row)
    tables = [source_table(title, group, intervals) for title, group in groups.items()]
    return [table for table in tables if table.lines]


def to_markdown(rows: Sequence[Row], notes: Sequence[str] = (), tables: Sequence[Table] | None = None) -> str:
    """Write notes (model, data, precision) and every table as Markdown; `tables` replace those of the rows."""
    parts = [f"- {note}" for note in notes]
    for table in to_tables(rows) if tables is None else tables:
        parts += ["", f"**{table.title}**", "", _line(table.header), _line(["---"] * len(table.header))]
        parts += [_line(cells) for cells in table.lines]
    return "\n".join(parts) + "\n"


def to_json(rows: Iterable[Row]) -> str:
    """Write one JSON list with one object a row; numbers that are not defined are null."""
    return json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a report whole or not at all.

    Raises:
        OSError: the folder is missing or the disk is full; an older report is left as it was.
    """
    target = Path(path)
    part = target.with_name(f".{target.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise OSError(f"cannot write {target}: {error.strerror or error}") from error


def _title(row: Row) -> str:
    level = row.metric.split("_")[0]
    if level == "image":
        parts = ["image level", f"class {row.classes}"]
    else:
        reduction = {"image": "mean over images", "batch": "mean over batches", "pooled": "counts pooled"}
        parts = ["pixel level", reduction[row.reduction]]
        parts += ["class forged" if row.classes == "forged" else "mean of both classes"]
        empty = {"skip": "left out", "zero": "0/0 counts 0", "one": "0/0 counts 1"}
        parts += [f"images without forgery: {empty[row.empty_rule]}"]
    threshold = f"{row.threshold:.4g}" if isinstance(row.threshold, float) else row.threshold
    parts += ["no threshold" if threshold is None else f"threshold {threshold}"]
    parts += [] if row.polarity == "normal" else [f"polarity {row.polarity}"]
    if row.border_ignore is not None:
        parts.append("border ignored: erode {}, dilate {}".format(*row.border_ignore))
    parts += [] if row.perturbation == "none" else [f"after {row.perturbation}"]
    return f"{row.protocol}: " + ", ".join(parts)


def source_table(title: str, rows: Sequence[Row], intervals: bool, first: str = "source") -> Table:
    """Lay rows out with one line a source and one column a metric, the paper's number behind each that has one.

    Args:
        title: the rule in words.
        rows: one number for each source and metric.
        intervals: add the bootstrap interval to each number.
        first: head of the first column.
    """
    reported = {row.metric for row in rows if row.paper_value is not None}
    metrics = list(dict.fromkeys(row.metric for row in rows))
    header = [first, "n"]
    for metric in metrics:
        header += [metric.split("_", 1)[1], PAPER] if metric in reported else [metric.split("_", 1)[1]]
    lines = []
    for source in dict.fromkeys(row.source for row in rows if row.value is not None):
        own = {row.metric: row for row in rows if row.source == source}
        images = max(row.n for row in own.values())
        cells = [source, str(images)]
        for metric in metrics:
            row = own.get(metric)
            cells.append(value_cell(row, images, intervals))
            if metric in reported:
                cells.append(MISSING if row is None or row.paper_value is None else f"{row.paper_value:.4f}")
        lines.append(cells)
    return Table(title, header, lines)


def value_cell(row: Row | None, images: int, intervals: bool = False) -> str:
    """Write a number, its interval if asked for, and its number of images where that is not the line's own."""
    if row is None or row.value is None:
        return MISSING
    text = f"{row.value:.4f}"
    if intervals and row.low is not None and row.high is not None:
        text += f" [{row.low:.3f}, {row.high:.3f}]"
    if row.n != images:
        text += f" (n = {row.n})"
    return text


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
