"""What the modules of `evaluation/metrics` share: masks become counts the moment they are added.

`evaluate` writes everything that is added into an Arrow file. Masks would make it slow and large; the counts and
histograms of this package are all that a metric needs, so the modules store those.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from .boundary import TRUE, boundary_counts, boundary_f1, parse_tolerance
from .class_confusion import class_confusion
from .class_metrics import mean_of_editors
from .counts import confusion_counts
from .histograms import auc_values, histogram_auc, polarised_auc, score_histogram
from .rules import Authentic, Metric, Polarity, Reduction, SegmentationRule
from .segmentation import segmentation_metrics
from .text_scores import TextEmbedder, text_scores

CITATION = "forgescope, evaluation of image forgery localization: one named argument for every choice."
MASKS = """
Args:
    predictions: one (H, W) array an image: a mask with 1 = forged, or probabilities from 0 to 1.
    references: one (H, W) array of the same size an image: 1 = forged, 0 = authentic, 255 = ignored.
    reduction: "image" (default), "batch" or "pooled".
    average: "forged" (default) or "macro".
    authentic: what images without a forged pixel do: "skip" (default), "zero" or "one".
    polarity: "normal" (default), "inverted" or "permute".
    batch_size: images of a batch, for the reduction "batch".
"""
CLASS_MAPS = """
Args:
    predictions: one (H, W) array of whole numbers an image: ids of classes, 0 = authentic.
    references: one (H, W) array of the same size an image: ids of classes, 255 = ignored.
    reduction: "image" (default) or "pooled".
    authentic: what images without a forged pixel do: "skip" (default), "zero" or "one".
"""
SCORES = """
Args:
    predictions: one score an image, higher = more likely forged.
    references: one label an image, 1 = forged.
"""
TEXTS = """
Args:
    predictions: one text an image; a blank one counts 0.
    references: one text an image.
    embedder: takes N texts, returns (N, D) numbers, for CSS; without it there is no CSS.
"""


class _MaskMetric(evaluate.Metric):
    """Takes pairs of maps and stores two lists of whole numbers for each."""

    arguments = MASKS

    def _info(self) -> evaluate.MetricInfo:
        numbers = datasets.Sequence(datasets.Value("int64"))
        return evaluate.MetricInfo(
            description=self.__doc__ or "",
            citation=CITATION,
            inputs_description=self.arguments,
            features=datasets.Features({"predictions": numbers, "references": numbers}),
        )

    def add_batch(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> None:
        """Add the maps of several images."""
        if len(predictions) != len(references):
            raise ValueError(
                f"expected as many predictions as references, got {len(predictions)} and {len(references)}"
            )
        pairs = [self._reduce(*pair) for pair in zip(predictions, references, strict=True)]
        super().add_batch(
            predictions=[first for first, _ in pairs], references=[second for _, second in pairs], **kwargs
        )

    def add(self, *, prediction: Any = None, reference: Any = None, **kwargs: Any) -> None:
        """Add the maps of one image."""
        first, second = self._reduce(prediction, reference)
        super().add(prediction=first, reference=second, **kwargs)

    def _reduce(self, prediction: ArrayLike, reference: ArrayLike) -> tuple[list[int], list[int]]:
        raise NotImplementedError


class PixelCountMetric(_MaskMetric):
    """A metric of pixel counts; the subclass names it.

    Args:
        *args: those of `evaluate.Metric`.
        threshold: a pixel is forged if its probability is greater; does not concern predictions that are masks.
        **kwargs: those of `evaluate.Metric`.
    """

    metric: Metric

    def __init__(self, *args: Any, threshold: float = 0.5, **kwargs: Any):
        self.threshold = threshold
        super().__init__(*args, **kwargs)

    def _reduce(self, prediction: ArrayLike, reference: ArrayLike) -> tuple[list[int], list[int]]:
        called = np.asarray(prediction)
        if called.dtype.kind == "f":
            called = called > self.threshold
        tp, fp, fn, tn = confusion_counts(called, reference)[0].tolist()
        return [tp, fp], [fn, tn]

    def _compute(
        self, predictions: Sequence[list[int]], references: Sequence[list[int]], **rule: Any
    ) -> dict[str, float]:
        counts = np.concatenate((np.array(predictions), np.array(references)), axis=1)
        values = segmentation_metrics(counts, SegmentationRule(metrics=(self.metric,), **rule))
        return {f"pixel_{self.metric}": values[self.metric]}


class PixelAUCMetric(_MaskMetric):
    """Area under the ROC curve of pixels, from histograms of 4096 steps; a tie counts one half."""

    def _reduce(self, prediction: ArrayLike, reference: ArrayLike) -> tuple[list[int], list[int]]:
        authentic, forged = score_histogram(prediction, reference).tolist()
        return authentic, forged

    def _compute(
        self,
        predictions: Sequence[list[int]],
        references: Sequence[list[int]],
        reduction: Reduction = "image",
        authentic: Authentic = "skip",
        polarity: Polarity = "normal",
    ) -> dict[str, float]:
        rule = SegmentationRule(reduction, authentic=authentic, polarity=polarity, metrics=("auc",))
        histograms = np.stack((np.array(predictions), np.array(references)), axis=1)
        if rule.authentic == "skip":
            histograms = histograms[histograms[:, 1].sum(axis=1) > 0]
        if rule.reduction == "image":
            values = auc_values([histogram_auc(one) for one in histograms], rule)
            return {"pixel_auc": float(values.mean()) if len(values) else math.nan}
        return {"pixel_auc": polarised_auc(histogram_auc(histograms.sum(axis=0)), rule).item()}


class BoundaryMetric(_MaskMetric):
    """Boundary F1 of class maps.

    Args:
        *args: those of `evaluate.Metric`.
        num_classes: number of classes, the authentic one among them; 2: edited or not.
        tolerance: `2px`, or `0.75%` of the diagonal.
        **kwargs: those of `evaluate.Metric`.
    """

    arguments = CLASS_MAPS

    def __init__(self, *args: Any, num_classes: int = 2, tolerance: str = "2px", **kwargs: Any):
        self.num_classes, self.tolerance = num_classes, parse_tolerance(tolerance)
        super().__init__(*args, **kwargs)

    def _reduce(self, prediction: ArrayLike, reference: ArrayLike) -> tuple[list[int], list[int]]:
        called, wanted = np.asarray(prediction), np.asarray(reference)
        class_confusion(called, wanted, self.num_classes)  # refuses ids that are no classes
        counts = boundary_counts(called.astype(np.uint8), wanted.astype(np.uint8), self.num_classes, self.tolerance)
        return counts[:, :TRUE].ravel().tolist(), counts[:, TRUE:].ravel().tolist()

    def _compute(
        self,
        predictions: Sequence[list[int]],
        references: Sequence[list[int]],
        reduction: Literal["image", "pooled"] = "image",
        authentic: Authentic = "skip",
    ) -> dict[str, float]:
        if reduction not in ("image", "pooled"):
            raise ValueError(f"reduction must be image or pooled, got {reduction!r}")
        rule = SegmentationRule(reduction, authentic=authentic)
        halves = [np.array(one).reshape(-1, self.num_classes, TRUE) for one in (predictions, references)]
        counts = np.concatenate(halves, axis=2)
        if rule.authentic == "skip":
            counts = counts[counts[:, :, TRUE].any(axis=1)]
        if rule.reduction == "pooled":
            counts = counts.sum(axis=0, keepdims=True)
        # in an image without the classes in truth and prediction there is nothing to find
        empty = 1.0 if rule.authentic == "one" else 0.0
        values = np.nan_to_num(mean_of_editors(boundary_f1(counts)), nan=empty)
        return {"pixel_boundary_f1": float(values.mean()) if len(values) else math.nan}


class ImageScoreMetric(evaluate.Metric):
    """A metric of one score and one label an image; the subclass computes it."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self.__doc__ or "",
            citation=CITATION,
            inputs_description=SCORES,
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), "references": datasets.Value("int64")}
            ),
        )


class ImageDecisionMetric(ImageScoreMetric):
    """A metric of images called forged; the subclass names it."""

    metric: Metric

    def _compute(
        self, predictions: Sequence[float], references: Sequence[int], threshold: float = 0.5
    ) -> dict[str, float]:
        called, forged = np.asarray(predictions) >= threshold, np.asarray(references).astype(bool)
        rule = SegmentationRule("pooled", authentic="zero", metrics=(self.metric,))
        return {
            f"image_{self.metric}": segmentation_metrics(confusion_counts(called[None], forged[None]), rule)[
                self.metric
            ]
        }


class TextMetric(evaluate.Metric):
    """The scores of pairs of texts, averaged."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=self.__doc__ or "",
            citation=CITATION,
            inputs_description=TEXTS,
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(
        self, predictions: Sequence[str], references: Sequence[str], embedder: TextEmbedder | None = None
    ) -> dict[str, float]:
        scores = text_scores(predictions, references, embedder)
        return {f"text_{name}": float(values.mean()) for name, values in scores.items()}
