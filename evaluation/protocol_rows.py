"""Rows of a protocol: ours, and beside them what the paper reports."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .intervals import RESAMPLES
from .perturbations import NONE
from .protocol import AVERAGE, Protocol
from .results import EvaluationResult
from .rows import Row, result_rows


def protocol_groups(result: EvaluationResult, protocol: Protocol) -> dict[str, list[str]]:
    """Subsets of a protocol of which fake and real images were scored, and the sources each is made of."""
    scored = {(record.source, record.positive) for record in result.records}
    groups = {name: list(sources) or result.sources for name, sources in protocol.groups.items()}
    return {
        name: sources
        for name, sources in groups.items()
        if all(any((source, fake) in scored for source in sources) for fake in (True, False))
    }


def protocol_rows(result: EvaluationResult, protocol: Protocol, resamples: int = RESAMPLES) -> list[Row]:
    """Compute the rows of a protocol.

    Args:
        result: what `Evaluator.run` returned.
        protocol: what was run.
        resamples: draws of the bootstrap intervals; 0 for none.

    Returns:
        A row for each subset and number, of all images, and of the mean over the subsets: that one only where no
        subset is missing. Subsets without fake or without real images have no rows.

    Raises:
        ValueError: no subset has both.
    """
    groups = protocol_groups(result, protocol)
    if not groups:
        raise ValueError(f"{protocol.name} needs fake and real images: none of {', '.join(protocol.groups)} has both")
    rows = result_rows(result, protocol.name, forged_threshold=protocol.threshold, resamples=resamples, groups=groups)
    if len(groups) < len(protocol.groups):
        rows = [row for row in rows if row.source != AVERAGE]
    return [_with_paper_value(row, protocol.metric, protocol.paper_values) for row in rows]


def missing_groups(results: Sequence[EvaluationResult], protocol: Protocol) -> list[str]:
    """Subsets of a protocol that have no rows in one of its runs."""
    return [name for name in protocol.groups if any(name not in protocol_groups(one, protocol) for one in results)]


def _with_paper_value(row: Row, metric: str, values: Mapping[str, float]) -> Row:
    """Attach the paper's number, which is of untouched images."""
    if row.metric != metric or row.perturbation != NONE.name:
        return row
    return replace(row, paper_value=values.get(row.source))
