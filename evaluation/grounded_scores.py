"""How well masks of artifacts fit: one mask an image or one a phrase, averaged by image or pooled over the data set.

LEGION reports the mean IoU of foreground and background, and the F1 of the foreground (section 5.1). It does not say
whether masks are united first, how phrases are paired, or how images are averaged: each is a named choice here.

Phrases are paired by one of two rules. `best`: one to one, so that the sum of their IoU is as great as can be
(Hungarian method); pairs that do not overlap are none. `order`: first with first, as the authors' training code does.
An annotated phrase without a partner is compared with an empty mask. A found phrase without a partner counts nowhere
with `per_phrase`; what it marks counts with `union`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from .counts import FN, TP, confusion_counts
from .estimates import UNKNOWN, Estimate, FloatArray, interval, mean_estimate
from .rules import Authentic, Average, Metric, SegmentationRule
from .segmentation import row_values

Targets = Literal["union", "per_phrase"]
GroundedReduction = Literal["image", "dataset"]
Matching = Literal["best", "order"]
TARGETS: tuple[Targets, ...] = get_args(Targets)
REDUCTIONS: tuple[GroundedReduction, ...] = get_args(GroundedReduction)
MATCHINGS: tuple[Matching, ...] = get_args(Matching)
BinaryMask = NDArray[np.uint8]
INSTALL = 'pairing phrases by best IoU needs scipy: pip install "forgescope[text]"; or take the matching order'


@dataclass(frozen=True)
class ArtifactRecord:
    """What was found in an image, beside what is annotated.

    Args:
        name: the image.
        union: (4,) int64: tp, fp, fn, tn in pixels of all artifacts together.
        phrases: (A, 4) the same of each annotated artifact alone; None: artifacts are not told apart.
        found: artifacts found.
        paired: annotated artifacts that have a found one as partner.
        text: explanation that was given; "" for none.
        reference: annotated explanation; "" where the image has none.
    """

    name: str
    union: NDArray[np.int64]
    phrases: NDArray[np.int64] | None = None
    found: int = 0
    paired: int = 0
    text: str = ""
    reference: str = ""


def united(masks: Sequence[BinaryMask], size: tuple[int, int]) -> BinaryMask:
    """Unite masks; of none, an empty one of (height, width) `size`."""
    whole = np.zeros(size, np.uint8)
    for mask in masks:
        np.maximum(whole, mask, out=whole)
    return whole


def check_matching(matching: str) -> None:
    """Fail before a long run where phrases cannot be paired.

    Raises:
        ValueError: unknown rule.
        ImportError: `best` without scipy.
    """
    if matching not in MATCHINGS:
        raise ValueError(f"matching must be {' or '.join(MATCHINGS)}, got {matching!r}")
    if matching == "best" and find_spec("scipy") is None:
        raise ImportError(INSTALL)


def pair_phrases(
    found: Sequence[BinaryMask], annotated: Sequence[BinaryMask], matching: Matching = "best"
) -> list[int | None]:
    """Give each annotated artifact the number of its partner among the found ones.

    Args:
        found: (H, W) uint8 masks of 0 and 1.
        annotated: likewise.
        matching: `best` or `order`.

    Raises:
        ValueError: another rule.
        ImportError: `best` without scipy.
    """
    check_matching(matching)
    if matching == "order":
        return [number if number < len(found) else None for number in range(len(annotated))]
    partners: list[int | None] = [None] * len(annotated)
    if not len(found) or not len(annotated):
        return partners
    from scipy.optimize import linear_sum_assignment

    table = np.array([[_overlap(wanted, one) for one in found] for wanted in annotated])
    for wanted, one in zip(*linear_sum_assignment(table, maximize=True), strict=True):
        partners[int(wanted)] = int(one) if table[wanted, one] > 0 else None
    return partners


def phrase_counts(
    found: Sequence[BinaryMask], annotated: Sequence[BinaryMask], matching: Matching = "best"
) -> tuple[NDArray[np.int64], int]:
    """Count pixels of each annotated artifact against its partner.

    Args:
        found: (H, W) uint8 masks of 0 and 1.
        annotated: likewise.
        matching: `best` or `order`.

    Returns:
        (A, 4) of tp, fp, fn, tn, and the number of those that have a partner.

    Raises:
        ValueError: another rule, or masks of different sizes.
        ImportError: `best` without scipy.
    """
    partners = pair_phrases(found, annotated, matching)
    counts = [
        confusion_counts(np.zeros_like(wanted) if partner is None else found[partner], wanted)[0]
        for partner, wanted in zip(partners, annotated, strict=True)
    ]
    paired = sum(partner is not None for partner in partners)
    return np.array(counts, dtype=np.int64).reshape(-1, 4), paired


def count_tables(records: Sequence[ArtifactRecord], targets: Targets, empty: Authentic) -> list[NDArray[np.int64]]:
    """Give the counts of each image that takes part, (K, 4), K > 0.

    Args:
        records: the images.
        targets: `union`: one line an image; `per_phrase`: one an annotated artifact, those without a pixel and
            images without any left out.
        empty: images without an annotated pixel, with `union`: `skip`, they are left out; otherwise they take part.

    Raises:
        ValueError: other targets.
    """
    if targets not in TARGETS:
        raise ValueError(f"targets must be {' or '.join(TARGETS)}, got {targets!r}")
    if targets == "per_phrase":
        phrases = [record.phrases for record in records if record.phrases is not None]
        visible = [table[table[:, TP] + table[:, FN] > 0] for table in phrases]
        return [table for table in visible if len(table)]
    tables = [record.union.reshape(1, 4) for record in records]
    return [table for table in tables if empty != "skip" or table[0, TP] + table[0, FN] > 0]


def mask_estimate(
    tables: Sequence[NDArray[np.int64]],
    metric: Metric,
    classes: Average,
    reduction: GroundedReduction,
    empty: Authentic = "skip",
    resamples: int = 0,
) -> Estimate:
    """Average a metric over images.

    Args:
        tables: counts of each image, as `count_tables` gives them.
        metric: `iou` or `f1`.
        classes: `forged`: artifacts; `macro`: mean of artifacts and background.
        reduction: `image`: metric of each mask, mean over the masks of an image, mean over images; `dataset`: counts
            of all masks are added, one metric.
        empty: `zero`: 0/0 counts 0; else 1, that is, a class that neither mask has is right.
        resamples: draws of images for the 95 % interval; 0 for none.

    Returns:
        Value, lower and upper bound, 0 to 1; NaN where there is none.

    Raises:
        ValueError: another reduction.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be {' or '.join(REDUCTIONS)}, got {reduction!r}")
    if not tables:
        return UNKNOWN
    rule = SegmentationRule(average=classes, authentic="zero" if empty == "zero" else "one", metrics=(metric,))

    def of_rows(rows: NDArray) -> FloatArray:
        return row_values(rows.astype(np.float64), rule)[metric]

    if reduction == "image":
        return mean_estimate(np.array([of_rows(table).mean() for table in tables]), resamples)
    sums = np.array([table.sum(axis=0) for table in tables])
    value = of_rows(sums.sum(axis=0, keepdims=True)).item()
    return value, *interval(lambda draws: of_rows(sums[draws].sum(axis=1)), len(sums), resamples)


def _overlap(one: BinaryMask, other: BinaryMask) -> float:
    """IoU of two masks; 0 where both are empty."""
    both = cv2.countNonZero(cv2.bitwise_and(one, other))
    either = cv2.countNonZero(one) + cv2.countNonZero(other) - both
    return both / either if either else 0.0
