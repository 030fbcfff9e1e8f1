"""A checkpoint measured on a folder, or by the protocol of a paper."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from forgescope.evaluation.evaluator import Evaluator, Watch
from forgescope.evaluation.perturbations import Perturbation
from forgescope.evaluation.protocol import Protocol
from forgescope.evaluation.protocol_rows import missing_groups, protocol_rows
from forgescope.evaluation.report import Table
from forgescope.evaluation.results import EvaluationResult
from forgescope.evaluation.rows import Row, result_rows
from forgescope.evaluation.rules import SegmentationRule

from .analyze import Analyzer
from .evaluation_data import TestFile, image_scorer, read_examples
from .examination import Examination
from .explain import OUTLINING
from .hub import model_type_of
from .protocol_data import TestImages, prepare


@dataclass(frozen=True)
class EvaluationRun:
    """What came out.

    Args:
        results: of each perturbation.
        rows: the numbers of all of them.
        notes: sentences on what was measured.
        tables: the numbers laid out; None: as `to_tables` does it.
        confusions: title -> (C, C) pixels of class maps, rows are true classes.
        classes: names of these classes.
    """

    results: list[EvaluationResult]
    rows: list[Row]
    notes: list[str]
    tables: list[Table] | None = None
    confusions: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    classes: tuple[str, ...] = ()


def load_verdicts(checkpoint: str, **settings: Any) -> Analyzer:
    """Load a checkpoint of which verdicts alone are measured: LEGION then explains nothing, which is much faster.

    Args:
        checkpoint: embedded name, folder or Hub id.
        **settings: of `Analyzer`.

    Raises:
        ValueError: as `Analyzer`.
    """
    silent: dict[str, Any] = {"explanations": False} if model_type_of(checkpoint) == OUTLINING else {}
    return Analyzer(checkpoint, **silent, **settings)


def evaluate_folder(
    analyzer: Analyzer,
    files: list[TestFile],
    name: str,
    rules: Sequence[SegmentationRule],
    perturbations: Sequence[Perturbation],
    *,
    seed: int,
    resamples: int,
    watch: Watch | None = None,
) -> EvaluationRun:
    """Measure a checkpoint on files.

    Args:
        analyzer: the checkpoint.
        files: images and masks.
        name: preset of the rules, or `custom`.
        rules: how pixel numbers are computed.
        perturbations: each is a run of its own.
        seed: of random crops.
        resamples: draws of the bootstrap intervals; 0 for none.
        watch: looks on in the first run, see `Evaluator`.

    Raises:
        ValueError: not a single image could be scored.
    """
    results, rows = [], []
    for perturbation in perturbations:
        evaluator = _evaluator(analyzer, analyzer.localizer.examine, rules, perturbation, seed)
        evaluator.watch, watch = watch, None
        results.append(evaluator.run(read_examples(files), total=len(files)))
        rows += result_rows(results[-1], name, forged_threshold=analyzer.rule.forged_threshold, resamples=resamples)
    return EvaluationRun(results, rows, [f"{len(files)} images", f"precision: {analyzer.precision}"])


def evaluate_protocol(
    analyzer: Analyzer,
    protocol: Protocol,
    images: TestImages,
    perturbations: Sequence[Perturbation],
    *,
    seed: int,
    resamples: int,
    watch: Watch | None = None,
) -> EvaluationRun:
    """Measure a checkpoint as a paper does; rows hold the paper's numbers too.

    Args:
        analyzer: the checkpoint.
        protocol: the table or figure of the paper.
        images: those drawn for it.
        perturbations: each is a run of its own.
        seed: of random crops.
        resamples: draws of the bootstrap intervals; 0 for none.
        watch: looks on in the first run, see `Evaluator`.

    Raises:
        ValueError: not a single image could be scored, or of no subset both fake and real ones.
    """

    def examine(photos: list[Image.Image]) -> list[Examination]:
        return analyzer.localizer.examine([prepare(photo, protocol) for photo in photos])

    results, rows = [], []
    for perturbation in perturbations:
        evaluator = _evaluator(analyzer, examine, (), perturbation, seed)
        evaluator.watch, watch = watch, None
        results.append(evaluator.run(images.examples(), total=images.total))
        rows += protocol_rows(results[-1], protocol, resamples)
    notes = [f"{images.total} images", f"precision: {analyzer.precision}", f"{protocol.paper}, {protocol.table}"]
    notes += [protocol.note, *images.shortfalls(protocol)]
    missing = missing_groups(results, protocol)
    if missing:
        notes.append(f"not measured, so that there is no average: {', '.join(missing)}")
    return EvaluationRun(results, rows, notes)


def _evaluator(
    analyzer: Analyzer,
    examine: Callable[[list[Image.Image]], list[Examination]],
    rules: Sequence[SegmentationRule],
    perturbation: Perturbation,
    seed: int,
) -> Evaluator:
    return Evaluator(examine, rules, analyzer.localizer.batch_size, image_scorer(analyzer), perturbation, seed)
