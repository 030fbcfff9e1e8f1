"""The numbers of a run's last evaluation as rows that say how each was made, in the form of `forgescope evaluate`."""

from typing import Any, NamedTuple

from transformers import PretrainedConfig

PROTOCOL = "validation of the training run"
EDITOR_IOU = "iou_"
HALF = 0.5
# stands for `config.mask_threshold`
OF_MASKS = "mask_threshold"


class Definition(NamedTuple):
    """How a number is made.

    Args:
        metric: its name in the rows of `forgescope evaluate`.
        reduction: `pooled` (counts of all images summed) or `image` (mean over images).
        classes: which classes it is of.
        empty_rule: what images, or classes, without a pixel do; `none` where the number is of images as a whole.
        threshold: from which score, or pixel probability; None for numbers without one.
    """

    metric: str
    reduction: str
    classes: str
    empty_rule: str
    threshold: float | str | None = None


VERDICTS = {
    "accuracy": Definition("image_accuracy", "pooled", "fake", "none", HALF),
    "auc": Definition("image_auc", "pooled", "fake", "none"),
    "average_precision": Definition("image_average_precision", "pooled", "fake", "none"),
}
DEFINITIONS: dict[str, dict[str, Definition]] = {
    "iclnet": {
        name: Definition(f"pixel_{name}", "pooled", "forged", "zero", OF_MASKS)
        for name in ("precision", "recall", "f1", "iou")
    },
    "gamma": VERDICTS
    | {
        f"{head}_{name}": Definition(f"{head}_{name}", "pooled", "forged", "zero", OF_MASKS)
        for head in ("manipulation", "ai")
        for name in ("iou", "f1")
    },
    # the class of a pixel is the likeliest: no threshold
    "diffseg": {
        "pixel_accuracy": Definition("pixel_accuracy", "pooled", "all", "skip"),
        "mean_iou": Definition("pixel_iou", "pooled", "editors", "skip"),
    },
    "fakereasoning": VERDICTS | {"conclusion_found": Definition("conclusion_found", "image", "all", "none")},
    "legion": VERDICTS
    | {
        "mask_iou": Definition("pixel_iou", "image", "forged", "one", OF_MASKS),
        "mask_mean_iou": Definition("pixel_iou", "image", "macro", "one", OF_MASKS),
        "phrase_iou": Definition("phrase_iou", "image", "forged", "one", OF_MASKS),
    },
}


def run_rows(metrics: dict[str, float], config: PretrainedConfig, source: str, images: int) -> list[dict[str, Any]]:
    """Rows of what is defined; losses and times are left out.

    Args:
        metrics: of `Trainer.evaluate`, keys `eval_f1`, ...
        config: of the model.
        source: name of the data.
        images: how many were evaluated.
    """
    rows = []
    for key, value in metrics.items():
        definition = _definition(key.removeprefix("eval_"), config.model_type)
        if definition is not None:
            row = definition._asdict()
            if row["threshold"] == OF_MASKS:
                row["threshold"] = config.mask_threshold
            rows.append({"protocol": PROTOCOL, "source": source, "value": value, "n": images, **row})
    return rows


def _definition(name: str, model_type: str) -> Definition | None:
    if model_type == "diffseg" and name.startswith(EDITOR_IOU):
        return Definition("pixel_iou", "pooled", name.removeprefix(EDITOR_IOU), "skip")
    return DEFINITIONS.get(model_type, {}).get(name)


__all__ = ["DEFINITIONS", "Definition", "run_rows"]
