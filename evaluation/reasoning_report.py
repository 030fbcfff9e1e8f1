"""Answers in words as tables: verdicts and reasons of each generator, and one line a round or temperature."""

from collections.abc import Sequence
from dataclasses import replace

from .protocol import AVERAGE
from .reasoning_protocol import ReasoningProtocol
from .report import Table, source_table
from .rows import ALL, Row

RULES = {"wrong": "answers without a verdict count as wrong", "drop": "answers without a verdict are left out"}


def reasoning_tables(rows: Sequence[Row], protocol: ReasoningProtocol) -> list[Table]:
    """Lay out the rows of a protocol.

    Args:
        rows: rows of the protocol.
        protocol: the protocol; with several rounds or temperatures, the mean over the generators of each is shown, or,
            where one of them is missing, all images together.
    """
    rule = RULES[rows[0].unparsed or "wrong"] if rows else ""
    if protocol.rounds > 1:
        shown = AVERAGE if any(row.source == AVERAGE for row in rows) else ALL
        if not any(row.source == shown for row in rows):
            shown = next((row.source for row in rows), shown)
        lines = [replace(row, source=row.setting or "") for row in rows if row.source == shown]
        wanted = "mean over the generators" if shown == AVERAGE else f"{shown} images"
        return [source_table(f"{protocol.name}: {wanted}, {rule}", lines, False, first="answers")]
    verdicts = [row for row in rows if row.metric.startswith("image_")]
    reasons = [row for row in rows if row.metric.startswith("text_")]
    tables = [source_table(f"{protocol.name}: verdicts, {rule}", verdicts, False)]
    if reasons:
        missing = "count 0" if reasons[0].unparsed == "wrong" else "are left out"
        tables.append(
            source_table(f"{protocol.name}: mean over images, answers without reasons {missing}", reasons, False)
        )
    return tables
