"""The photographs of a page: what its script reads of each, and the markup around their table.

The script, templates/photographs.js, shows a column where an entry has a value for it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from forgescope.construction.promptforge.review_page import json_in_html

from .editor_maps import share_text
from .journal import Row
from .overlay import editor_color
from .page_template import fill_template
from .phrase_overlay import phrase_color
from .provenance_cell import provenance_cell
from .score_histogram import histogram_svg

VERDICTS = ("forged", "inconclusive", "authentic", "failed")
# Style and script of the table, in pages that have one.
STYLES, SCRIPTS = ("photographs.css",), ("photographs.js", "photograph.js")
# What lies over a photograph, or where the photograph is: `photo`, an address, and `layers`, each with `kind`, `name`
# and `source`.
Pictures = dict[str, Any]
Entry = dict[str, Any]


def entry_of(
    row: Row,
    editors: Sequence[str] = (),
    thumbnail: tuple[str, tuple[int, int]] | None = None,
    files: Sequence[tuple[str, str]] = (),
) -> Entry:
    """Say what the script reads of a row.

    Args:
        row: of the journal, or of `ForgeryReport.to_dict`; `error` is None unless it failed.
        editors: that the checkpoint tells apart.
        thumbnail: data address, and width and height in pixels.
        files: names and addresses of links.
    """
    provenance = row.get("provenance")
    return {
        "path": row["path"],
        "verdict": "failed" if row["error"] is not None else row["verdict"],
        "error": row["error"],
        "score": row["score"],
        "forged": row["forged_fraction"],
        "ai": row.get("ai_fraction"),
        "width": row.get("width"),
        "height": row.get("height"),
        "editors": _editors(row, list(editors)),
        "regions": [_region(region) for region in row.get("regions", ())],
        "explanation": row.get("explanation"),
        "views": [
            {key: view[key] for key in ("model", "verdict", "score", "forged_fraction")}
            for view in row.get("views", ())
        ],
        "origin": (provenance or {}).get("summary") or None,
        "provenance": provenance_cell(provenance) if provenance else None,
        "notes": list(row.get("notes", ())),
        "files": [list(one) for one in files],
        "thumbnail": thumbnail and thumbnail[0],
        "thumbnail_size": thumbnail and thumbnail[1],
    }


def photograph_table(
    entries: Sequence[Entry],
    pictures: Mapping[int, Pictures],
    thresholds: dict[str, float] | None,
    columns: dict[str, bool],
    filters: str = "",
) -> str:
    """Write the table, its tools, and the dialog of a photograph.

    Args:
        entries: of `entry_of`.
        pictures: of entries, by their place. Those that the page holds are elements of their own, which are read when
            a photograph is opened.
        thresholds: `authentic` and `forged`; None: not known.
        columns: `ai`, `editors`, `explanation` and `provenance`: whether the page has them.
        filters: further markup among the tools.

    Returns:
        Markup, for a page that has `STYLES` and `SCRIPTS`.
    """
    elements, rows = [], []
    for number, entry in enumerate(entries):
        found, linked = pictures.get(number), {}
        if found is not None and is_inlined(found):
            content = json_in_html(found)
            elements.append(f'<script type="application/json" id="pictures-{number}">{content}</script>')
        elif found is not None:
            linked = {"pictures": found}
        rows.append({"id": number} | entry | linked)
    return fill_template(
        "photographs.html",
        filters=_verdict_filters(entries) + filters,
        pictures="\n".join(elements),
        data=json_in_html({"with": columns, "thresholds": thresholds, "rows": rows}),
    )


def is_inlined(pictures: Pictures) -> bool:
    """Whether the page holds all pictures of a photograph."""
    sources = [pictures["photo"], *(layer["source"] for layer in pictures["layers"])]
    return all(source is None or source.startswith("data:") for source in sources)


def histogram_of(entries: Sequence[Entry], thresholds: dict[str, float] | None) -> str:
    """Draw the scores; empty where there are none."""
    scores = [(entry["score"], entry["verdict"]) for entry in entries if entry["score"] is not None]
    if not scores:
        return ""
    drawing = histogram_svg(scores, thresholds)
    return f'<figure class="histogram"><figcaption>Scores</figcaption>{drawing}</figure>'


def optional_columns(rows: Sequence[Row], editors: Sequence[str]) -> dict[str, bool]:
    """Say which columns a page has that not every one needs."""
    return {
        "ai": any(row.get("ai_fraction") is not None for row in rows),
        "editors": bool(editors),
        "explanation": any(row.get("explanation") for row in rows),
        "provenance": any((row.get("provenance") or {}).get("summary") for row in rows),
    }


def _verdict_filters(entries: Sequence[Entry]) -> str:
    counts = Counter(entry["verdict"] for entry in entries)
    return "\n".join(
        f'<label><input type="checkbox" name="verdict" value="{name}" checked> '
        f'<span class="badge {name}">{name}</span> {counts[name]}</label>'
        for name in VERDICTS
        if counts[name]
    )


def _editors(row: Row, editors: list[str]) -> list[tuple[str, str, str]]:
    """Name, colour in the overlay and share of each editor of the marked pixels."""
    shares = (row.get("attribution") or {}).items()
    return [(name, _hexadecimal(editor_color(editors.index(name) + 1)), share_text(share)) for name, share in shares]


def _region(region: dict[str, Any]) -> dict[str, Any]:
    """A region of a row; those with a number, with their colour in the overlay."""
    number = region.get("number")
    return region | {"color": None if number is None else _hexadecimal(phrase_color(number))}


def _hexadecimal(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
