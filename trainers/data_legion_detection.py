"""From labelled images to class tokens for LEGION's stage 2."""

from dataclasses import dataclass

import datasets
import torch

from forgescope.datasets_scripts.features import LABEL_NAMES

from .class_tokens import ClassTokenCache, stored_images
from .row_faults import RowFaults, row_names


@dataclass(frozen=True)
class DetectionDataConfig:
    """How class tokens are computed, and on how many rows the head is evaluated.

    Args:
        batch_size: Images that CLIP sees at a time; changes no result beyond rounding.
        validation_rows: Rows that are held out of data without a split `validation`; not given in the paper.
    """

    batch_size: int = 64
    validation_rows: int = 500

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.validation_rows < 1:
            raise ValueError(
                f"data.batch_size and data.validation_rows must be at least 1, got {self.batch_size} and "
                f"{self.validation_rows}"
            )


def check_columns(rows: datasets.Dataset) -> None:
    """Refuse data without images and labels, or whose label 1 does not mean fake.

    Raises:
        ValueError: So.
    """
    missing = [name for name in ("image", "label") if name not in rows.column_names]
    if missing:
        raise ValueError(f"the data have no column {', '.join(missing)}: expected image and label")
    names = getattr(rows.features["label"], "names", None)
    if names is not None and tuple(names) != LABEL_NAMES:
        raise ValueError(f"expected the labels {', '.join(LABEL_NAMES)} in this order, got {', '.join(names)}")


class ClassTokenDataset(torch.utils.data.Dataset):
    """Class tokens with labels.

    Rows without a label, and images that cannot be read, are left out and named in the log.

    Args:
        rows: Dataset with the columns `image` and `label`, and perhaps `id`: any corpus of whole images, in the paper
            ProGAN's training images (the configuration `progan_train` of the corpus `cnnspot`).
        cache: Where the class tokens are.
        batch_size: See `ClassTokenCache.tokens`.
        workers: See `ClassTokenCache.tokens`.

    Raises:
        ValueError: If a column is missing, or no row is left.
    """

    def __init__(self, rows: datasets.Dataset, cache: ClassTokenCache, batch_size: int = 64, workers: int = 0):
        check_columns(rows)
        labels, names, faults = rows["label"][:], row_names(rows), RowFaults()
        tokens = cache.tokens(stored_images(rows), batch_size, workers)
        self.tokens: list[torch.Tensor] = []
        self.labels: list[int] = []
        for name, label, token in zip(names, labels, tokens, strict=True):
            if label not in range(len(LABEL_NAMES)):
                faults.add("no label, left out", name)
            elif token is None:
                faults.add("the image is missing or damaged, left out", name)
            else:
                self.tokens.append(token)
                self.labels.append(int(label))
        faults.log(len(rows))
        if not self.tokens:
            raise faults.nothing_left(len(rows))

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """`image_features` (C_v,) and `forgery_labels` (), 1 = fake."""
        return {"image_features": self.tokens[index], "forgery_labels": torch.tensor(self.labels[index])}
