"""How a segmentation number is computed: each choice in which published toolkits differ is one named argument."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

Reduction = Literal["image", "batch", "pooled"]
Average = Literal["forged", "macro"]
Authentic = Literal["skip", "zero", "one"]
Polarity = Literal["normal", "inverted", "permute"]
Metric = Literal["precision", "recall", "f1", "iou", "accuracy", "mcc", "auc"]

METRICS: tuple[Metric, ...] = get_args(Metric)
# Precision and recall are left out: their best value over all thresholds says nothing.
BEST_THRESHOLD_METRICS = ("f1", "iou", "accuracy", "mcc")
# `dataset` and `mean` are other usual names of the same two choices.
_ALIASES = {"dataset": "pooled", "mean": "macro"}


@dataclass(frozen=True)
class SegmentationRule:
    """One way to turn per-image pixel counts into numbers.

    Args:
        reduction: `image`: metric of each image, then the mean; `batch`: counts summed over `batch_size` consecutive
            images, metric of each sum, then the mean; `pooled`: counts of all images summed, one metric.
        average: `forged`: the forged class only; `macro`: mean of the forged and the authentic class.
        authentic: what images without a forged pixel do. `skip`: they are left out; `zero`: they take part and a
            metric that is 0/0 counts 0; `one`: they take part and 0/0 counts 1, that is, calling nothing is perfect.
        polarity: `inverted` exchanges forged and authentic in the prediction after the threshold; `permute` takes
            the better of both for each image, batch or pool.
        threshold: a pixel is called forged if its probability is greater. `best`: for each image (or for the pool)
            the threshold that maximises the metric, among `histograms.BINS` steps. `soft`: no threshold, the
            probabilities themselves are counted.
        border_ignore: (erode, dilate), odd widths in pixels of the square windows that erode and dilate the true
            mask; pixels between the two are counted nowhere. None: every pixel counts.
        batch_size: images of a batch when the reduction is `batch`.
        metrics: what is computed.
        epsilon: added to every denominator. With 0 (the default) the ratios are exact and 0/0 follows `authentic`.
        f1_from: `counts`: 2 tp / (2 tp + fp + fn); `precision_recall`: their harmonic mean, which differs only
            through `epsilon`.
        one_for: the metrics to which `authentic="one"` applies; the others count 0 for 0/0.

    Raises:
        ValueError: a value is not one of those above.
    """

    reduction: Reduction = "image"
    average: Average = "forged"
    authentic: Authentic = "skip"
    polarity: Polarity = "normal"
    threshold: float | Literal["best", "soft"] = 0.5
    border_ignore: tuple[int, int] | None = None
    batch_size: int = 8
    metrics: tuple[Metric, ...] = ("precision", "recall", "f1", "iou")
    epsilon: float = 0.0
    f1_from: Literal["counts", "precision_recall"] = "counts"
    one_for: tuple[Metric, ...] = METRICS

    def __post_init__(self) -> None:
        for name, allowed in (("reduction", Reduction), ("average", Average)):
            object.__setattr__(self, name, _ALIASES.get(getattr(self, name), getattr(self, name)))
            _require(name, getattr(self, name), get_args(allowed))
        _require("authentic", self.authentic, get_args(Authentic))
        _require("polarity", self.polarity, get_args(Polarity))
        for metric in self.metrics:
            _require("metrics", metric, METRICS)
        self._check_threshold()
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.border_ignore is not None and any(width < 1 or width % 2 == 0 for width in self.border_ignore):
            raise ValueError(f"border_ignore must be two odd widths in pixels, got {self.border_ignore}")

    def _check_threshold(self) -> None:
        if self.threshold == "soft":
            return
        if self.threshold == "best":
            if self.reduction == "batch":
                raise ValueError('threshold="best" needs reduction "image" or "pooled", got "batch"')
            for metric in self.metrics:
                _require('metrics with threshold="best"', metric, BEST_THRESHOLD_METRICS)
        elif isinstance(self.threshold, str) or not 0 <= self.threshold <= 1:
            raise ValueError(f'threshold must be a number from 0 to 1, "best" or "soft", got {self.threshold!r}')


def _require(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")


_IMAGE = SegmentationRule()
_MVSS_EPSILON, _FOCAL_EPSILON, _IMDLBENCO_EPSILON, _LISA_EPSILON = 1e-6, 1e-6, 1e-8, 1e-5

# What each toolkit reports, as the rules that give the same numbers. docs/evaluation.md lists the few places where a
# proven error of a toolkit is not repeated.
PRESETS: dict[str, tuple[SegmentationRule, ...]] = {
    # PromptForge-350k, Tables 1 to 4. The rule is not given in the paper: its numbers satisfy the identities of
    # summed counts (IoU = F1 / (2 - F1)) and miss those of a mean over images.
    "iclnet": (SegmentationRule(reduction="pooled"),),
    "imdlbenco": (
        replace(_IMAGE, authentic="zero", epsilon=_IMDLBENCO_EPSILON, f1_from="precision_recall", metrics=("f1",)),
        replace(_IMAGE, authentic="zero", epsilon=_IMDLBENCO_EPSILON, metrics=("iou",)),
        replace(_IMAGE, authentic="zero", metrics=("auc",)),
    ),
    "trufor": (
        replace(_IMAGE, polarity="permute", border_ignore=(15, 11), threshold="best", metrics=("f1",)),
        replace(_IMAGE, polarity="permute", border_ignore=(15, 11), metrics=("f1",)),
    ),
    # Plain metrics, then `*_weighted_v2`, `*_weighted_v1` and `mAuroc`.
    "photoholmes": (
        SegmentationRule("pooled", authentic="zero", metrics=("precision", "recall", "f1", "iou", "mcc", "auc")),
        SegmentationRule("pooled", authentic="zero", threshold="soft", metrics=("f1", "iou")),
        SegmentationRule("image", authentic="zero", threshold="soft", metrics=("f1", "iou")),
        SegmentationRule("image", authentic="zero", metrics=("auc",)),
    ),
    "focal": (
        replace(_IMAGE, authentic="one", average="macro", metrics=("f1",)),
        replace(_IMAGE, authentic="one", epsilon=_FOCAL_EPSILON, metrics=("iou",)),
    ),
    # `calculate_pixel_f1`; the evaluation script of that repository shows it tampered images only (authentic="skip").
    "mvss": (
        replace(
            _IMAGE, authentic="one", epsilon=_MVSS_EPSILON, one_for=("f1",), metrics=("f1", "precision", "recall")
        ),
    ),
    # gIoU, then cIoU.
    "lisa": (
        replace(_IMAGE, epsilon=_LISA_EPSILON, metrics=("iou",)),
        SegmentationRule("pooled", metrics=("iou",)),
    ),
}


def preset(name: str) -> tuple[SegmentationRule, ...]:
    """Return the rules of a published toolkit.

    Raises:
        ValueError: no preset has that name.
    """
    _require("preset", name, tuple(PRESETS))
    return PRESETS[name]
