"""What the page of `forgescope demo` asks the models: a report on a photograph, and on changed copies of it."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from PIL import Image

from forgescope.evaluation.perturbations import Perturbation

from .analyze import Analyzer
from .decision import Verdict
from .hub import EMBEDDED_CHECKPOINTS, resolve_checkpoint
from .reading import read_image
from .report import ForgeryReport

# A page is answered while somebody waits: larger photographs are left to `forgescope detect`.
MAX_PIXELS = 50_000_000


@dataclass(frozen=True)
class Change:
    """One way to change a photograph, with the range of its slider.

    Args:
        kind: "jpeg", "crop" or "blur".
        title: of the slider.
        unit: of the strength.
        lowest: lower end of the slider.
        highest: upper end.
        step: of the slider.
        neutral: strength at which the photograph is left as it is.
        strengths: those that are tried together.
    """

    kind: str
    title: str
    unit: str
    lowest: int
    highest: int
    step: int
    neutral: int
    strengths: tuple[int, ...]


# Strengths of ICL-Net's Table 2 (JPEG, crop) and of LEGION's Table 10 (blur), see `Perturbation`.
CHANGES = (
    Change("jpeg", "JPEG compression", "quality", 10, 100, 5, 100, (90, 80, 70, 60)),
    Change("crop", "Center crop", "% of each side removed", 0, 60, 5, 0, (10, 20, 30, 40)),
    Change("blur", "Gaussian blur", "width of the kernel in pixels", 1, 31, 2, 1, (5, 9, 15)),
)


@dataclass(frozen=True)
class Trial:
    """What a model says of a changed photograph.

    Args:
        kind: of the change; None: the photograph as it is.
        strength: of the change.
        score: see `ForgeryReport`, as the next two.
        verdict: likewise.
        forged_fraction: likewise; None: the model marks no pixels.
    """

    kind: str | None
    strength: int
    score: float
    verdict: Verdict
    forged_fraction: float | None

    @property
    def name(self) -> str:
        """The form of `Perturbation.name`: `jpeg:80`, or `unchanged`."""
        return "unchanged" if self.kind is None else f"{self.kind}:{self.strength}"


class Examiner:
    """The models that a page offers, each loaded when it is first chosen and kept.

    Args:
        models: folders and Hub ids, offered before the embedded checkpoints.
        device: torch device; None: a GPU when there is one.

    Raises:
        ValueError: there is no such checkpoint.
    """

    def __init__(self, models: Sequence[str | os.PathLike] = (), device: str | None = None):
        self.names = list(dict.fromkeys([*(os.fspath(one) for one in models), *EMBEDDED_CHECKPOINTS]))
        self.device = device
        self._analyzers: dict[str, Analyzer] = {}
        self._loading = Lock()
        for name in self.names:
            resolve_checkpoint(name)

    def analyzer(self, name: str) -> Analyzer:
        """Return a model of the list, loaded.

        Raises:
            ValueError: a model that is not in the list, or that cannot be loaded.
        """
        if name not in self.names:
            raise ValueError(f"expected one of the models {', '.join(self.names)}, got {name!r}")
        with self._loading:
            if name not in self._analyzers:
                self._analyzers[name] = Analyzer(name, device=self.device, max_pixels=MAX_PIXELS)
            return self._analyzers[name]

    def examine(self, path: str | os.PathLike, name: str) -> ForgeryReport:
        """Examine a file with a model of the list.

        Raises:
            ValueError: a file that cannot be examined, or a model that cannot be used.
        """
        return self.analyzer(name).analyze(path)

    def examine_changed(
        self, path: str | os.PathLike, name: str, changes: Sequence[tuple[Change, int]]
    ) -> Iterator[tuple[Trial, ForgeryReport]]:
        """Change a photograph in several ways, each by itself, and examine every copy.

        Args:
            path: image file.
            name: model of the list.
            changes: kinds and their strengths.

        Yields:
            The result of each change, and its report.

        Raises:
            ValueError: as `examine`; or a strength that the slider has not, which a request can have: a blur of
                thousands of pixels takes minutes.
        """
        photo = read_image(path, MAX_PIXELS).image
        for change, strength in changes:
            if not change.lowest <= strength <= change.highest:
                raise ValueError(f"{change.title} goes from {change.lowest} to {change.highest}, got {strength}")
            report = self.analyzer(name).analyze(changed(photo, change.kind, strength))
            yield trial_of(report, change.kind, strength), report


def changed(photo: Image.Image, kind: str, strength: int) -> Image.Image:
    """Change a photograph as `Perturbation` does, but cut from all sides alike instead of at a random place.

    Args:
        photo: mode RGB.
        kind: "jpeg", "crop" or "blur".
        strength: JPEG quality, percent of each side, or the odd width of the kernel in pixels.

    Raises:
        ValueError: an unknown kind or a strength out of range.
    """
    if kind == "crop":
        return _center_crop(photo, Perturbation(crop_percent=strength).crop_percent)
    if kind not in ("jpeg", "blur"):
        raise ValueError(f"expected jpeg, crop or blur, got {kind!r}")
    one = Perturbation(jpeg_quality=strength) if kind == "jpeg" else Perturbation(blur_kernel=strength)
    return one.apply(photo, None)[0]


def trial_of(report: ForgeryReport, kind: str | None = None, strength: int = 0) -> Trial:
    """Keep the numbers of a report."""
    marked = report.forged_fraction if report.marks_pixels else None
    return Trial(kind, strength, report.score, report.verdict, marked)


def all_changes() -> list[tuple[Change, int]]:
    """Every kind with each of its strengths."""
    return [(change, strength) for change in CHANGES for strength in change.strengths]


def sentence_of(error: Exception, path: str | os.PathLike | None = None) -> str:
    """Say in one line what went wrong; the server's folder of uploads is left out."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if path is None else text.replace(os.fspath(path), Path(path).name)


def _center_crop(photo: Image.Image, percent: float) -> Image.Image:
    kept = 1 - percent / 100
    width, height = max(1, round(photo.width * kept)), max(1, round(photo.height * kept))
    left, top = (photo.width - width) // 2, (photo.height - height) // 2
    return photo.crop((left, top, left + width, top + height))
