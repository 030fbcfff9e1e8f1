"""Several checkpoints on one photograph: the view of each, and what they agree on."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from .analyze import Analyzer, ImageInput
from .decision import DecisionRule
from .examination import Failure
from .reading import ImageReadError
from .report import ForgeryReport, find_regions

# What a verdict counts as a vote. Scores of different checkpoints cannot be averaged: their thresholds differ.
VOTES = {"authentic": 0.0, "inconclusive": 0.5, "forged": 1.0}
# More than half of the votes decide; half of them is inconclusive.
HALF = 0.5
RULE = DecisionRule(mask_threshold=HALF, forged_threshold=float(np.nextafter(HALF, 1)), authentic_threshold=HALF)
# Photographs that all checkpoints examine before the next ones are read.
PHOTOS_AT_A_TIME = 16


@dataclass(eq=False)
class EnsembleReport(ForgeryReport):
    """What several checkpoints say of one photograph.

    It is a `ForgeryReport` of what they agree on: `score` is the mean vote (forged 1, inconclusive 0.5, authentic 0),
    the verdict is that of more than half of the votes, a pixel of `mask` is marked by more than half of the
    checkpoints that mark pixels, and `probability_map` is the share of them that mark it. Not given in the papers.

    Args:
        views: the report of each checkpoint, in the order in which they were asked.
    """

    views: list[ForgeryReport] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the pictures, as plain values for JSON; `views` has the same of each checkpoint."""
        return super().to_dict() | {"views": [view.to_dict() for view in self.views]}


class Ensemble:
    """Several checkpoints ready to examine photographs; used as `Analyzer` is.

    Args:
        models: at least two of what `Analyzer` takes: embedded names, folders or Hub ids.
        **settings: arguments of `Analyzer`, the same for all.

    Raises:
        ValueError: fewer than two checkpoints, or as `Analyzer`.
    """

    def __init__(self, models: Sequence[str | os.PathLike], **settings: Any):
        if isinstance(models, str | os.PathLike) or len(models) < 2:
            raise ValueError(f"an ensemble needs at least two checkpoints, got {models!r}")
        self.analyzers = [Analyzer(model, **settings) for model in models]
        self.name = " + ".join(analyzer.name for analyzer in self.analyzers)
        self.rule = RULE

    @property
    def precision(self) -> str:
        """Arithmetic of the forward passes, such as `float32`."""
        return ", ".join(sorted({analyzer.precision for analyzer in self.analyzers}))

    def analyze(self, image: ImageInput) -> EnsembleReport:
        """Examine one photograph.

        Raises:
            ImageReadError: a file or image that cannot be examined.
        """
        return next(self.analyze_many([image]))

    def analyze_many(self, images: Iterable[ImageInput]) -> Iterator[EnsembleReport]:
        """Examine photographs, lazily and in their order; see `Analyzer.analyze_many`."""
        for result in self.results(images):
            if isinstance(result, Failure):
                raise ImageReadError(result.error)
            yield result

    def results(self, images: Iterable[ImageInput]) -> Iterator[EnsembleReport | Failure]:
        """Examine photographs; one that any of the checkpoints cannot examine becomes a `Failure`."""
        remaining = iter(images)
        while some := list(islice(remaining, PHOTOS_AT_A_TIME)):
            for views in zip(*(analyzer.results(some) for analyzer in self.analyzers), strict=True):
                failures = [view for view in views if isinstance(view, Failure)]
                yield failures[0] if failures else agree([view for view in views if isinstance(view, ForgeryReport)])


def agree(views: Sequence[ForgeryReport]) -> EnsembleReport:
    """Join the reports of several checkpoints on one photograph.

    Args:
        views: at least one; all of the same image.

    Returns:
        See `EnsembleReport`.

    Raises:
        ValueError: no report, or reports of images of different sizes.
    """
    if len({view.mask.shape for view in views}) != 1:
        sizes = ", ".join(f"{view.mask.shape[1]} x {view.mask.shape[0]}" for view in views) or "none"
        raise ValueError(f"expected reports of one image, got sizes {sizes}")
    first = views[0]
    marking = [view.mask for view in views if view.marks_pixels]
    shares = _shares(marking)
    mask = np.zeros_like(first.mask) if shares is None else (shares > HALF).view(np.uint8)
    made = _shares([view.ai_mask for view in views if view.ai_mask is not None])
    ai_mask = None if made is None else (made > HALF).view(np.uint8)
    score = float(np.mean([VOTES[view.verdict] for view in views]))
    said = [f"{view.model}: {view.explanation}" for view in views if view.explanation]
    return EnsembleReport(
        verdict=RULE.verdict(score),
        score=score,
        mask=mask,
        regions=[] if shares is None else find_regions(mask, shares),
        attribution=None,
        explanation="\n\n".join(said) or None,
        model=" + ".join(view.model for view in views),
        forged_fraction=float(mask.mean()),
        probability_map=shares,
        rule=RULE,
        notes=[f"{view.model}: {view.verdict}, score {view.score:.3f}" for view in views] + _notes(len(marking)),
        precision=", ".join(sorted({view.precision for view in views})),
        path=first.path,
        image=first.image,
        ai_mask=ai_mask,
        ai_fraction=None if ai_mask is None else float(ai_mask.mean()),
        provenance=first.provenance,
        views=list(views),
    )


def _shares(masks: list[np.ndarray]) -> np.ndarray | None:
    """Share of the masks that mark each pixel, (H, W) float32; None without masks."""
    return np.stack(masks).mean(axis=0, dtype=np.float32) if masks else None


def _notes(marking: int) -> list[str]:
    """How pixels were agreed on."""
    if marking == 0:
        return ["None of the checkpoints marks pixels."]
    if marking == 1:
        return ["One checkpoint alone marks pixels; the mask is its own."]
    return [f"A pixel is marked where more than half of the {marking} checkpoints that mark pixels mark it."]


__all__ = ["Ensemble", "EnsembleReport", "agree"]
