"""Streaming evaluation: images go through a model once, and only counts, scores and histograms are kept."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from .measures import measure_image
from .perturbations import NONE, Perturbation
from .ranking import top_fraction_score
from .results import EvaluationResult, ImageRecord, Skipped
from .rules import SegmentationRule

Item = TypeVar("Item")
# Default of the model configurations; the paper has no image-level decision.
SCORE_TOP_FRACTION = 0.01
WHITE = 255


class Scored(Protocol):
    """What a model says of an image: a score, where it has a classifier, beside or in place of the map.

    Attributes:
        probability_map: (H, W) probabilities of forgery, 0 to 1, of the image's size; None: it marks no pixels.
        score: the classifier's, 0 to 1, higher = more likely fake; None: there is no classifier, only the map.
    """

    @property
    def probability_map(self) -> NDArray[np.floating] | None: ...  # noqa: D102

    @property
    def score(self) -> float | None: ...  # noqa: D102


Predict = Callable[[list[Image.Image]], Sequence[NDArray[np.floating] | Scored]]
# Takes an image as the model saw it, what the model said of it, and its record.
Watch = Callable[["Example", Any, ImageRecord], None]


@dataclass(frozen=True)
class Example:
    """One test image.

    Args:
        image: RGB.
        mask: true mask of the image's size, PIL or (H, W) array, 0/1 or 0/255, non-zero = forged; None: no forged
            pixel, or, when `forged` is True, an image whose forged pixels are not known.
        source: the subset it belongs to; every source gets its own rows.
        name: how it is named when something is wrong with it.
        forged: True or False where the mask does not tell; None: forged if the mask has a forged pixel, or, without a
            mask, if the label is fake.
        label: 1 = fake, 0 = real, what a classifier's score is compared with; None: fake if it is forged. A mask does
            not tell it: copy-move and splicing have forged pixels and are real for GAMMA (its Table 1).
    """

    image: Image.Image
    mask: Image.Image | NDArray | None = None
    source: str = "all"
    name: str = ""
    forged: bool | None = None
    label: int | None = None


@dataclass
class Evaluator:
    """Run a model over examples and measure them under several rules at once.

    Args:
        predict: takes RGB images, returns for each one (H, W) map of forgery probabilities (0 to 1), of its size, or
            an object with the attributes of `Scored`.
        rules: the segmentation rules that will be reported; none: pixels are not looked at.
        batch_size: images passed to `predict` together.
        score: turns a probability map into the score of the image, 0 to 1, higher = more likely forged; not asked
            where `predict` returns a score.
        perturbation: applied to every image and its mask first.
        seed: seed of the random crops.
        watch: called with every image that was scored; None: nobody looks on.
    """

    predict: Predict
    rules: Sequence[SegmentationRule] = (SegmentationRule(),)
    batch_size: int = 8
    score: Callable[[NDArray[np.floating]], float] = lambda map_: top_fraction_score(map_, SCORE_TOP_FRACTION)
    perturbation: Perturbation = NONE
    seed: int = 0
    watch: Watch | None = None

    def run(self, examples: Iterable[Example | Skipped], total: int | None = None) -> EvaluationResult:
        """Evaluate a stream of examples.

        An example that cannot be read or scored is left out and named in `EvaluationResult.skipped`; it never stops
        the others.

        Args:
            examples: test images; a `Skipped` among them is passed on to the result.
            total: their number, for the progress bar.

        Raises:
            ValueError: not a single example could be scored.
        """
        result = EvaluationResult(rules=tuple(self.rules), perturbation=self.perturbation)
        progress = tqdm(total=total, desc=f"evaluate ({self.perturbation.name})", unit="image", disable=None)
        with progress:
            for batch in _batches(examples, self.batch_size):
                ready: list[Example] = []
                for example in batch:
                    prepared = example if isinstance(example, Skipped) else self._prepare(example)
                    if isinstance(prepared, Skipped):
                        result.skipped.append(prepared)
                    else:
                        ready.append(prepared)
                self._measure(ready, result)
                progress.update(len(batch))
        if not result.records:
            first = f"; the first, {result.skipped[0].name}: {result.skipped[0].reason}" if result.skipped else ""
            raise ValueError(f"not one of {len(result.skipped)} images could be scored{first}")
        return result

    def _prepare(self, example: Example) -> Example | Skipped:
        try:
            mask = binary_mask(example.mask, example.image.size)
            forged = bool(example.label if example.forged is None else example.forged)
            if mask is None and not forged:
                mask = np.zeros((example.image.height, example.image.width), dtype=np.uint8)
            image, mask = self.perturbation.apply(example.image, mask, seed=self.seed, name=example.name)
        except (ValueError, OSError) as error:
            return Skipped(example.name, str(error))
        forged = forged if mask is None else bool(mask.any())
        return Example(image, mask, example.source, example.name, forged, example.label)

    def _measure(self, examples: list[Example], result: EvaluationResult) -> None:
        """Predict a batch; when that fails, one image at a time, so that only the guilty one is left out."""
        if not examples:
            return
        try:
            predictions = list(self.predict([example.image for example in examples]))
            if len(predictions) != len(examples):
                raise ValueError(f"predict returned {len(predictions)} results for {len(examples)} images")
        except (ValueError, OSError, RuntimeError) as error:
            if len(examples) == 1:
                result.skipped.append(Skipped(examples[0].name, str(error)))
            else:
                for example in examples:
                    self._measure([example], result)
            return
        for example, prediction in zip(examples, predictions, strict=True):
            try:
                result.add(self._record(example, prediction))
            except ValueError as error:
                result.skipped.append(Skipped(example.name, str(error)))
                continue
            if self.watch is not None:
                self.watch(example, prediction, result.records[-1])

    def _record(self, example: Example, prediction: NDArray[np.floating] | Scored) -> ImageRecord:
        probabilities, own_score = as_map_and_score(prediction)
        if probabilities is not None and not np.isfinite(probabilities).all():
            raise ValueError("the model returned probabilities that are not finite")
        label = pixels = None
        if own_score is not None:
            score = own_score
            label = int(bool(example.forged) if example.label is None else example.label)
        elif probabilities is not None:
            score = self.score(probabilities)
        else:
            raise ValueError("the model returned neither a map nor a score")
        if self.rules and probabilities is not None and example.mask is not None:
            pixels = measure_image(probabilities, np.asarray(example.mask, dtype=np.uint8), self.rules)
        return ImageRecord(example.name, example.source, bool(example.forged), score, pixels, label)


def as_map_and_score(prediction: NDArray[np.floating] | Scored) -> tuple[NDArray[np.floating] | None, float | None]:
    """Take apart what a model returned for an image: its map, and its score where it gives one itself.

    Raises:
        ValueError: the score is no number from 0 to 1.
    """
    if isinstance(prediction, np.ndarray) or not hasattr(prediction, "score"):
        return np.asarray(prediction), None
    return prediction.probability_map, checked_score(prediction.score)


def checked_score(score: float | None) -> float | None:
    """Check the score that a model gave an image.

    Raises:
        ValueError: it is no number from 0 to 1.
    """
    if score is not None and not 0 <= score <= 1:
        raise ValueError(f"the model returned the score {score}: expected a number from 0 to 1")
    return None if score is None else float(score)


def binary_mask(mask: Image.Image | NDArray | None, size: tuple[int, int]) -> NDArray[np.uint8] | None:
    """Read a mask as (H, W) uint8, 1 = forged.

    Args:
        mask: PIL image or (H, W) array with 0/1 or 0/255, or None.
        size: (width, height) of the image, pixels.

    Raises:
        ValueError: another size, more than one channel, or other values.
    """
    if mask is None:
        return None
    values = np.asarray(mask)
    if values.shape != size[::-1]:
        raise ValueError(
            f"the mask must be (height, width) = {size[::-1]} like its image, got {values.shape}; "
            "resize it with nearest neighbour, or pair it with its own image"
        )
    largest = values.max(initial=0)
    if not np.isin(values, (0, largest)).all() or largest not in (0, 1, WHITE):
        raise ValueError(f"the mask must hold 0 and 1, or 0 and 255, got {np.unique(values)[:8].tolist()}")
    return (values > 0).astype(np.uint8)


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
