"""The rows of a run as one HTML page, which works without a network; its look is in templates/report.html."""

import html
from collections.abc import Sequence
from pathlib import Path

from .journal import Row, write_whole
from .page_template import fill_page, read_template
from .photograph_table import (
    SCRIPTS,
    STYLES,
    Entry,
    entry_of,
    histogram_of,
    optional_columns,
    photograph_table,
)
from .provenance_cell import PROVENANCE_LEGEND, credentials_not_looked_for
from .report_pictures import LAYERS, MOST_INLINED, link, pictures, thumbnail
from .results import ResultsFolder

FORGED_LEGEND = "Red marks the pixels that the model takes for forged."
EDITOR_LEGEND = (
    "A red line surrounds the pixels that the model takes for forged; the colour inside is that of the likeliest "
    "editor. Editors: their shares of these pixels."
)
PHRASE_LEGEND = "Numbers and colours mark the artifacts that the model names."
AI_LEGEND = (
    "Blue hatching with a blue outline marks those that it takes for AI-made; where it is the whole picture, the "
    "outline runs along the frame. In the masks, white is marked."
)


def write_html(results: ResultsFolder) -> Path:
    """Write report.html from all rows of a run.

    Args:
        results: the run; photographs and overlays are opened again for thumbnails, and with at most `MOST_INLINED`
            rows for the larger pictures too.

    Returns:
        Path of the page.

    Raises:
        OSError: it cannot be written.
    """
    rows, inlined = list(results.rows.values()), len(results.rows) <= MOST_INLINED
    entries = [_entry(row, results) for row in rows]
    found = {number: pictures(row, results.folder, inlined) for number, row in enumerate(rows) if row["error"] is None}
    columns, thresholds = optional_columns(rows, results.settings.get("editors", ())), _thresholds(rows)
    page = fill_page(
        "report.html",
        style=read_template("page.css", *STYLES),
        script=read_template(*SCRIPTS),
        count=str(len(rows)),
        model=html.escape(str(results.settings["model"])),
        precision=html.escape(str(results.settings["precision"])),
        rule=html.escape(str(results.settings["rule"])),
        legend=" ".join([*legends(rows, columns), credentials_not_looked_for(rows)]).strip(),
        histogram=histogram_of(entries, thresholds),
        photographs=photograph_table(entries, found, thresholds, columns),
    )
    return write_whole(results.folder / "report.html", page)


def legends(rows: Sequence[Row], columns: dict[str, bool]) -> list[str]:
    """Say what the colours mean of the overlays that a page has.

    Args:
        rows: of the page.
        columns: of `optional_columns`.
    """
    named = any(region.get("phrase") for row in rows for region in row.get("regions", ()))
    marks = any(row["forged_fraction"] is not None for row in rows)
    sentences = [EDITOR_LEGEND if columns["editors"] else PHRASE_LEGEND if named else FORGED_LEGEND] * marks
    sentences += [AI_LEGEND] * columns["ai"]
    return sentences + [PROVENANCE_LEGEND] * columns["provenance"]


def _thresholds(rows: list[Row]) -> dict[str, float] | None:
    """Those of all rows, for all have one rule; None from an earlier version, which wrote none."""
    return next((row["thresholds"] for row in rows if row.get("thresholds")), None)


def _entry(row: Row, results: ResultsFolder) -> Entry:
    """What the script reads of a row, with a thumbnail and links to its files."""
    files = {"Photograph": row["path"]} | {name: row.get(kind) for kind, name in LAYERS.items()}
    links = [(name, link(path, results.folder)) for name, path in files.items() if path]
    small = None if row["error"] is not None else thumbnail(row)
    return entry_of(row, results.settings.get("editors", ()), small, links)
