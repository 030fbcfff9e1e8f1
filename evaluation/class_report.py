"""Class maps as tables: the lines of the paper's table, each editor, images as a whole, and the confusion matrix."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .class_confusion import row_shares
from .class_rows import EDITORS, EVERY_CLASS, FORGED
from .edit_protocol import EditProtocol
from .report import MISSING, PAPER, Table, value_cell
from .rows import Row

NAMES = {
    "pixel_accuracy": "accuracy",
    "pixel_iou": "IoU",
    "pixel_boundary_f1": "boundary F1",
    "image_accuracy": "accuracy",
    "image_average_precision": "average precision",
    "image_recall": "recall",
    "image_false_alarm_rate": "false alarms",
}
REDUCTION_WORDS = {"pooled": "pooled", "image": "mean over images"}
PERCENT = 100


def edit_tables(rows: Sequence[Row], protocol: EditProtocol) -> list[Table]:
    """Lay out the rows of a protocol: first as the paper's table, then what it does not report.

    Args:
        rows: rows of the protocol, of one or several runs and checkpoints.
        protocol: the protocol.
    """
    if protocol.level == "images":
        return [_image_table(rows)]
    reported = [row for row in rows if protocol.is_reported(row)]
    editors = [row for row in rows if row.classes not in (EVERY_CLASS, EDITORS, FORGED)]
    rest = [row for row in rows if row not in reported and row not in editors]
    tables = [_table(f"{protocol.name}: {protocol.table}", reported)]
    if protocol.of_editor is None:
        tables.append(_table(f"{protocol.name}: each editor", editors, of_each_class=True))
    tables.append(_table(f"{protocol.name}: not in the paper", rest))
    return [table for table in tables if table.lines]


def confusion_table(title: str, confusion: NDArray[np.int64], classes: Sequence[str]) -> Table:
    """Lay out a confusion matrix in percent of each true class, with its number of pixels."""
    lines = []
    for name, shares, pixels in zip(classes, row_shares(confusion), confusion.sum(axis=1), strict=True):
        cells = [MISSING if np.isnan(share) else f"{share * PERCENT:.1f}" for share in shares]
        lines.append([name, str(pixels), *cells])
    return Table(f"{title}: what each true class was called, % of its pixels", ["true", "pixels", *classes], lines)


def _image_table(rows: Sequence[Row]) -> Table:
    shown = [row for row in rows if row.metric in NAMES and row.classes != "macro"]
    thresholds = {row.classes: row.threshold for row in shown if row.threshold is not None}
    rule = " or ".join(
        f"more than {threshold:.4g} of the pixels" if classes == FORGED else f"a score of {threshold:.4g}"
        for classes, threshold in thresholds.items()
    )
    return _table(f"{rows[0].protocol}: images as a whole, called edited by {rule}", shown)


def _table(title: str, rows: Sequence[Row], of_each_class: bool = False) -> Table:
    """One line a checkpoint, subset, run and, if asked for, class; the paper's number behind each that has one."""
    keys = ["source"]
    keys += [key for key in ("model", "perturbation") if len({getattr(row, key) for row in rows}) > 1]
    keys += ["classes"] * of_each_class
    columns = list(dict.fromkeys(_column(row) for row in rows))
    reported = {_column(row) for row in rows if row.paper_value is not None}
    lines: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        if row.value is not None:
            lines.setdefault(tuple(str(getattr(row, key)) for key in keys), {})[_column(row)] = row
    header = [{"classes": "editor"}.get(key, key) for key in keys] + ["n"]
    for column in columns:
        header += [column, PAPER] if column in reported else [column]
    cells = []
    for key, own in lines.items():
        images = max(row.n for row in own.values())
        line = [*key, str(images)]
        for column in columns:
            line.append(value_cell(own.get(column), images))
            if column in reported:
                value = own[column].paper_value if column in own else None
                line.append(MISSING if value is None else f"{value:.4f}")
        cells.append(line)
    return Table(title, header, cells)


def _column(row: Row) -> str:
    """Name of a number in a header, with what it depends on."""
    name = NAMES[row.metric]
    if row.metric.startswith("image_"):
        return name
    if row.metric == "pixel_accuracy":
        name += " of all pixels" if row.classes == EVERY_CLASS else " of edited pixels"
    elif row.classes == EDITORS:
        name = "mIoU" if row.metric == "pixel_iou" else name
    parts = [REDUCTION_WORDS[row.reduction], *([row.tolerance] if row.tolerance else [])]
    return f"{name} ({', '.join(parts)})"
