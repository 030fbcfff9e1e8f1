"""Found artifacts as tables, each under the rule of its numbers: targets, reduction, masks, empty images."""

from collections.abc import Sequence
from dataclasses import replace

from .grounded_protocol import GroundedRow
from .report import Table, source_table

REDUCTION_WORDS = {"image": "mean over images", "dataset": "counts of the data set added"}
TARGET_WORDS = {"union": "one mask an image (union)", "per_phrase": "one mask a phrase (per_phrase)"}
EMPTY_WORDS = {"skip": "left out", "zero": "0/0 counts 0", "one": "0/0 counts 1"}
HEADERS = {
    ("pixel_iou", "macro"): "mIoU",
    ("pixel_iou", "forged"): "IoU",
    ("pixel_f1", "forged"): "F1",
    ("text_rouge_l", "all"): "ROUGE-L",
    ("text_css", "all"): "CSS",
    ("text_missing", "all"): "without text",
}


def grounded_tables(rows: Sequence[GroundedRow]) -> list[Table]:
    """Lay out rows: one table a rule, one line a perturbation where there are several, else one line in all."""
    groups: dict[str, list[GroundedRow]] = {}
    for row in rows:
        groups.setdefault(_title(row), []).append(row)
    damaged = len({row.perturbation for row in rows}) > 1
    tables = []
    for title, group in groups.items():
        # `source_table` writes what follows the first _ of a metric
        shown = [replace(row, metric=f"_{HEADERS[row.metric, row.classes]}") for row in group]
        if damaged:
            shown = [replace(row, source=row.perturbation) for row in shown]
        tables.append(source_table(title, shown, False, first="perturbation" if damaged else "source"))
    return [table for table in tables if table.lines]


def _title(row: GroundedRow) -> str:
    parts = [REDUCTION_WORDS[row.reduction]]
    if row.targets is None:
        parts += [f"texts cleaned up: {row.cleaning}", "images without a text count 0"]
    else:
        parts = [TARGET_WORDS[row.targets], *parts, f"masks by {row.rasterizer}"]
        parts += [f"phrases paired by {row.matching}"] if row.matching else []
        parts.append(f"images without artifact: {EMPTY_WORDS[row.empty_rule]}")
        parts.append("masks as given" if row.threshold is None else f"threshold {row.threshold:g}")
    return f"{row.protocol}: " + ", ".join(parts)
