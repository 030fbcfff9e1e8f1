"""An evaluation as one HTML page, which works without a network; its look is in templates/evaluation.*."""

import base64
import html
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TypeAlias

from forgescope.evaluation.report import PAPER, Table
from forgescope.evaluation.rows import CUSTOM, Row

from .page_template import fill_page, read_template
from .photograph_table import SCRIPTS, STYLES

# First columns of the table of all numbers; the other fields of the rows follow.
COLUMNS = {
    "protocol": "Protocol",
    "source": "Source",
    "metric": "Metric",
    "value": "Ours",
    "paper_value": "Paper",
    "difference": "Ours - paper",
    "interval": "95 % interval",
    "n": "n",
    "reduction": "Reduction",
    "classes": "Classes",
    "empty_rule": "Empty rule",
    "threshold": "Threshold",
}
# A column is left out where all rows have this value, or, not named here, none; that of the protocol where it is one.
USUAL = {"polarity": "normal", "perturbation": "none"}
DIGITS = 4
# Text, and the number that it is sorted by, of a cell.
Cell: TypeAlias = tuple[str, str | None]


def evaluation_page(
    notes: Sequence[str], tables: Sequence[Table], rows: Sequence[Row], charts: Sequence[bytes], photographs: str = ""
) -> bytes:
    """Put a page together.

    Args:
        notes: sentences on what was measured, and on what the page lacks.
        tables: numbers laid out, each under its rule.
        rows: all numbers.
        charts: SVG pictures.
        photographs: section of the images, see `ImageBook`; empty: none.

    Returns:
        The page, UTF-8.
    """
    names = [name for name in dict.fromkeys(row.protocol for row in rows) if name != CUSTOM]
    title = ": ".join(["forgescope evaluation", *([", ".join(names)] if names else [])])
    return fill_page(
        "evaluation.html",
        style=read_template("page.css", *STYLES, "evaluation.css"),
        script=read_template("evaluation.js", *(SCRIPTS if photographs else ())),
        title=html.escape(title),
        notes="".join(f"<li>{html.escape(note)}</li>" for note in notes),
        charts="".join(map(_chart, charts)),
        tables="".join(
            _table(one.title, one.header, [[_laid_out(text) for text in line] for line in one.lines]) for one in tables
        ),
        photographs=photographs,
        count=str(len(rows)),
        rows=_row_table(rows),
    )


def _chart(picture: bytes) -> str:
    address = base64.b64encode(picture).decode("ascii")
    return f'<img alt="Chart of the numbers below" src="data:image/svg+xml;base64,{address}">'


def _laid_out(text: str) -> Cell:
    """A cell that is sorted by its first word, if that is a number, as in `0.9123 [0.85, 0.95]`."""
    try:
        return text, str(float(text.split()[0].rstrip("%")))
    except (ValueError, IndexError):
        return text, None


def _row_table(rows: Sequence[Row]) -> str:
    """One line a number, with every setting that is not the same usual one in all rows."""
    values = [_with_difference(row) for row in rows]
    columns = COLUMNS | {
        name: name.replace("_", " ").capitalize() for one in values for name in one if name not in COLUMNS
    }
    usual = USUAL | {"protocol": rows[0].protocol if rows else ""}
    shown = [name for name in columns if any(one.get(name) != usual.get(name) for one in values)]
    return _table("", [columns[name] for name in shown], [[_cell(one.get(name)) for name in shown] for one in values])


def _with_difference(row: Row) -> dict[str, Any]:
    values = asdict(row)
    low, high = values.pop("low"), values.pop("high")
    values["interval"] = None if low is None or high is None else f"{low:.3f} to {high:.3f}"
    values["difference"] = None
    if row.value is not None and row.paper_value is not None:
        values["difference"] = row.value - row.paper_value
    if row.border_ignore is not None:
        values["border_ignore"] = "erode {}, dilate {}".format(*row.border_ignore)
    return values


def _cell(value: Any) -> Cell:
    if isinstance(value, int | float):
        return (f"{value:.{DIGITS}f}" if isinstance(value, float) else str(value)), repr(value)
    return ("" if value is None else str(value)), None


def _table(title: str, header: Sequence[str], lines: Sequence[Sequence[Cell]]) -> str:
    """A table whose columns are sorted by a click; those with a number in some line are columns of numbers."""
    numeric = [any(line[place][1] is not None for line in lines) for place in range(len(header))]
    heads = "".join(
        f'<th{_kind(is_number, name)}><button type="button">{html.escape(name)}</button></th>'
        for name, is_number in zip(header, numeric, strict=True)
    )
    body = "\n".join(
        "<tr>"
        + "".join(
            f"<td{_kind(is_number, name)}{_key(key)}>{html.escape(text)}</td>"
            for (text, key), name, is_number in zip(line, header, numeric, strict=True)
        )
        + "</tr>"
        for line in lines
    )
    caption = f"<caption>{html.escape(title)}</caption>" if title else ""
    return (
        f'<div class="wide"><table>{caption}<thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody></table></div>\n'
    )


def _kind(is_number: bool, name: str) -> str:
    kinds = [*(["number"] if is_number else []), *(["paper"] if name.lower() == PAPER else [])]
    return f' class="{" ".join(kinds)}"' if kinds else ""


def _key(key: str | None) -> str:
    return "" if key is None else f' data-key="{key}"'
