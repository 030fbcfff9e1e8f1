"""Which rows of a corpus GAMMA learns from, and what they are called (section 3.2, tables 1, 5 and 6)."""

from dataclasses import dataclass, field

import datasets
import numpy as np

from forgescope.datasets_scripts.features import LABEL_NAMES

FAKE = LABEL_NAMES.index("fake")
# Argument of the model -> columns that may hold it; the first that is there counts.
MASK_COLUMNS = {"manipulation_mask": ("manipulation_mask", "mask"), "ai_mask": ("ai_mask",)}
# The encoder's total stride; crops of other sizes would be padded.
SIZE_DIVISOR = 32
# Rows whose masks are looked up at once.
CHECKED_ROWS = 4096


@dataclass(frozen=True)
class GammaDataConfig:
    """Which images GAMMA learns from, and how they are cut.

    Args:
        crop_size: Side of the square windows in pixels, a multiple of 32 (512 in section 5.1). Smaller images are
            enlarged first until their shorter edge has this length.
        crop_padding: Pixels of black border around an image before it is cropped (1 in section 5.1); they count in no
            loss.
        epoch_fraction: Share of the images that an epoch takes, drawn anew each time (0.1 in section 5.1).
        tasks: Kinds of images, such as `authentic` and `copy_move` (Table 6); None takes all.
        labels: Kinds that are called otherwise than the data call them, such as `{copy_move: fake}` (Table 5).
    """

    crop_size: int = 512
    crop_padding: int = 1
    epoch_fraction: float = 0.1
    tasks: tuple[str, ...] | None = None
    labels: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.crop_size < SIZE_DIVISOR or self.crop_size % SIZE_DIVISOR:
            raise ValueError(f"data.crop_size must be a multiple of {SIZE_DIVISOR} pixels, got {self.crop_size}")
        if self.crop_padding < 0:
            raise ValueError(f"data.crop_padding must be at least 0 pixels, got {self.crop_padding}")
        if not 0 < self.epoch_fraction <= 1:
            raise ValueError(f"data.epoch_fraction must lie in (0, 1], got {self.epoch_fraction}")
        if not isinstance(self.labels, dict) or not set(self.labels.values()) <= set(LABEL_NAMES):
            raise ValueError(f"data.labels must call kinds of images {' or '.join(LABEL_NAMES)}, got {self.labels}")


def check_columns(rows: datasets.Dataset) -> dict[str, str]:
    """Find the columns of the masks: argument of the model -> column.

    Raises:
        ValueError: If a column is missing, or label 1 does not mean fake.
    """
    groups = (("image",), ("label",), *MASK_COLUMNS.values())
    missing = [" or ".join(group) for group in groups if not set(group) & set(rows.column_names)]
    if missing:
        raise ValueError(
            f"the data have no column {', '.join(missing)}: expected image, label, manipulation_mask (or mask) and "
            f"ai_mask, got {', '.join(rows.column_names)}; `forgescope construct manipulations` makes such data"
        )
    names = getattr(rows.features["label"], "names", None)
    if names is not None and tuple(names) != LABEL_NAMES:
        raise ValueError(f"expected the labels {', '.join(LABEL_NAMES)} in this order, got {', '.join(names)}")
    return {
        name: next(column for column in columns if column in rows.column_names)
        for name, columns in MASK_COLUMNS.items()
    }


def chosen_rows(rows: datasets.Dataset, tasks: tuple[str, ...] | None) -> np.ndarray:
    """Positions of the rows of some kinds, or of all.

    Raises:
        ValueError: If the data do not say the kinds, or none of them is there.
    """
    if tasks is None:
        return np.arange(len(rows))
    given = row_tasks(rows)
    kept = np.flatnonzero(np.isin(given, tasks))
    if not len(kept):
        raise ValueError(
            f"no image is one of data.tasks {', '.join(tasks)}: the data have {', '.join(np.unique(given))}"
        )
    return kept


def row_tasks(rows: datasets.Dataset) -> np.ndarray:
    """(N,) text: the kind of every row.

    Raises:
        ValueError: If the data do not say.
    """
    if "task" not in rows.column_names:
        raise ValueError(f"data.tasks and data.labels need the column task, got {', '.join(rows.column_names)}")
    return np.array(rows["task"][:], dtype=str)


def row_labels(rows: datasets.Dataset, kept: np.ndarray, changes: dict[str, str]) -> np.ndarray:
    """Labels of rows, checked.

    Args:
        rows: All rows.
        kept: Positions of those that count.
        changes: Kinds that are called otherwise than the data call them.

    Returns:
        (len(kept),) int64, 1 = fake.

    Raises:
        ValueError: If a row has no label, or is fake without `ai_mask`.
    """
    given = rows["label"][:]
    for index in kept:
        if given[index] not in range(len(LABEL_NAMES)):
            raise ValueError(
                f"image {row_name(rows, index)} has the label {given[index]!r}: GAMMA's classifier needs 0 (real) or "
                "1 (fake) for every image; give it, or leave the image out"
            )
    labels = np.array([given[index] for index in kept], dtype=np.int64)
    unmarked = kept[(labels == FAKE) & ~_has_ai_mask(rows)[kept]]
    if len(unmarked):
        raise ValueError(
            f"image {row_name(rows, unmarked[0])} is fake but has no ai_mask ({len(unmarked)} such images): GAMMA's "
            "AI head needs to know which pixels a network made; give it, or leave the images out"
        )
    tasks = row_tasks(rows)[kept] if changes else labels
    for task, label in changes.items():
        labels[tasks == task] = LABEL_NAMES.index(label)
    return labels


def row_name(rows: datasets.Dataset, index: int) -> str:
    """What to call a row in a message: its id, or its number."""
    if "id" not in rows.column_names:
        return f"number {index}"
    return repr(rows.select_columns(["id"])[int(index)]["id"])


def _has_ai_mask(rows: datasets.Dataset) -> np.ndarray:
    """(N,) bool: whether a row has that mask; none is decoded."""
    column = rows.select_columns(["ai_mask"]).with_format("arrow")
    starts = range(0, len(rows), CHECKED_ROWS)
    parts = [column[start : start + CHECKED_ROWS]["ai_mask"].is_valid().to_numpy() for start in starts]
    return np.concatenate(parts) if parts else np.zeros(0, bool)
