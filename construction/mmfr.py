"""Makes a data set of reasons why images are real or fake, in the layout of MMFR (FakeReasoning, section 3.2).

    OUT/metadata.jsonl  OUT/rejects.jsonl  OUT/statistics.json  OUT/settings.json  OUT/README.md  [OUT/plots/*.png]
    OUT/SOURCE/{0_real,1_fake}/00000000.jpg, and the text files of `mmfr_compile`

Each row or reject is logged when the model has answered, and the texts are compiled from the log, so a run that was
stopped goes on where it stopped, and ends with the same bytes where the model answers alike.
"""

import dataclasses
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm.auto import tqdm

from .asking import Asking
from .folder_card import MMFR, write_folder_card
from .image_folder import begin_folder, write_atomically
from .inpainting import open_photo
from .line_log import write_json
from .mmfr_compile import BuildText, annotations_file, compile_answer, write_texts
from .mmfr_images import CLASS_FOLDERS, LabelledImage, describe_images
from .mmfr_interpretation import MMFRSettings, describe_image
from .mmfr_plots import check_plotting, save_plots
from .mmfr_statistics import corpus_statistics
from .row_log import RowLog
from .vision_language import VisionLanguageModel, usage_of
from .vision_language_usage import counting_alone

FOLDER_OF = {label: folder for folder, label in CLASS_FOLDERS.items()}


@dataclasses.dataclass(frozen=True)
class MMFRJob:
    """What one run makes.

    Args:
        images: images with labels in a fixed order.
        out: folder, absent, or begun with the same images and settings.
        model: answers `model(images, prompt)`.
        build_text: makes an answer in four stages, such as `build_chain_of_thought` of `processing`.
        question: what the answers answer.
        settings: settings.
        description: of the model, ready for JSON; a folder is not continued with another one.
        workers: images asked about at the same time; more than 1 needs a model that threads may share, as a server's
            client is.
        link: link to the images instead of copying them.
        read_photo: returns a PIL RGB image, or raises ValueError or OSError.
        plots: also draw Figure 5.
    """

    images: list[LabelledImage]
    out: Path
    model: VisionLanguageModel
    build_text: BuildText
    question: str
    settings: MMFRSettings = dataclasses.field(default_factory=MMFRSettings)
    description: dict[str, Any] = dataclasses.field(default_factory=dict)
    workers: int = 1
    link: bool = False
    read_photo: Callable[[Path], Image.Image] = open_photo
    plots: bool = False

    def __post_init__(self):
        if self.workers < 1:
            raise ValueError(f"workers must be at least 1, got {self.workers}")

    def record(self) -> dict[str, Any]:
        """What decides about the folder, ready for JSON."""
        settings = dataclasses.asdict(self.settings)
        return {"kind": "mmfr", **describe_images(self.images), "settings": settings, "model": self.description}


@dataclasses.dataclass
class MMFRResult:
    """What a folder holds after a run.

    Args:
        rows: of metadata.jsonl.
        rejects: of rejects.jsonl.
        made: images that the model answered about in this run.
        failed: images that could not be worked on, with the reason; the next run tries them again.
        stopped: why the run ended early; None when it did not.
        statistics: see `corpus_statistics`.
    """

    rows: list[dict[str, Any]]
    rejects: list[dict[str, Any]]
    made: int
    failed: dict[str, str]
    stopped: str | None
    statistics: dict[str, Any]


def write_mmfr(job: MMFRJob) -> MMFRResult:
    """Ask about the images that are not done yet, and write all texts anew.

    Raises:
        ValueError: the folder was begun with other images or settings, or a row was edited into something unusable.
        ImportError: plots are wanted and matplotlib is missing.
        OSError: the folder cannot be written.
    """
    if job.plots:
        check_plotting()
    begin_folder(job.out, job.record())
    log = RowLog(job.out)
    for row in log.rows.values():
        _place_image(job, row)
    wanted = [index for index in range(len(job.images)) if index not in log.done()]
    run = Asking(partial(_ask, job), lambda index: job.images[index].path, job.workers)
    for row in tqdm(run.rows(wanted), total=len(wanted), unit="image", disable=None):
        # after its row, so that what a stopped run leaves behind is never an image without a text
        if row is not None and log.add(row):
            _place_image(job, row)
    rows, rejects = log.finish()
    _remove_reviewed(job.out, rows, rejects)
    answers = [compile_answer(row, job.build_text) for row in rows]
    write_texts(job.out, rows, job.question, answers)
    statistics = corpus_statistics(rows, answers, rejects, len(run.failed))
    write_json(job.out / "statistics.json", statistics)
    write_folder_card(job.out, MMFR, rows, len(rejects))
    if job.plots:
        save_plots(rows, answers, job.out / "plots")
    return MMFRResult(rows, rejects, run.made, run.failed, run.stopped, statistics)


def _ask(job: MMFRJob, index: int) -> dict[str, Any]:
    """Row of metadata.jsonl of an image, or, with `reason`, of rejects.jsonl; called in threads."""
    image = job.images[index]
    model = counting_alone(job.model)
    described = describe_image(job.read_photo(image.path), image.label, model, job.settings)
    name = f"{index:08d}"
    about = {
        "label": image.label,
        "id": name,
        "index": index,
        "source": image.source,
        "photo": image.path.name,
        "dropped_attributes": list(described.dropped),
        "vision_language": dataclasses.asdict(usage_of(model)),
    }
    if described.reject is not None:
        return {**about, "reason": described.reject.value, "detail": described.detail}
    return {
        # comes first, as `load_dataset("imagefolder")` wants it
        "file_name": f"{image.source}/{FOLDER_OF[image.label]}/{name}{image.path.suffix.lower()}",
        **about,
        "caption": described.caption,
        "attributes": [{"attribute": key, "text": text} for key, text in described.attributes.items()],
    }


def _place_image(job: MMFRJob, row: dict[str, Any]) -> None:
    """Copy or link a row's image, byte for byte, where it is not there yet."""
    target, photo = job.out / row["file_name"], job.images[row["index"]].path
    if target.exists():
        return
    if not job.link:
        write_atomically(target, photo.read_bytes())
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)  # a link that leads nowhere
    os.symlink(photo.absolute(), target)


def _remove_reviewed(out: Path, rows: list[dict[str, Any]], rejects: list[dict[str, Any]]) -> None:
    """Take away the images of rows that a reviewer moved to the rejects, and texts of a source without rows."""
    for row in rejects:
        if "file_name" in row:
            (out / row["file_name"]).unlink(missing_ok=True)
    for source in {row["source"] for row in rejects} - {row["source"] for row in rows}:
        annotations_file(out, source).unlink(missing_ok=True)


__all__ = ["MMFRJob", "MMFRResult", "write_mmfr"]
