"""What a file says of its own origin, as a cell of the HTML page."""

import html
from collections.abc import Iterable
from typing import Any

from .content_credentials import NOT_LOOKED_FOR

PROVENANCE_LEGEND = "Provenance is what a file says of itself; it has no part in score and verdict."
# Characters of each text on the page; report.jsonl has more.
LONGEST_TEXT = 300


def provenance_cell(provenance: dict[str, Any] | None) -> str:
    """Write one table cell.

    Args:
        provenance: `Provenance.to_dict()` of a row, None where it was not read.

    Returns:
        `<td>...</td>`, in which nothing from the file is markup.
    """
    if not provenance or not provenance["summary"]:
        return "<td></td>"
    parts = [_claim(claim) for claim in provenance["c2pa"] or ()]
    if provenance["c2pa_error"] is not None:
        parts.append(f"<p>Content credentials cannot be read: {_text(provenance['c2pa_error'])}</p>")
    parts += [f"<p><b>{_text(name)}</b> {_text(text)}</p>" for name, text in provenance["generator_metadata"].items()]
    parts += [f'<p class="muted">{_text(note)}</p>' for note in provenance["notes"]]
    return (
        f'<td class="provenance" data-key="{html.escape(provenance["summary"])}"><details>'
        f"<summary>{_text(provenance['summary'])}</summary>{''.join(parts)}</details></td>"
    )


def credentials_not_looked_for(rows: Iterable[dict[str, Any]]) -> str:
    """Say so where the library that reads content credentials was missing for any row; empty otherwise."""
    missing = any(row.get("provenance") and row["provenance"]["c2pa"] is None for row in rows)
    return f"{NOT_LOOKED_FOR}." if missing else ""


def _claim(claim: dict[str, Any]) -> str:
    """Signature, generator, actions and problems of one claim, a line each."""
    said = [f"signed as {claim['issuer'] or claim['signer'] or 'nobody'}", claim["signed_at"], claim["generator"]]
    lines = [f"{claim['validation_state'] or 'Earlier claim'}: {', '.join(part for part in said if part)}"]
    for action in claim["actions"]:
        lines.append(
            " · ".join(part for part in (action["action"], action["software"], action["source_type"]) if part)
        )
    lines += [f"Problem: {problem}" for problem in claim["problems"]]
    return "<p>" + "<br>".join(map(_text, lines)) + "</p>"


def _text(text: str) -> str:
    return html.escape(text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…")
