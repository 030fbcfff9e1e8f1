"""The rows of a run as one HTML page: no other files, no network, sortable by a click."""

import base64
import html
import io
import os
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from .editor_maps import share_text
from .journal import Row, write_whole
from .overlay import editor_color
from .provenance_cell import PROVENANCE_LEGEND, credentials_not_looked_for, provenance_cell
from .reading import ImageReadError, read_image
from .results import ResultsFolder

THUMBNAIL_EDGE = 240
THUMBNAIL_QUALITY = 80
# Two masks beside each other, with their borders and the gap, are as wide as a thumbnail.
MASK_EDGE = 113
VERDICTS = ("forged", "inconclusive", "authentic", "failed")

STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8882}
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:1200px;padding:0 1rem}
h1{font-size:1.4rem;margin:0 0 .3rem}p{margin:.2rem 0}.muted{opacity:.75}
.filters{margin:1rem 0;display:flex;gap:1.2rem;flex-wrap:wrap}
table{border-collapse:collapse;width:100%}
th,td{padding:.5rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
th{position:sticky;top:0;background:Canvas;white-space:nowrap}th button{all:unset;cursor:pointer;font-weight:600}
th[data-kind] button::after{content:" \\2195";opacity:.4}
th button:focus-visible{outline:2px solid}th[aria-sort=ascending] button::after{content:" \\25B2";opacity:1}
th[aria-sort=descending] button::after{content:" \\25BC";opacity:1}
th:nth-child(2),th:last-child{width:24%}
td.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}td.path{overflow-wrap:anywhere}
img{display:block;max-width:240px;height:auto;border-radius:4px}
.badge{padding:.1rem .55rem;border-radius:1rem;color:#fff;font-weight:600;white-space:nowrap}
.forged{background:#b3261e}.inconclusive{background:#8a5a00}.authentic{background:#1f6f3f}.failed{background:#555}
.explanation p,.provenance p{margin:0 0 .4rem;overflow-wrap:anywhere}
.provenance{overflow-wrap:anywhere;min-width:17rem}
td ul{margin:0;padding-left:1.1rem}.editor{white-space:nowrap}
.swatch{display:inline-block;width:.8em;height:.8em;margin-right:.35em;border:1px solid var(--line);border-radius:2px}
.masks{display:flex;gap:10px}figure{margin:.4rem 0 0}figcaption{font-size:.85em}
figure img{border:1px solid var(--line)}
"""

SCRIPT = """
const body=document.querySelector('tbody');
document.querySelectorAll('th button').forEach(button=>button.addEventListener('click',()=>{
  const head=button.parentElement,column=head.cellIndex,up=head.getAttribute('aria-sort')==='descending';
  const key=row=>row.cells[column].dataset.key??row.cells[column].textContent;
  const number=head.dataset.kind==='number';
  const rows=[...body.rows].sort((a,b)=>number?key(a)-key(b):key(a).localeCompare(key(b)));
  if(!up)rows.reverse();
  document.querySelectorAll('th').forEach(other=>other.removeAttribute('aria-sort'));
  head.setAttribute('aria-sort',up?'ascending':'descending');
  body.append(...rows);
}));
document.querySelectorAll('.filters input').forEach(box=>box.addEventListener('change',()=>{
  for(const row of body.rows)if(row.dataset.verdict===box.value)row.hidden=!box.checked;
}));
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>forgescope report</title>
<style>{style}</style>
</head>
<body>
<h1>forgescope report</h1>
<p>{count} photographs, examined by {model} in {precision}.</p>
<p class="muted">{rule} {legend} A verdict is evidence, not proof.</p>
<div class="filters">{filters}</div>
<table>
<thead><tr><th>Picture</th>{heads}<th>Notes</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
<script>{script}</script>
</body>
</html>
"""

FORGED_LEGEND = "Red marks the pixels that the model takes for forged."
EDITOR_LEGEND = (
    "A red line surrounds the pixels that the model takes for forged; the colour inside is that of the likeliest "
    "editor. Editors: their shares of these pixels."
)
AI_LEGEND = (
    "Blue hatching with a blue outline marks those that it takes for AI-made; where it is the whole picture, the "
    "outline runs along the frame. In the masks, white is marked."
)


def write_html(results: ResultsFolder) -> Path:
    """Write report.html from all rows of a run.

    Args:
        results: the run; photographs and overlays are opened again for thumbnails.

    Returns:
        Path of the page.

    Raises:
        OSError: it cannot be written.
    """
    rows = list(results.rows.values())
    counts = Counter(_verdict(row) for row in rows)
    with_ai = any(row.get("ai_mask") for row in rows)
    editors = list(results.settings.get("editors", ()))
    explained = any(row.get("explanation") for row in rows)
    with_provenance = any((row.get("provenance") or {}).get("summary") for row in rows)
    filters = "".join(
        f'<label><input type="checkbox" value="{name}" checked> <span class="badge {name}">{name}</span> '
        f"{counts[name]}</label>"
        for name in VERDICTS
        if counts[name]
    )
    page = PAGE.format(
        style=STYLE,
        script=SCRIPT,
        count=len(rows),
        model=html.escape(str(results.settings["model"])),
        precision=html.escape(str(results.settings["precision"])),
        rule=html.escape(str(results.settings["rule"])),
        legend=_legend(rows, with_ai, bool(editors), with_provenance),
        filters=filters,
        heads=_heads(with_ai, bool(editors), explained, with_provenance),
        rows="\n".join(_table_row(row, results.folder, with_ai, editors, explained, with_provenance) for row in rows),
    )
    return write_whole(results.folder / "report.html", page.encode("utf-8", errors="backslashreplace"))


def _legend(rows: list[Row], with_ai: bool, with_editors: bool, with_provenance: bool) -> str:
    sentences = [EDITOR_LEGEND if with_editors else FORGED_LEGEND, AI_LEGEND if with_ai else ""]
    sentences += [PROVENANCE_LEGEND if with_provenance else "", credentials_not_looked_for(rows)]
    return " ".join(sentence for sentence in sentences if sentence)


def _heads(with_ai: bool, with_editors: bool, explained: bool, with_provenance: bool) -> str:
    columns = [("Path", "text"), ("Verdict", "text"), ("Score", "number"), ("Forged share", "number")]
    if with_ai:
        columns.append(("AI-made share", "number"))
    if with_editors:
        columns.append(("Editors", "text"))
    heads = "".join(f'<th data-kind="{kind}"><button>{title}</button></th>' for title, kind in columns)
    heads += "<th>Regions</th>" + ("<th>Explanation</th>" if explained else "")
    return heads + ('<th data-kind="text"><button>Provenance</button></th>' if with_provenance else "")


def _verdict(row: Row) -> str:
    return "failed" if row["error"] is not None else row["verdict"]


def _table_row(
    row: Row, folder: Path, with_ai: bool, editors: list[str], explained: bool, with_provenance: bool
) -> str:
    verdict = _verdict(row)
    score = row["score"]
    pictures = {"mask": row["mask"], "AI-made mask": row.get("ai_mask"), "overlay": row["overlay"]}
    links = " · ".join(_link(path, name, folder) for name, path in pictures.items() if path)
    cells = [
        f"<td>{_thumbnail(row)}{_masks(row)}</td>",
        f'<td class="path" data-key="{html.escape(row["path"])}">{_link(row["path"], row["path"], folder)}'
        + (f'<p class="muted">{links}</p></td>' if links else "</td>"),
        f'<td><span class="badge {verdict}">{verdict}</span></td>',
        _number(score, "" if score is None else f"{score:.3f}"),
        _share(row["forged_fraction"]),
        *([_share(row.get("ai_fraction"))] if with_ai else []),
        *([_editors(row, editors)] if editors else []),
        f'<td class="number">{len(row.get("regions", ()))}</td>',
        *([_explanation(row)] if explained else []),
        *([provenance_cell(row.get("provenance"))] if with_provenance else []),
        f"<td>{_notes(row)}</td>",
    ]
    return f'<tr data-verdict="{verdict}">{"".join(cells)}</tr>'


def _share(value: float | None) -> str:
    return _number(value, "" if value is None else f"{value:.2%}")


def _editors(row: Row, editors: list[str]) -> str:
    """A line an editor: its colour in the overlay, its name and its share of the marked pixels."""
    lines = []
    for name, share in (row.get("attribution") or {}).items():
        color = "#{:02x}{:02x}{:02x}".format(*editor_color(editors.index(name) + 1))
        swatch = f'<span class="swatch" style="background:{color}"></span>'
        lines.append(f'<div class="editor">{swatch}{html.escape(f"{name} {share_text(share)}")}</div>')
    return f"<td>{''.join(lines)}</td>"


def _number(value: float | None, text: str) -> str:
    return f'<td class="number" data-key="{-1 if value is None else value}">{text}</td>'


def _explanation(row: Row) -> str:
    """A paragraph a stage."""
    stages = (row.get("explanation") or "").splitlines()
    return '<td class="explanation">' + "".join(f"<p>{html.escape(stage)}</p>" for stage in stages if stage) + "</td>"


def _notes(row: Row) -> str:
    notes = [row["error"]] if row["error"] is not None else row.get("notes", ())
    return "<ul>" + "".join(f"<li>{html.escape(note)}</li>" for note in notes) + "</ul>"


def _link(path: str, text: str, folder: Path) -> str:
    """Link to a file by its place relative to the page, so that the folder can be moved together with the files."""
    relative = os.path.relpath(path, folder)
    return f'<a href="{quote(os.fsencode(relative))}">{html.escape(text)}</a>'


def _thumbnail(row: Row) -> str:
    """Reduced overlay, or the photograph where none was written, as a data address; empty for a failed one."""
    if row["error"] is not None:
        return ""
    try:
        picture = _reduced(row["overlay"] or row["path"], is_own=row["overlay"] is not None)
    except (OSError, ImageReadError):
        return "<em>no longer there</em>"
    return _inline(picture, "jpeg", row["verdict"], quality=THUMBNAIL_QUALITY)


def _masks(row: Row) -> str:
    """Both masks, reduced, where AI-made pixels have one of their own; else the overlay says enough."""
    if not row.get("ai_mask"):
        return ""
    return f'<div class="masks">{_mask(row["mask"], "forged")}{_mask(row["ai_mask"], "AI-made")}</div>'


def _mask(path: str, meaning: str) -> str:
    try:
        with Image.open(path) as mask:
            mask.thumbnail((MASK_EDGE, MASK_EDGE))
            picture = _inline(mask, "png", f"{meaning} pixels", optimize=True)
    except OSError:
        picture = "<em>no longer there</em>"
    return f"<figure>{picture}<figcaption>{meaning}</figcaption></figure>"


def _inline(picture: Image.Image, kind: str, text: str, **options: Any) -> str:
    """A picture inside the page, as a data address."""
    content = io.BytesIO()
    picture.save(content, kind, **options)
    address = base64.b64encode(content.getvalue()).decode("ascii")
    return (
        f'<img src="data:image/{kind};base64,{address}" width="{picture.width}" height="{picture.height}" '
        f'alt="{text}" loading="lazy">'
    )


def _reduced(path: str, is_own: bool) -> Image.Image:
    size = (THUMBNAIL_EDGE, THUMBNAIL_EDGE)
    if not is_own:
        picture = read_image(path).image.copy()
        picture.thumbnail(size)
        return picture
    # our own JPEG: decoded at a reduced size, which thumbnail() asks for
    with Image.open(path) as overlay:
        overlay.thumbnail(size)
        return overlay.convert("RGB")
