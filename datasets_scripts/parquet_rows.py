"""Rows of Parquet files of a corpus, a few at a time."""

from collections.abc import Container, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .files import CorpusFiles

# Rows decoded at once: what a reader holds in memory.
BATCH_ROWS = 16


def parquet_columns(files: CorpusFiles, name: str) -> list[str]:
    """Names of the columns.

    Raises:
        ValueError: the file is no Parquet file.
    """
    try:
        with files.open(name) as stream:
            return list(pq.ParquetFile(stream).schema_arrow.names)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{name} is no Parquet file that can be read: {error}") from error


def parquet_rows(
    files: CorpusFiles, name: str, columns: list[str], wanted: Container[int] | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and values of every row; the next few rows are decoded only when they are asked for.

    Args:
        files: the corpus.
        name: file in it.
        columns: columns to read; all must exist.
        wanted: only rows of these numbers; row groups without any are not read. None: all.

    Raises:
        ValueError: the file is damaged.
    """
    number = 0
    try:
        with files.open(name) as stream:
            table = pq.ParquetFile(stream)
            for group in range(table.num_row_groups):
                rows = range(number, number + table.metadata.row_group(group).num_rows)
                if wanted is not None and not any(row in wanted for row in rows):
                    number = rows.stop
                    continue
                for batch in table.iter_batches(BATCH_ROWS, row_groups=[group], columns=columns):
                    for row in batch.to_pylist():
                        if wanted is None or number in wanted:
                            yield number, row
                        number += 1
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{name} is damaged after row {number}: {error}") from error


def cell_bytes(value: Any) -> bytes | None:
    """An encoded file in a cell, as `datasets` stores it (`{"bytes", "path"}`) or as plain bytes; else None."""
    if isinstance(value, dict):
        value = value.get("bytes")
    return value if isinstance(value, bytes) else None


__all__ = ["cell_bytes", "parquet_columns", "parquet_rows"]
