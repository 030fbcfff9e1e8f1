"""A table of DiffSeg30k as something to run: which edited images, told apart how, and what the paper reports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from .class_maps import AREA_THRESHOLD
from .class_rows import EDITORS, EVERY_CLASS, FORGED
from .perturbations import NONE
from .protocol import Protocol
from .results import ImageRecord
from .rows import Row

# Subset (or "" for any), perturbation and metric -> what the paper reports, 0 to 1.
PaperValues = Mapping[tuple[str, str, str], float]


@dataclass(frozen=True)
class EditProtocol(Protocol):
    """One table of DiffSeg30k.

    Args:
        task: `binary`: edited or not; `semantic`: by which editor.
        level: `pixels`, or `images` as a whole: edited or not.
        editors: only images whose every edit is by one of these; (): all.
        of_editor: only images that this editor has edited, and its class alone is reported; None: all.
        subsets: what tells the subsets of the table apart: nothing, the `base` of an image, real or AI-made, or the
            folder that it is from, the corpus or a `variant` of it.
        area_threshold: an image is called edited if more than this share of its pixels is (section 4.2).
        values: architecture -> what the paper reports for it.
    """

    task: Literal["binary", "semantic"] = "semantic"
    level: Literal["pixels", "images"] = "pixels"
    editors: tuple[str, ...] = ()
    of_editor: str | None = None
    subsets: Literal["", "base", "variant"] = ""
    area_threshold: float = AREA_THRESHOLD
    values: Mapping[str, PaperValues] = field(default_factory=dict)

    def calls_edited(self, record: ImageRecord) -> bool:
        """Whether an image is called edited: by its edited share, or fake by a classifier's score."""
        if record.label is None:
            return record.score > self.area_threshold
        return record.score >= self.threshold

    @property
    def reported(self) -> dict[str, tuple[str, str]]:
        """Metric of the paper -> classes and reduction of our row that stands for it.

        Not given in the paper: its mIoU is read as the mean over classes of pooled counts, and its boundary F1, as
        Csurka et al. define it, as a mean over images.
        """
        if self.level == "images":
            return {"image_accuracy": ("", "pooled"), "image_average_precision": ("", "pooled")}
        classes = FORGED if self.task == "binary" else EDITORS
        if self.of_editor is not None:
            return {"pixel_iou": (self.of_editor, "pooled")}
        return {
            "pixel_accuracy": (EVERY_CLASS, "pooled"),
            "pixel_iou": (classes, "pooled"),
            "pixel_boundary_f1": (classes, "image"),
        }

    def is_reported(self, row: Row) -> bool:
        """Whether a row stands for a number of the paper's table."""
        if row.metric not in self.reported:
            return False
        classes, reduction = self.reported[row.metric]
        # images as a whole: forged or fake, as the checkpoint calls it, and not the mean of both classes
        of_classes = row.classes != "macro" if self.level == "images" else row.classes == classes
        return of_classes and row.reduction == reduction


def with_paper_values(rows: Sequence[Row], protocol: EditProtocol, architecture: str | None) -> list[Row]:
    """Set the paper's numbers for an architecture beside the rows that stand for them.

    Args:
        rows: rows of the protocol.
        protocol: the protocol.
        architecture: `segformer`, `deeplabv3plus` or `fcn8s`; None: another model, for which the paper has none.
    """
    values = protocol.values.get(architecture or "", {})

    def of_row(row: Row) -> float | None:
        key = (row.perturbation, row.metric)
        return values.get((row.source, *key), values.get(("", *key))) if protocol.is_reported(row) else None

    return [replace(row, paper_value=of_row(row)) for row in rows]


def triple(numbers: Sequence[float], source: str = "", perturbation: str = NONE.name) -> PaperValues:
    """Name the three numbers of a line: pixel accuracy, mIoU, boundary F1."""
    metrics = ("pixel_accuracy", "pixel_iou", "pixel_boundary_f1")
    return {(source, perturbation, metric): value for metric, value in zip(metrics, numbers, strict=True)}


def pair(numbers: Sequence[float]) -> PaperValues:
    """Name the two numbers of a line: accuracy of images, and mAP."""
    metrics = ("image_accuracy", "image_average_precision")
    return {("", NONE.name, metric): value for metric, value in zip(metrics, numbers, strict=True)}
