"""Rows of a table of forged pixels: ours, and beside them what the paper reports."""

from dataclasses import replace

from .intervals import RESAMPLES
from .localization_protocol import LocalizationProtocol
from .protocol import AVERAGE
from .results import EvaluationResult
from .rows import Row, result_rows

PIXEL_PREFIX = "pixel_"


def localization_rows(
    result: EvaluationResult, protocol: LocalizationProtocol, resamples: int = RESAMPLES
) -> list[Row]:
    """Compute the rows of a protocol: pixels alone, for a corpus of edited images says nothing of image verdicts.

    Args:
        result: what `Evaluator.run` returned, with the rules of `protocol.preset`; sources are the subsets.
        protocol: what was run.
        resamples: draws of the bootstrap intervals; 0 for none.

    Returns:
        A row for each subset and number, of all images, and of the mean over the subsets: that one only where no
        subset is missing or lacks the number.
    """
    present = [name for name in protocol.groups if name in result.sources]
    groups = {name: (name,) for name in present}
    rows = result_rows(result, protocol.name, resamples=resamples, groups=groups)
    rows = [row for row in rows if row.metric.startswith(PIXEL_PREFIX)]
    is_whole = len(present) == len(protocol.groups)
    undefined = {row.metric for row in rows if row.source in groups and row.value is None}
    rows = [row for row in rows if row.source != AVERAGE or (is_whole and row.metric not in undefined)]
    values = protocol.values
    return [replace(row, paper_value=values.get((row.source, row.metric, row.perturbation))) for row in rows]
