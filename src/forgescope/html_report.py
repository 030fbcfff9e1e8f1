"""The rows of a run as one HTML page, which works without a network; its look is in templates/report.*."""

import html
from collections import Counter
from pathlib import Path
from typing import Any

from forgescope.construction.promptforge.review_page import json_in_html

from .editor_maps import share_text
from .journal import Row, write_whole
from .overlay import editor_color
from .page_template import fill_page, read_template
from .phrase_overlay import phrase_color
from .provenance_cell import PROVENANCE_LEGEND, credentials_not_looked_for, provenance_cell
from .report_pictures import LAYERS, MOST_INLINED, link, pictures, thumbnail
from .results import ResultsFolder
from .score_histogram import histogram_svg

VERDICTS = ("forged", "inconclusive", "authentic", "failed")
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
    rows = list(results.rows.values())
    entries = [{"id": number} | _entry(row, results) for number, row in enumerate(rows)]
    inside = _pictures(rows, entries, results.folder)
    page = fill_page(
        "report.html",
        style=read_template("page.css", "report.css"),
        script=read_template("report.js", "report_photograph.js"),
        count=str(len(rows)),
        model=html.escape(str(results.settings["model"])),
        precision=html.escape(str(results.settings["precision"])),
        rule=html.escape(str(results.settings["rule"])),
        legend=_legend(rows, results),
        histogram=_histogram(rows),
        filters=_filters(rows),
        pictures=inside,
        data=json_in_html(
            {"with": _optional_columns(rows, results), "thresholds": _thresholds(rows), "rows": entries}
        ),
    )
    return write_whole(results.folder / "report.html", page)


def _verdict(row: Row) -> str:
    return "failed" if row["error"] is not None else row["verdict"]


def _legend(rows: list[Row], results: ResultsFolder) -> str:
    columns = _optional_columns(rows, results)
    named = any(region.get("phrase") for row in rows for region in row.get("regions", ()))
    sentences = [EDITOR_LEGEND if columns["editors"] else PHRASE_LEGEND if named else FORGED_LEGEND]
    sentences += [AI_LEGEND if columns["ai"] else "", PROVENANCE_LEGEND if columns["provenance"] else ""]
    sentences += [credentials_not_looked_for(rows)]
    return " ".join(sentence for sentence in sentences if sentence)


def _optional_columns(rows: list[Row], results: ResultsFolder) -> dict[str, bool]:
    return {
        "ai": any(row.get("ai_mask") for row in rows),
        "editors": bool(results.settings.get("editors")),
        "explanation": any(row.get("explanation") for row in rows),
        "provenance": any((row.get("provenance") or {}).get("summary") for row in rows),
    }


def _thresholds(rows: list[Row]) -> dict[str, float] | None:
    """Those of all rows, for all have one rule; None from an earlier version, which wrote none."""
    return next((row["thresholds"] for row in rows if row.get("thresholds")), None)


def _histogram(rows: list[Row]) -> str:
    scored = [row for row in rows if row["error"] is None]
    if not scored:
        return ""
    drawing = histogram_svg([(row["score"], row["verdict"]) for row in scored], _thresholds(rows))
    return f'<figure class="histogram"><figcaption>Scores</figcaption>{drawing}</figure>'


def _filters(rows: list[Row]) -> str:
    counts = Counter(map(_verdict, rows))
    return "\n".join(
        f'<label><input type="checkbox" value="{name}" checked> <span class="badge {name}">{name}</span> '
        f"{counts[name]}</label>"
        for name in VERDICTS
        if counts[name]
    )


def _entry(row: Row, results: ResultsFolder) -> dict[str, Any]:
    """What the script reads of a row."""
    small = None if row["error"] is not None else thumbnail(row)
    provenance, views = row.get("provenance"), row.get("views", ())
    files = {"Photograph": row["path"]} | {name: row.get(kind) for kind, name in LAYERS.items()}
    return {
        "path": row["path"],
        "verdict": _verdict(row),
        "error": row["error"],
        "score": row["score"],
        "forged": row["forged_fraction"],
        "ai": row.get("ai_fraction"),
        "width": row.get("width"),
        "height": row.get("height"),
        "editors": _editors(row, results),
        "regions": [_region(region) for region in row.get("regions", ())],
        "explanation": row.get("explanation"),
        "views": [{key: view[key] for key in ("model", "verdict", "score", "forged_fraction")} for view in views],
        "origin": (provenance or {}).get("summary") or None,
        "provenance": provenance_cell(provenance) if provenance else None,
        "notes": list(row.get("notes", ())),
        "files": [[name, link(path, results.folder)] for name, path in files.items() if path],
        "thumbnail": small and small[0],
        "thumbnail_size": small and small[1],
    }


def _region(region: dict[str, Any]) -> dict[str, Any]:
    """A region of a row; those with a number, with their colour in the overlay."""
    number = region.get("number")
    return region | {"color": None if number is None else _hexadecimal(phrase_color(number))}


def _pictures(rows: list[Row], entries: list[dict[str, Any]], folder: Path) -> str:
    """Elements with the pictures of each photograph; none of a large page, whose entries get their addresses."""
    inlined = len(rows) <= MOST_INLINED
    elements = []
    for row, entry in zip(rows, entries, strict=True):
        if row["error"] is not None:
            continue
        found = pictures(row, folder, inlined)
        if inlined:
            # an element a photograph, which is read when that is opened
            content = json_in_html(found)
            elements.append(f'<script type="application/json" id="pictures-{entry["id"]}">{content}</script>')
        else:
            entry["pictures"] = found
    return "\n".join(elements)


def _editors(row: Row, results: ResultsFolder) -> list[tuple[str, str, str]]:
    """Name, colour in the overlay and share of each editor of the marked pixels."""
    editors = list(results.settings.get("editors", ()))
    shares = (row.get("attribution") or {}).items()
    colors = {name: _hexadecimal(editor_color(editors.index(name) + 1)) for name, _ in shares}
    return [(name, colors[name], share_text(share)) for name, share in shares]


def _hexadecimal(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
