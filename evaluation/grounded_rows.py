"""From found artifacts and explanations to rows of numbers, under every rule that was asked for."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .estimates import mean_estimate
from .grounded_protocol import GroundedProtocol, GroundedRow, with_grounded_values
from .grounded_scores import (
    REDUCTIONS,
    TARGETS,
    ArtifactRecord,
    GroundedReduction,
    Matching,
    Targets,
    count_tables,
    mask_estimate,
)
from .intervals import RESAMPLES
from .perturbations import NONE
from .rows import filled
from .rules import Authentic, Average, Metric
from .text_scores import CSS, ROUGE_L, TextEmbedder, rouge_l, semantic_similarity

# Metric and classes: the mean over artifact and background, and the artifact alone.
MASK_METRICS: tuple[tuple[Metric, Average], ...] = (("iou", "macro"), ("f1", "forged"), ("iou", "forged"))


def grounded_rows(
    records: Sequence[ArtifactRecord],
    protocol: GroundedProtocol,
    *,
    perturbation: str = NONE.name,
    targets: Sequence[Targets] = TARGETS,
    reductions: Sequence[GroundedReduction] = REDUCTIONS,
    matching: Matching = "best",
    empty: Authentic = "skip",
    threshold: float | None = None,
    cleaning: str = "plain",
    embedder: TextEmbedder | None = None,
    resamples: int = RESAMPLES,
) -> list[GroundedRow]:
    """Compute the rows of a run; they hold the paper's numbers too.

    Args:
        records: what was found; phrases must have been paired by `matching`.
        protocol: the table.
        perturbation: what was done to the images.
        targets: `union`, `per_phrase`, or both; the latter is left out where no artifact is annotated alone.
        reductions: `image`, `dataset`, or both.
        matching: how phrases were paired.
        empty: what images without an annotated pixel do: `skip`, `zero` or `one`.
        threshold: probability from which a pixel was called an artifact; None: masks were given as they are.
        cleaning: how texts were cleaned up.
        embedder: of CSS; None: no CSS.
        resamples: draws of the bootstrap intervals; 0 for none.

    Raises:
        ImportError: texts are compared and rouge-score is missing.
    """
    (source,) = protocol.groups
    blank = GroundedRow(protocol.name, source, "", None, 0, "", "", empty, threshold, perturbation=perturbation)
    rows: list[GroundedRow] = []
    for which in targets:
        if which == "per_phrase" and all(record.phrases is None for record in records):
            continue
        own = replace(blank, targets=which, rasterizer=protocol.rasterizer)
        rule = empty
        if which == "per_phrase":
            # artifacts without a pixel are left out
            rule = "skip"
            own = replace(own, matching=matching, empty_rule=rule)
        rows += _mask_rows(count_tables(records, which, empty), own, reductions, rule, resamples)
    if protocol.texts:
        rows += _text_rows(records, replace(blank, empty_rule="none", threshold=None), cleaning, embedder, resamples)
    return with_grounded_values(rows, protocol)


def _mask_rows(
    tables: Sequence[NDArray[np.int64]],
    blank: GroundedRow,
    reductions: Sequence[GroundedReduction],
    empty: Authentic,
    resamples: int,
) -> list[GroundedRow]:
    rows = []
    for reduction in reductions:
        for metric, classes in MASK_METRICS:
            estimate = mask_estimate(tables, metric, classes, reduction, empty, resamples)
            row = replace(blank, reduction=reduction, classes=classes)
            rows.append(filled(row, f"pixel_{metric}", len(tables), estimate))
    return rows


def _text_rows(
    records: Sequence[ArtifactRecord], blank: GroundedRow, cleaning: str, embedder: TextEmbedder | None, resamples: int
) -> list[GroundedRow]:
    """ROUGE-L and CSS of images with annotated explanations, and the share of them without any given.

    An image without an explanation counts 0.
    """
    annotated = [record for record in records if record.reference]
    blank = replace(blank, reduction="image", classes="all", cleaning=cleaning)
    given = np.array([bool(record.text) for record in annotated], dtype=bool)
    scores = {ROUGE_L: np.array([rouge_l(one.text, one.reference) for one in annotated], dtype=np.float64)}
    if embedder is not None:
        written = [one for one in annotated if one.text]
        scores[CSS] = np.zeros(len(annotated))
        scores[CSS][given] = semantic_similarity(
            [one.text for one in written], [one.reference for one in written], embedder
        )
    scores["missing"] = (~given).astype(np.float64)
    return [
        filled(blank, f"text_{name}", len(annotated), mean_estimate(values, resamples))
        for name, values in scores.items()
    ]
