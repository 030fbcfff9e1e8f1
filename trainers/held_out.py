"""A split `validation` for data that have none, cut out by hash: it does not depend on the order of the rows."""

import hashlib

import datasets
import numpy as np

from .row_faults import row_names


def held_out(rows: datasets.Dataset, count: int) -> dict[str, datasets.Dataset]:
    """Cut a split `validation` out of rows, chosen by the hash of their id (or number).

    Args:
        rows: All rows.
        count: Rows of `validation`; at most half of them are taken.

    Returns:
        The splits `train` and `validation`, in the order of the rows.

    Raises:
        ValueError: If there are fewer than two rows.
    """
    if len(rows) < 2:
        raise ValueError(f"cannot hold validation rows out of {len(rows)} row: add rows, or a split validation")
    names = row_names(rows)
    ranks = np.argsort([hashlib.sha256(name.encode()).hexdigest() for name in names], kind="stable")
    chosen = np.zeros(len(rows), bool)
    chosen[ranks[: min(count, len(rows) // 2)]] = True
    return {"train": rows.select(np.flatnonzero(~chosen)), "validation": rows.select(np.flatnonzero(chosen))}
