"""The folder of a corpus: photographs one by one, each row or reject logged when it is done, continued after a stop.

    OUT/metadata.jsonl  OUT/rejects.jsonl  OUT/statistics.json  OUT/settings.json  [OUT/overview/00000000.png]
    OUT/README.md

Item i depends on the seed, on i and on the list of photographs only, never on what was made before.
"""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm.auto import tqdm

from ..asking import MOST_SERVER_ERRORS, reason_of
from ..folder_card import DIFFSEG, write_folder_card
from ..image_folder import begin_folder, describe_photos
from ..inpainting import open_photo
from ..line_log import write_json
from ..row_log import RowLog
from ..vision_language import ServerError, usage_of
from .edit_plots import save_overview
from .edit_records import SOURCE, item_name, save_edited, turn_records
from .edit_statistics import corpus_statistics
from .editing import EditedImage, EditorError, Tools, edit_photo
from .settings import EditSettings

BASES = ("real", "ai")


@dataclasses.dataclass(frozen=True)
class EditJob:
    """What one run makes.

    Args:
        photos: base images in a fixed order.
        bases: `real` or `ai` for each of them.
        out: folder, absent, or begun with the same settings.
        tools: models and editors.
        settings: settings.
        description: of the tools, ready for JSON; a folder is not continued with other ones.
        read_photo: returns a PIL RGB image, or raises ValueError or OSError.
        plots: also draw an overview of each item, rejected ones included.
    """

    photos: list[Path]
    bases: list[str]
    out: Path
    tools: Tools
    settings: EditSettings = dataclasses.field(default_factory=EditSettings)
    description: dict[str, Any] = dataclasses.field(default_factory=dict)
    read_photo: Callable[[Path], Image.Image] = open_photo
    plots: bool = False

    def __post_init__(self):
        if len(self.bases) != len(self.photos) or not set(self.bases) <= set(BASES):
            raise ValueError(f"expected a base for each photograph, {' or '.join(BASES)}, got {self.bases[:3]}...")
        unknown = sorted(set(self.tools.editors) - set(self.settings.id2editor))
        if unknown or not self.tools.editors:
            raise ValueError(f"expected editors that id2editor names, got {', '.join(unknown) or 'none'}")

    def record(self) -> dict[str, Any]:
        """What decides about the folder, ready for JSON."""
        settings = self.settings.to_dict()
        return {
            "kind": "diffseg",
            **describe_photos(self.photos),
            "ai_bases": self.bases.count("ai"),
            "editors": sorted(self.tools.editors),
            "settings": settings,
            "tools": self.description,
        }


@dataclasses.dataclass
class EditResult:
    """What a folder holds after a run.

    Args:
        rows: of metadata.jsonl.
        rejects: of rejects.jsonl.
        made: photographs looked at by this run.
        failed: photographs that could not be worked on, with the reason; the next run tries them again.
        stopped: why the run ended early; None when it did not.
        statistics: see `corpus_statistics`.
    """

    rows: list[dict[str, Any]]
    rejects: list[dict[str, Any]]
    made: int
    failed: dict[str, str]
    stopped: str | None
    statistics: dict[str, Any]


def write_edits(job: EditJob) -> EditResult:
    """Edit the photographs that are not done yet, one by one.

    Raises:
        ValueError: the folder was begun with other settings, photographs or tools.
        OSError: the folder cannot be written.
    """
    begin_folder(job.out, job.record())
    log = RowLog(job.out)
    log.rows = {index: row for index, row in log.rows.items() if _is_complete(job.out, row)}
    wanted = [index for index in range(len(job.photos)) if index not in log.done()]
    failed: dict[str, str] = {}
    stopped, made = None, 0
    try:
        for row in tqdm(_outcomes(job, wanted, failed), total=len(wanted), unit="image", disable=None):
            made += 1
            if row is not None:
                log.add(row)
    except ServerError as error:
        stopped = str(error)
    rows, rejects = log.finish()
    statistics = corpus_statistics(rows, rejects, len(failed))
    write_json(job.out / "statistics.json", statistics)
    write_folder_card(job.out, DIFFSEG, rows, len(rejects))
    return EditResult(rows, rejects, made, failed, stopped, statistics)


def _outcomes(job: EditJob, wanted: list[int], failed: dict[str, str]) -> Iterator[dict[str, Any] | None]:
    """Row or reject of each item; None for one that failed."""
    errors_in_a_row = 0
    for index in wanted:
        photo = job.photos[index]
        before = usage_of(job.tools.vision_language)
        try:
            made = edit_photo(job.read_photo(photo), index, job.tools, job.settings)
        except ServerError as error:
            failed[str(photo)] = str(error)
            errors_in_a_row += 1
            if errors_in_a_row == MOST_SERVER_ERRORS:
                raise
            yield None
        except Exception as error:  # photographs, models and editors fail in any way, and the others must go on
            failed[str(photo)] = reason_of(photo, error, (ValueError, OSError, EditorError))
            yield None
        else:
            errors_in_a_row = 0
            yield _save(job, index, made, usage_of(job.tools.vision_language).since(before))


def _save(job: EditJob, index: int, made: EditedImage, usage: dict[str, int]) -> dict[str, Any]:
    """Write the files of an item; returns its row of metadata.jsonl, or, with `reason`, of rejects.jsonl."""
    name = item_name(index)
    if job.plots:
        save_overview(made, job.settings, job.out / "overview" / f"{name}.png")
    about = {
        "id": name,
        "index": index,
        "source": SOURCE,
        "photo": job.photos[index].name,
        "base": job.bases[index],
    }
    outcome = {
        "keep_background": job.settings.keep_background,
        "planned_turns": made.planned_turns,
        "turns": turn_records(name, made, job.settings),
        "quality": made.quality,
        "quality_reason": made.quality_reason,
        "vision_language": usage,
    }
    if made.reject is not None:
        return {**about, "reason": made.reject.value, "detail": made.detail, **_without_files(outcome)}
    return {**save_edited(job.out, name, made, job.settings), "label": "fake", **about, **outcome}


def _without_files(outcome: dict[str, Any]) -> dict[str, Any]:
    """A rejected image is not written, so its record names no files."""
    turns = [{key: value for key, value in turn.items() if not key.endswith("_file")} for turn in outcome["turns"]]
    return {**outcome, "turns": turns}


def _is_complete(out: Path, row: dict[str, Any]) -> bool:
    return (out / row["file_name"]).exists() and (out / row["mask_file_name"]).exists()


__all__ = ["BASES", "EditJob", "EditResult", "write_edits"]
