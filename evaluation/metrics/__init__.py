"""One `evaluate.Metric` a file; `evaluate.load(metric_path("pixel_f1"))` works without a network."""

from pathlib import Path

METRIC_MODULES = (
    "pixel_f1",
    "pixel_iou",
    "pixel_precision",
    "pixel_recall",
    "pixel_accuracy",
    "pixel_mcc",
    "pixel_auc",
    "pixel_boundary_f1",
    "image_auc",
    "image_average_precision",
    "image_accuracy",
    "image_f1",
    "text_scores",
)


def metric_path(name: str) -> str:
    """Return the file of a metric, for `evaluate.load`.

    Raises:
        ValueError: there is no such metric.
    """
    if name not in METRIC_MODULES:
        raise ValueError(f"expected one of {', '.join(METRIC_MODULES)}, got {name!r}")
    return str(Path(__file__).with_name(f"{name}.py"))
