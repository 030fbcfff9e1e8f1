"""What a paper measured and how: the data, what is done to the images, the metric, and the numbers it reports."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Row of the unweighted mean over the subsets, as papers print it.
AVERAGE = "average"


@dataclass(frozen=True)
class Protocol:
    """One table or figure of a paper, as something to run.

    Args:
        name: what it is called on the command line.
        paper: short name of the paper.
        table: where in the paper.
        data: what the folder of the data must hold, half a sentence.
        corpus: reader of the data, as `load_corpus` names it.
        split: the split that is evaluated.
        groups: subset of the table -> the sources of the corpus that it is made of; () stands for every image.
        config: configuration of the corpus; None: its first.
        options: options of the corpus.
        images_per_class: fake, and real, images drawn for each source; None: all.
        real_images: what a second folder must hold, where the corpus has fake images only; "" where it has both.
        metric: the number that the paper reports, named as in the rows.
        threshold: score from which an image is called fake, 0 to 1.
        crop_size: side in pixels of the central window that the model sees; smaller images are enlarged until their
            shorter edge has this length. None: whole images.
        crop_padding: pixels of border around an image before it is cropped.
        perturbations: what is done to the images first, each in a run of its own, as `parse_perturbations` reads it.
        paper_values: subset, or `average` -> what the paper reports on untouched images, 0 to 1.
        note: what the paper leaves open, and our reading.
    """

    name: str
    paper: str
    table: str
    data: str
    corpus: str
    split: str
    groups: Mapping[str, tuple[str, ...]]
    config: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    images_per_class: int | None = None
    real_images: str = ""
    metric: str = "image_accuracy"
    threshold: float = 0.5
    crop_size: int | None = None
    crop_padding: int = 0
    perturbations: tuple[str, ...] = ("none",)
    paper_values: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
