"""Accuracy by family of generators: the mean over the generators of each, as LEGION's Table 5 has it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from .intervals import RESAMPLES
from .protocol import AVERAGE, Protocol
from .protocol_rows import protocol_rows
from .results import EvaluationResult
from .rows import ALL, Row


@dataclass(frozen=True)
class FamilyProtocol(Protocol):
    """A table of images told fake from real, by family of generators.

    Args:
        families: family -> its subsets; `paper_values` are those of the families.
    """

    families: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def family_rows(result: EvaluationResult, protocol: FamilyProtocol, resamples: int = RESAMPLES) -> list[Row]:
    """Compute the rows of a protocol.

    Args:
        result: what was measured.
        protocol: what was run.
        resamples: draws of the bootstrap intervals; 0 for none.

    Returns:
        The rows of the families, each the plain mean over its subsets, left out where one is missing; then those of
        `protocol_rows`.

    Raises:
        ValueError: no subset has fake and real images.
    """
    rows = [replace(row, paper_value=None) for row in protocol_rows(result, protocol, resamples)]
    means = [row for family, members in protocol.families.items() for row in _means(rows, family, members)]
    untouched = [row.metric == protocol.metric and row.perturbation == "none" for row in means]
    means = [
        replace(row, paper_value=protocol.paper_values.get(row.source)) if is_reported else row
        for row, is_reported in zip(means, untouched, strict=True)
    ]
    return [*means, *rows]


def _means(rows: Sequence[Row], family: str, members: Sequence[str]) -> list[Row]:
    """Rows of a family: for each number that all its subsets have, the mean."""
    groups: dict[Row, list[Row]] = {}
    for row in rows:
        if row.source in members and row.source not in (ALL, AVERAGE) and row.value is not None:
            key = replace(row, source=family, value=None, n=0, low=None, high=None)
            groups.setdefault(key, []).append(row)
    return [
        replace(key, value=float(np.mean([row.value for row in group])), n=sum(row.n for row in group))
        for key, group in groups.items()
        if len(group) == len(members)
    ]
