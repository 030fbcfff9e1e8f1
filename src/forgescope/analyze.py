"""One call: photograph in, `ForgeryReport` out. Command line, evaluation and Python users run this same code."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import PreTrainedModel

from forgescope.evaluation.grounded_scores import united
from forgescope.processing.image_processing_forgery import ForgeryImageProcessor

from .artifact_reasoner import ArtifactReasoner
from .decision import DecisionRule
from .editor_maps import editor_shares
from .examination import Examination, Failure, each_or_error, failure, mask_notes
from .explain import EXPLAINING, OUTLINING, Explainer, ExplainingProcessor
from .hub import EMBEDDED_CHECKPOINTS, model_type_of
from .localize import Localizer, load_for_inference
from .provenance import read_provenance
from .reading import DEFAULT_MAX_PIXELS, SMALLEST_EDGE, ImageReadError, ReadImage, as_read_image, read_image
from .reasoner import Reasoner
from .report import ForgeryReport, artifact_regions, find_regions
from .tiling import DEFAULT_OVERLAP

ImageInput = str | os.PathLike | Image.Image
# Photographs that wait to be examined together, in pixels: 32 million are 96 MB.
MOST_WAITING_PIXELS = 32_000_000
# Batches that are read ahead when photographs keep their sizes, to find some of one size.
SIZES_AHEAD = 4


class Analyzer:
    """A checkpoint ready to examine photographs.

    Args:
        model: embedded name, folder or Hub id (None: the embedded checkpoint); or a loaded model, which is used as it
            is, with `processor`. Of those that explain themselves, see `Reasoner` and `ArtifactReasoner`.
        processor: processor of a loaded model.
        device: torch device; None: a GPU when there is one.
        dtype: "float32" or "bfloat16" (faster, thresholds were chosen in float32); "auto" is float32, and as it was
            saved for a model that explains itself.
        batch_size: see `Localizer` and `Explainer`.
        tile: see `Localizer`.
        overlap: see `Localizer`.
        threshold: replaces the checkpoint's `forged_threshold`, 0..1.
        mask_threshold: replaces its `mask_threshold`, 0..1.
        max_pixels: larger files count as decompression bombs.
        provenance: read what files say of their origin, see `Provenance`; it has no part in score and verdict.
        explanations: False asks LEGION for its verdict alone, see `ArtifactReasoner`; others have no such choice.

    Raises:
        ValueError: unknown or unsuitable checkpoint, dtype, tile or threshold.
    """

    def __init__(
        self,
        model: str | os.PathLike | PreTrainedModel | None = None,
        processor: ForgeryImageProcessor | ExplainingProcessor | None = None,
        *,
        device: str | torch.device | None = None,
        dtype: str = "auto",
        batch_size: int | None = None,
        tile: int | None = None,
        overlap: int = DEFAULT_OVERLAP,
        threshold: float | None = None,
        mask_threshold: float | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        provenance: bool = True,
        explanations: bool = True,
    ):
        self.localizer: Localizer | Reasoner | ArtifactReasoner
        model_type = _model_type(model)
        if not explanations and model_type != OUTLINING:
            raise ValueError(f"only a checkpoint of type {OUTLINING} can be asked without explanations")
        if model_type in EXPLAINING:
            if tile is not None:
                raise ValueError("this model sees photographs whole, at one size: leave tile out")
            of_masks: dict[str, Any] = {"mask_threshold": mask_threshold} if model_type == OUTLINING else {}
            explainer = Explainer(model, processor, device=device, dtype=dtype, batch_size=batch_size, **of_masks)
            self.name, self.localizer = explainer.name, Reasoner(explainer)
            if explainer.outlines:
                self.localizer = ArtifactReasoner(explainer, explanations, batch_size)
        else:
            self.name, loaded, processor = _load(model, processor, device, dtype)
            self.localizer = Localizer(loaded, processor, batch_size, tile, overlap)
        self.max_pixels, self.provenance = max_pixels, provenance
        self.rule = DecisionRule.from_config(self.localizer.model.config).with_thresholds(threshold, mask_threshold)

    @property
    def precision(self) -> str:
        """Arithmetic of the forward pass, such as `float32`."""
        return str(self.localizer.model.dtype).removeprefix("torch.")

    def analyze(self, image: ImageInput) -> ForgeryReport:
        """Examine one photograph.

        Args:
            image: path or PIL image of any mode.

        Returns:
            The report.

        Raises:
            ImageReadError: a file or image that cannot be examined.
            ValueError: the model returned values that are not numbers.
        """
        return next(self.analyze_many([image]))

    def analyze_many(self, images: Iterable[ImageInput]) -> Iterator[ForgeryReport]:
        """Examine photographs in batches, lazily and in their order.

        Args:
            images: paths or PIL images.

        Yields:
            One report an image, equal to `analyze` on it.

        Raises:
            ImageReadError: at the first file that cannot be examined; `results` goes on.
        """
        for result in self.results(images):
            if isinstance(result, Failure):
                raise ImageReadError(result.error)
            yield result

    def results(self, images: Iterable[ImageInput]) -> Iterator[ForgeryReport | Failure]:
        """Examine photographs as `analyze_many` does; one that fails becomes a `Failure` and the rest go on."""
        for window in self._windows(images):
            good = [(path, read) for path, read in window if isinstance(read, ReadImage)]
            # taken out one by one, so that no map outlives its report
            found = deque(each_or_error(self.localizer.examine, [read.image for _, read in good]))
            for path, read in window:
                if isinstance(read, ReadImage):
                    yield self._result(path, read, found.popleft())
                else:
                    yield Failure(path, str(read))

    def examine(self, images: Sequence[Image.Image]) -> list[Examination]:
        """Compute maps and score of each image without making a report.

        Args:
            images: PIL images of any mode and size.

        Returns:
            One examination an image, see `Localizer`; `score` is always set, to what the report would hold.

        Raises:
            ImageReadError: an image that cannot be converted to RGB.
            ValueError: the model returned values that are not numbers.
        """
        return [replace(one, score=one.final_score(self.rule)) for one in self.localizer.examine(images)]

    def report(self, image: Image.Image, found: Examination) -> ForgeryReport:
        """Make the report on an image from what the model said of it.

        Args:
            image: mode RGB.
            found: one of `Localizer.examine`, or of `examine`, on this image.

        Raises:
            ValueError: values that are not numbers.
        """
        return self._report(None, ReadImage(image), found)

    def probability_maps(self, images: Sequence[Image.Image]) -> list[np.ndarray]:
        """Compute the probability of each pixel to be forged: (H, W) float32 for each image, see `Localizer`.

        Raises:
            ValueError: the model marks no pixels.
        """
        maps = [one.probability_map for one in self.localizer.examine(images)]
        if any(one is None for one in maps):
            raise ValueError(f"{self.name} has no mask head, so there are no probability maps: use examine()")
        return [one for one in maps if one is not None]

    def _windows(self, images: Iterable[ImageInput]) -> Iterator[list[tuple[str | None, ReadImage | ImageReadError]]]:
        """Read photographs ahead, enough to fill batches of one size and not more memory than stated."""
        most = self.localizer.batch_size * (SIZES_AHEAD if self.localizer.native else 1)
        window: list[tuple[str | None, ReadImage | ImageReadError]] = []
        pixels = 0
        for image in images:
            path = None if isinstance(image, Image.Image) else os.fspath(image)
            read: ReadImage | ImageReadError
            try:
                read = as_read_image(image) if isinstance(image, Image.Image) else read_image(image, self.max_pixels)
                pixels += read.image.width * read.image.height
            except ImageReadError as error:
                read = error
            window.append((path, read))
            if len(window) >= most or pixels >= MOST_WAITING_PIXELS:
                yield window
                window, pixels = [], 0
        if window:
            yield window

    def _result(self, path: str | None, read: ReadImage, found: Examination | Exception) -> ForgeryReport | Failure:
        if isinstance(found, Exception):
            return failure(path, read.image, found)
        try:
            return self._report(path, read, found)
        except ValueError as error:
            return Failure(path, f"{path or 'image'}: {error}")

    def _report(self, path: str | None, read: ReadImage, found: Examination) -> ForgeryReport:
        score = found.final_score(self.rule)
        mask = self._mask(found.probability_map)
        if found.phrases is not None or mask is None:
            size = read.image.height, read.image.width
            mask = united([one.mask for one in found.phrases or ()], size)
        ai_mask = self._mask(found.ai_map)
        unclear = found.undecided or min(read.image.size) < SMALLEST_EDGE
        verdict = "inconclusive" if unclear else self.rule.verdict(score)
        editors, regions = self.localizer.editors, []
        if found.phrases is not None:
            regions = artifact_regions(found.phrases)
        elif found.probability_map is not None:
            regions = find_regions(mask, found.probability_map, found.editor_map, editors)
        marked = bool(mask.any()) or (ai_mask is not None and bool(ai_mask.any()))
        notes = () if found.undecided else mask_notes(self.rule, self.localizer.heads, verdict, marked)
        return ForgeryReport(
            verdict=verdict,
            score=score,
            mask=mask,
            regions=regions,
            attribution=None if found.editor_map is None else editor_shares(mask, found.editor_map, editors),
            explanation=found.explanation,
            model=self.name,
            forged_fraction=_share(mask),
            probability_map=found.probability_map,
            rule=self.rule,
            notes=[*read.notes, self.localizer.describe(read.image), *found.notes, *notes],
            precision=self.precision,
            path=path,
            image=read.image,
            ai_mask=ai_mask,
            ai_fraction=None if ai_mask is None else _share(ai_mask),
            editor_map=found.editor_map,
            provenance=read_provenance(path, self.max_pixels) if self.provenance and path is not None else None,
        )

    def _mask(self, probabilities: np.ndarray | None) -> np.ndarray | None:
        return None if probabilities is None else (probabilities >= self.rule.mask_threshold).view(np.uint8)


def _model_type(model: str | os.PathLike | PreTrainedModel | None) -> str:
    if isinstance(model, PreTrainedModel):
        return str(model.config.model_type)
    return model_type_of(EMBEDDED_CHECKPOINTS[0] if model is None else model)


def _load(
    model: str | os.PathLike | PreTrainedModel | None,
    processor: ForgeryImageProcessor | None,
    device: str | torch.device | None,
    dtype: str,
) -> tuple[str, PreTrainedModel, ForgeryImageProcessor]:
    """Name, model in evaluation mode and processor; a loaded model is used as it is."""
    if not isinstance(model, PreTrainedModel):
        return str(EMBEDDED_CHECKPOINTS[0] if model is None else model), *load_for_inference(model, device, dtype)
    if processor is None:
        raise ValueError("expected a processor with a loaded model: Analyzer(model, processor)")
    return model.name_or_path or type(model).__name__, model.eval(), processor


def _share(mask: np.ndarray) -> float:
    return float(np.count_nonzero(mask) / mask.size)


def analyze(
    image: ImageInput,
    model: str | os.PathLike | PreTrainedModel | Sequence[str | os.PathLike] | None = None,
    **settings: Any,
) -> ForgeryReport:
    """Examine one photograph; checkpoints are kept for the next call.

    Args:
        image: path or PIL image of any mode.
        model: embedded name, folder, Hub id or loaded model; None: the embedded checkpoint. Several names in a list
            are asked one after the other; see `EnsembleReport`.
        **settings: arguments of `Analyzer`, such as `device`, `dtype`, `tile` or `threshold`.

    Returns:
        The report: verdict, score, mask, regions and `overlay()`.

    Raises:
        ImageReadError: a file or image that cannot be examined.
        ValueError: unknown or unsuitable checkpoint or settings.
    """
    if isinstance(model, PreTrainedModel):
        return Analyzer(model, **settings).analyze(image)
    from .kept_checkpoints import kept_checkpoints

    return kept_checkpoints(model, **settings).analyze(image)
