"""What is wrong with rows of training data: counted, said once in the log, with the names of some rows."""

import logging
from collections.abc import Sequence

import datasets

logger = logging.getLogger(__name__)

# Rows named in the message about those that do not fit.
NAMED_ROWS = 3


class RowFaults:
    """Faults of rows, in the order in which they are found."""

    def __init__(self) -> None:
        self._rows: dict[str, list[str]] = {}

    def add(self, fault: str, row: str) -> None:
        """Note a fault of a row."""
        self._rows.setdefault(fault, []).append(row)

    def log(self, total: int) -> None:
        """Warn of every fault, once.

        Args:
            total: Rows that were looked at.
        """
        for fault, rows in sorted(self._rows.items()):
            shown = ", ".join(rows[:NAMED_ROWS]) + (", ..." if len(rows) > NAMED_ROWS else "")
            logger.warning("%d of %d rows: %s (%s)", len(rows), total, fault, shown)

    def nothing_left(self, total: int) -> ValueError:
        """The error where no row can be used, the most frequent fault first."""
        ranked = sorted(self._rows.items(), key=lambda item: -len(item[1]))
        reasons = ", ".join(f"{fault} ({len(rows)})" for fault, rows in ranked)
        return ValueError(f"no row of {total} can be taught: {reasons or 'there are none'}")


def row_names(rows: datasets.Dataset) -> list[str]:
    """What to call the rows in messages: their ids, or their numbers."""
    names: Sequence[str | None] = rows["id"][:] if "id" in rows.column_names else [None] * len(rows)
    return [str(number) if name is None else str(name) for number, name in enumerate(names)]
