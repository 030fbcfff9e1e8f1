"""The rows of a run as one HTML page: no other files, no network, sortable by a click."""

import base64
import html
import io
import os
from collections import Counter
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from .reading import ImageReadError, read_image
from .results import ResultsFolder, Row, write_whole

THUMBNAIL_EDGE = 240
THUMBNAIL_QUALITY = 80
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
td ul{margin:0;padding-left:1.1rem}
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
<p class="muted">{rule} Red marks the pixels that the model takes for forged. A verdict is evidence, not proof.</p>
<div class="filters">{filters}</div>
<table>
<thead><tr><th>Picture</th>{heads}<th>Regions</th><th>Notes</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
<script>{script}</script>
</body>
</html>
"""


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
    filters = "".join(
        f'<label><input type="checkbox" value="{name}" checked> <span class="badge {name}">{name}</span> '
        f"{counts[name]}</label>"
        for name in VERDICTS
        if counts[name]
    )
    heads = "".join(
        f'<th data-kind="{kind}"><button>{title}</button></th>'
        for title, kind in (("Path", "text"), ("Verdict", "text"), ("Score", "number"), ("Forged share", "number"))
    )
    page = PAGE.format(
        style=STYLE,
        script=SCRIPT,
        count=len(rows),
        model=html.escape(str(results.settings["model"])),
        precision=html.escape(str(results.settings["precision"])),
        rule=html.escape(str(results.settings["rule"])),
        filters=filters,
        heads=heads,
        rows="\n".join(_table_row(row, results.folder) for row in rows),
    )
    return write_whole(results.folder / "report.html", page.encode("utf-8", errors="backslashreplace"))


def _verdict(row: Row) -> str:
    return "failed" if row["error"] is not None else row["verdict"]


def _table_row(row: Row, folder: Path) -> str:
    verdict = _verdict(row)
    score, share = row["score"], row["forged_fraction"]
    link = _link(row["path"], row["path"], folder)
    if row["mask"]:
        link += f'<p class="muted">{_link(row["mask"], "mask", folder)}'
        link += f" · {_link(row['overlay'], 'overlay', folder)}</p>" if row["overlay"] else "</p>"
    cells = [
        f"<td>{_thumbnail(row)}</td>",
        f'<td class="path" data-key="{html.escape(row["path"])}">{link}</td>',
        f'<td><span class="badge {verdict}">{verdict}</span></td>',
        _number(score, "" if score is None else f"{score:.3f}"),
        _number(share, "" if share is None else f"{share:.2%}"),
        f'<td class="number">{len(row.get("regions", ()))}</td>',
        f"<td>{_notes(row)}</td>",
    ]
    return f'<tr data-verdict="{verdict}">{"".join(cells)}</tr>'


def _number(value: float | None, text: str) -> str:
    return f'<td class="number" data-key="{-1 if value is None else value}">{text}</td>'


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
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=THUMBNAIL_QUALITY)
    address = base64.b64encode(content.getvalue()).decode("ascii")
    return (
        f'<img src="data:image/jpeg;base64,{address}" width="{picture.width}" height="{picture.height}" '
        f'alt="{row["verdict"]}" loading="lazy">'
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
