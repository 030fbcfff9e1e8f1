"""What an evaluation keeps of its images: scores, counts, and one histogram for each subset."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .class_maps import ClassMeasures
from .histograms import BINS
from .measures import Border, PixelMeasures
from .perturbations import NONE, Perturbation
from .rules import SegmentationRule


@dataclass(frozen=True)
class Skipped:
    """A test image that could not be read, or not be scored, and why."""

    name: str
    reason: str


@dataclass
class ImageRecord:
    """One scored image.

    Args:
        name: its name.
        source: the subset it belongs to.
        forged: whether it has a forged pixel.
        score: 0 to 1, higher = more likely forged, or fake where `label` is given.
        pixels: its pixel numbers; None where the forged pixels are not known, or not asked for.
        label: 1 = fake, 0 = real, where the score is a classifier's; None where it was made from forged pixels.
        classes: counts of its class map, where the pixels are told apart by their editor.
    """

    name: str
    source: str
    forged: bool
    score: float
    pixels: PixelMeasures | None
    label: int | None = None
    classes: ClassMeasures | None = None

    @property
    def positive(self) -> bool:
        """The truth that the score stands for: fake, or forged."""
        return self.forged if self.label is None else bool(self.label)


@dataclass
class EvaluationResult:
    """Everything that rows of numbers are computed from.

    Args:
        rules: the rules that were measured.
        perturbation: what was done to the images first.
        records: the images that were scored, in their order.
        skipped: those that were not, and why.
        histograms: (2, BINS) pixel histograms added up over (source, border, forged or authentic images).
    """

    rules: tuple[SegmentationRule, ...]
    perturbation: Perturbation = NONE
    records: list[ImageRecord] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    histograms: dict[tuple[str, Border, bool], NDArray[np.int64]] = field(default_factory=dict)

    def add(self, record: ImageRecord) -> None:
        """Keep a record; its histograms go into the sums of its subset."""
        if record.pixels is not None:
            for border, histogram in record.pixels.histograms.items():
                key = (record.source, border, record.forged)
                self.histograms[key] = self.histograms.get(key, 0) + histogram
            record.pixels.histograms = {}
        self.records.append(record)

    @property
    def sources(self) -> list[str]:
        """The subsets, sorted."""
        return sorted({record.source for record in self.records})

    def pooled_histogram(
        self, border: Border, sources: Iterable[str] | None = None, forged_images_only: bool = False
    ) -> NDArray[np.int64]:
        """Add the histograms of subsets (default: all) up to (2, BINS)."""
        wanted = set(self.sources if sources is None else sources)
        total = np.zeros((2, BINS), dtype=np.int64)
        for (source, of_border, forged), histogram in self.histograms.items():
            if source in wanted and of_border == border and (forged or not forged_images_only):
                total += histogram
        return total

    def authentic_scores(self) -> list[float]:
        """Scores of the images that must raise no alarm, from which a threshold is calibrated."""
        return [record.score for record in self.records if not record.positive]
