"""PromptForge-350k: prompt-made edits with masks of what was changed, and the published pairs they are made from.

The corpus itself has no download. Three configurations read what people have instead:

- `annotated` (default): what the annotation pipeline of this package writes, `<split>/metadata.jsonl`, or one
  metadata.jsonl that is cut 95:5 by the hash of the id. Fields: `file_name` (edited image), `original_file_name`,
  `mask_file_name`, `id`, `source`, `task` (one of eight), `source_task`, `instruction`, `instruction_en`,
  `inlier_ratio`, `num_matches`, `affine` (6 numbers), `crop` (4 integers). A mask keeps its own size: 128 x 128 in the
  paper, which is not the size of its image.
- `x2edit`: tars of X2Edit (see x2edit_tars.py). No masks.
- `pico_banana`: JSON Lines and images of Pico-Banana-400K (see pico_banana.py). No masks, source images not published.

The raw configurations have one split, `train`; edits are named as the publisher names them, and only those that the
task table (task_taxonomy.py) reads as one of the eight local tasks are kept, unless `tasks="all"`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import datasets

from .annotated_metadata import annotated_columns, annotated_splits
from .corpus import CorpusBuilder, CorpusCard, CorpusConfig, PaperCount, canonical_features
from .features import LABEL_NAMES, promptforge_split
from .files import ARCHIVE_PATTERNS, CorpusFiles
from .json_lines import LineRange, read_records
from .named_files import locate
from .notes import Notes
from .pico_banana import pico_edits, pico_ranges
from .pixels import StoredImage, binary_mask, checked_image, read_ids, stored_mask
from .raw_edits import RawEdit, said
from .task_taxonomy import read_task
from .x2edit_tars import tar_edits

Tasks = Literal["paper", "all"]
EmptyInstructions = Literal["skip", "keep"]

CARD = CorpusCard(
    title="PromptForge-350k",
    description="Images that prompt-based editors changed in places, with the originals; a mask marks what changed. "
    "Masks are annotated by key points, alignment and similarity of features; nobody drew them.",
    homepage="",
    licence="other",
    terms="The authors offer no download. Pairs come from X2Edit (Apache-2.0) and Pico-Banana-400K (CC BY-NC-ND 4.0: "
    "derived images may not be passed on; its photographs are from Open Images, CC BY 2.0).",
    citation="""@article{wang2026promptforge,
  title={PromptForge-350k: A Large-Scale Dataset and Contrastive Framework for Prompt-Based AI Image Forgery
    Localization},
  author={Wang, Jianpeng and Wang, Haoyu and Chen, Baoying and Zeng, Jishen and Qin, Yiming and Yang, Yiqi and
    Ba, Zhongjie},
  journal={arXiv preprint arXiv:2603.29386},
  year={2026}
}""",
    labels="`label`: every `image` is edited, so fake (1); `original` is the untouched one. `mask`: 1 = changed, 0 = "
    "not, in the annotation's own size; null in the raw configurations.",
    paper_counts=(
        PaperCount("all", "rows", 354_258, "section 4.1"),
        PaperCount("all", "source=x2edit-bagel", 100_000, "section 4.1"),
        PaperCount("all", "source=x2edit-kontext", 100_000, "section 4.1"),
        PaperCount("all", "source=x2edit-step1x", 100_000, "section 4.1"),
        PaperCount("all", "source=pico-banana", 54_258, "section 4.1"),
    ),
)


@dataclass
class PromptForgeConfig(CorpusConfig):
    """Options; the two of this corpus concern the raw configurations.

    Args:
        tasks: "paper" keeps edits that are read as one of the eight local tasks; global, ambiguous and unknown ones
            are counted and left out. "all" keeps every edit, with `task` None where it is none of the eight.
        empty_instructions: "skip" counts and leaves out edits without an instruction, "keep" gives them None.
    """

    tasks: Tasks = "paper"
    empty_instructions: EmptyInstructions = "skip"


class PromptForge(CorpusBuilder):
    """Rows: `image` (edited), `label` (fake), `mask`, `id`, `source`, `original`, `task`, `source_task`, instructions.

    `annotated` adds `inlier_ratio`, `num_matches`, `affine`, `crop`; `x2edit` adds `score_7b`, `pico_banana`
    `summarized_text`.
    """

    BUILDER_CONFIG_CLASS = PromptForgeConfig
    BUILDER_CONFIGS: ClassVar[list[datasets.BuilderConfig]] = [
        PromptForgeConfig(name="annotated"),
        PromptForgeConfig(name="x2edit"),
        PromptForgeConfig(name="pico_banana"),
    ]
    DEFAULT_CONFIG_NAME = "annotated"
    CARD = CARD
    EXPECTED = (
        "<split>/metadata.jsonl or metadata.jsonl with the files it names (annotated), .tar files (x2edit), or "
        "*sft*.jsonl with images (pico_banana)"
    )

    def archive_patterns(self) -> tuple[str, ...]:
        """Tars of X2Edit are read one by one, not indexed together."""
        return () if self.config.name == "x2edit" else ARCHIVE_PATTERNS

    def features(self) -> datasets.Features:
        """The canonical columns, the pair's, and those of the configuration."""
        text, decimal = datasets.Value("string"), datasets.Value("float64")
        names = ("task", "source_task", "instruction", "instruction_en")
        own: dict[str, dict[str, Any]] = {
            "annotated": {
                "inlier_ratio": decimal,
                "num_matches": datasets.Value("int32"),
                "affine": datasets.List(decimal),
                "crop": datasets.List(datasets.Value("int32")),
            },
            "x2edit": {"score_7b": datasets.List(decimal)},
            "pico_banana": {"summarized_text": text},
        }
        columns = dict.fromkeys(names, text) | own[self.config.name]
        return canonical_features(original=datasets.Image(), **columns)

    def splits(self, notes: Notes) -> dict[str, list[Any]]:
        """Ranges of metadata.jsonl by split; tars or ranges of JSON Lines as `train`."""
        for value, allowed in ((self.config.tasks, Tasks), (self.config.empty_instructions, EmptyInstructions)):
            if value not in get_args(allowed):
                raise ValueError(f"unknown value {value!r}: expected one of {', '.join(get_args(allowed))}")
        if self.config.name == "pico_banana":
            return {"train": list(pico_ranges(self.files, notes))}
        if self.config.name == "x2edit":
            root = self.files.root
            if root.is_file():
                self.files.notes.counts.clear()  # the tar is indexed again, and counted then
                return {"train": [str(root)]}
            return {"train": [str(root / name) for name in self.files.match(r"(?i)\.tar$")]}
        return annotated_splits(self.files, notes)

    def rows(self, piece: Any, notes: Notes) -> Iterator[dict[str, Any]]:
        """Rows of a range of lines or of a tar."""
        if self.config.name == "annotated":
            part, split = piece
            yield from self._annotated_rows(part, split, notes)
            return
        if self.config.name == "x2edit":
            edits = tar_edits(piece, self.files.root, notes)
        else:
            edits = pico_edits(self.files, piece, notes)
        for edit in edits:
            row = self._raw_row(edit, notes)
            if row is not None:
                yield row

    def sources(self, piece: Any) -> Iterator[str] | None:
        """What the lines of a range state, in `annotated`."""
        if self.config.name != "annotated":
            return None
        part, split = piece
        records = (record for _, record in read_records(self.files, part, Notes()))
        return (said(one.get("source")) or "" for one in records if split in (None, promptforge_split(_id_of(one))))

    def _raw_row(self, edit: RawEdit, notes: Notes) -> dict[str, Any] | None:
        reading = read_task(edit.source_task, edit.instruction)
        if self.config.tasks == "paper" and reading.task is None:
            notes.add(f"edit of {reading.scope} task, left out", edit.id, str(edit.source_task))
            return None
        if edit.instruction is None:
            notes.add("empty instruction", edit.id, self.config.empty_instructions)
            if self.config.empty_instructions == "skip":
                return None
        image = self._image(edit.id, edit.edited, notes)
        if image is None:
            return None
        return {
            "image": image,
            "label": "fake",
            "mask": None,
            "id": edit.id,
            "source": edit.source,
            "original": self._original(edit.id, edit.original, notes),
            "task": reading.task,
            "source_task": edit.source_task,
            "instruction": edit.instruction,
            "instruction_en": edit.instruction_en,
            **edit.columns,
        }

    def _annotated_rows(self, part: LineRange, split: str | None, notes: Notes) -> Iterator[dict[str, Any]]:
        """Rows of a range of metadata.jsonl; with `split` those that the hash of their id puts there."""
        folder = part.name.rpartition("/")[0]
        # a file that is cut by hash is read once for each side: its broken lines are counted on one
        line_notes = Notes() if split == "test" else notes
        for where, record in read_records(self.files, part, line_notes):
            name = said(record.get("file_name"))
            if name is None:
                line_notes.add("line without file_name", where, f"its fields: {', '.join(record)}")
                continue
            row_id = _id_of(record)
            if split is not None and promptforge_split(row_id) != split:
                continue
            if record.get("label") in (0, LABEL_NAMES[0]):
                notes.add("row labelled real, left out", where)
                continue
            image = self._image(row_id, locate(self.files, folder, name), notes)
            mask = self._mask(row_id, folder, said(record.get("mask_file_name")), notes)
            if image is None or mask is None:
                continue
            original = said(record.get("original_file_name"))
            yield {
                "image": image,
                "label": "fake",
                "mask": mask,
                "id": row_id,
                "original": self._original(row_id, original and locate(self.files, folder, original), notes),
                **annotated_columns(record, where, notes),
            }

    def _image(self, row_id: str, place: tuple[CorpusFiles, str], notes: Notes) -> StoredImage | None:
        """An image column's value, noted under the row's id: names in tars repeat from tar to tar."""
        found = Notes()
        checked = checked_image(*place, found, self.config.verify_images)
        for kind, examples in found.examples.items():
            notes.add(kind, row_id, examples[0])
        return checked and checked[0]

    def _original(self, row_id: str, place: Any, notes: Notes) -> StoredImage | None:
        image = self._image(row_id, place, notes) if place else None
        if image is None:
            notes.add("edit without its original, kept", row_id)
        return image

    def _mask(self, row_id: str, folder: str, name: str | None, notes: Notes) -> StoredImage | None:
        """A mask of 0 and 1 in its own size."""
        if name is None:
            notes.add("edit without mask_file_name, left out", row_id)
            return None
        files, name = locate(self.files, folder, name)
        try:
            return stored_mask(binary_mask(read_ids(files, name)))
        except (OSError, ValueError) as error:
            notes.add("mask that cannot be read, left out", row_id, str(error))
            return None


def _id_of(record: dict[str, Any]) -> str:
    """Id of a line, or the stem of its edited image where it has none."""
    return said(record.get("id")) or Path(said(record.get("file_name")) or "").stem


__all__ = ["CARD", "PromptForge", "PromptForgeConfig"]
