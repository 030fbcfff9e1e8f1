"""Streaming evaluation of class maps: which pixels were edited, and by which editor (DiffSeg30k)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .class_maps import ClassRule, edited_pixels, edited_share, id_mask, measure_class_map
from .evaluator import Evaluator, Example, checked_score
from .results import ImageRecord, Skipped


class ClassPrediction(Protocol):
    """What a model says of an image.

    Attributes:
        class_map: (H, W) ids of classes, 0 = authentic, of the image's size; None: it marks no pixels.
        score: a classifier's, 0 to 1, higher = more likely fake; None: the share of edited pixels is the score.
    """

    @property
    def class_map(self) -> NDArray[np.integer] | None: ...  # noqa: D102

    @property
    def score(self) -> float | None: ...  # noqa: D102


@dataclass
class ClassMapEvaluator(Evaluator):
    """An `Evaluator` whose masks and predictions hold ids of classes.

    Args:
        predict: takes RGB images, returns a `ClassPrediction` for each.
        class_rule: classes, and how they are compared; None: pixels are not looked at, only images as a whole.
    """

    predict: Callable[[list[Image.Image]], Sequence[ClassPrediction]]  # type: ignore[assignment]
    class_rule: ClassRule | None = None

    def _prepare(self, example: Example) -> Example | Skipped:
        try:
            ids = id_mask(example.mask, example.image.size)
            image, mask = self.perturbation.apply(example.image, ids, seed=self.seed, name=example.name)
        except (ValueError, OSError) as error:
            return Skipped(example.name, str(error))
        edited = bool((edited_pixels(ids if mask is None else mask) == 1).any())
        return Example(image, mask, example.source, example.name, edited, example.label)

    def _record(self, example: Example, prediction: Any) -> ImageRecord:
        class_map, score, label, classes = prediction.class_map, checked_score(prediction.score), None, None
        if score is not None:
            label = int(bool(example.forged) if example.label is None else example.label)
        elif class_map is not None:
            score = edited_share(class_map)
        else:
            raise ValueError("the model returned neither a class map nor a score")
        if self.class_rule is not None:
            if class_map is None:
                raise ValueError("the model marks no pixels")
            classes = measure_class_map(class_map, np.asarray(example.mask, dtype=np.uint8), self.class_rule)
        return ImageRecord(example.name, example.source, bool(example.forged), score, None, label, classes)
