"""GAMMA's training mix: COCO, COCO-Inpaint, its blended form and TampCOCO, with a mask of all and one of AI pixels.

Parts below `data_dir`, or wherever an option of the same name says:

    coco/                     authentic images, any folders (train2017/, val2017/ are splits)
    coco_inpaint/*.csv        manifest (or .jsonl) with the columns image, original, mask, model, mask_type; paths are
                              relative to it; train, val or test in its name is the split
    blended/*.csv             a manifest of the images with their untouched background pasted back
    cm_images/ cm_masks/ ...  TampCOCO (cm, sp, bcm, bcmc), anywhere, with `<subset>_COCO_<split>_list.txt` or without
    manipulations/            a folder that `forgescope construct manipulations` or `construct inpainting` made

COCO-Inpaint was announced and its layout is unknown, hence the manifest. Masks in manifests: 0 = untouched, any other
value = forged; TampCOCO's: above 1 = forged. Table 1 of the paper calls copy-move and splicing real, since no network
made a pixel of them: `label` tells AI-made from not, `manipulation_mask` tells touched from untouched.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import datasets

from .corpus import CorpusBuilder, canonical_features
from .features import LABEL_NAMES
from .files import CorpusFiles
from .format_alignment import AlignedConfig, aligned_image
from .gamma_card import CARD
from .gamma_parts import (
    TAMPCOCO_SUBSETS,
    LinePiece,
    Piece,
    Pieces,
    authentic_pieces,
    engine_pieces,
    manifest_pieces,
    read_piece_records,
    tampcoco_mask,
    tampcoco_pieces,
)
from .gamma_rules import RULES, constant_mask, mix_row, read_mask
from .named_files import locate
from .notes import Notes
from .pixels import checked_image

# Part -> names below `data_dir` that it is looked for under; "" is `data_dir` itself.
PLACES = {
    "coco": ("coco",),
    "coco_inpaint": ("coco_inpaint", "coco_inpaint.csv", "coco_inpaint.jsonl"),
    "blended": ("blended", "blended.csv", "blended.jsonl"),
    "tampcoco": ("",),
    "manipulations": ("manipulations", ""),
}


@dataclass
class GammaMixConfig(AlignedConfig):
    """Options of the mix.

    Args:
        coco: folder of authentic images, absolute or below `data_dir`; None for the places in the module's layout.
        coco_inpaint: manifest of inpainted images, or a folder of manifests.
        blended: manifest of blended images, or a folder of manifests.
        tampcoco: folder of TampCOCO.
        manipulations: folder of the manipulation engine.
        tampcoco_subsets: those of TampCOCO to take; the paper takes cm and sp.
        decode_images: False gives the files' own bytes in place of pixels, for work on compression traces.

    `align_format` holds for fake images; of `manipulations`, whose real and fake images are stored alike, for all.
    """

    coco: str | None = None
    coco_inpaint: str | None = None
    blended: str | None = None
    tampcoco: str | None = None
    manipulations: str | None = None
    tampcoco_subsets: tuple[str, ...] = TAMPCOCO_SUBSETS
    decode_images: bool = True


class GammaMix(CorpusBuilder):
    """Rows: the canonical columns, then `manipulation_mask` (as `mask`), `ai_mask`, `task`, `model` and `mask_type`.

    `source` is `coco`, `coco-inpaint`, `coco-blended`, `tampcoco-` and a subset, or what metadata.jsonl says. `model`
    and `mask_type` are the manifest's or metadata.jsonl's, None elsewhere.
    """

    BUILDER_CONFIG_CLASS = GammaMixConfig
    BUILDER_CONFIGS: ClassVar[list[datasets.BuilderConfig]] = [
        GammaMixConfig(name="all", description="Every part that is there."),
        *(GammaMixConfig(name=part, description=f"{part} alone.") for part in PLACES),
    ]
    DEFAULT_CONFIG_NAME = "all"
    CARD = CARD
    EXPECTED = (
        "coco/, coco_inpaint/ and blended/ with manifests, TampCOCO's cm_images/ and cm_masks/ and so on, or "
        "manipulations/ with metadata.jsonl; options name other places"
    )

    def features(self) -> datasets.Features:
        """Columns, the same in every configuration."""
        text = datasets.Value("string")
        return canonical_features(
            image=datasets.Image(decode=self.config.decode_images),
            manipulation_mask=datasets.Image(mode="L"),
            ai_mask=datasets.Image(mode="L"),
            task=text,
            model=text,
            mask_type=text,
        )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_others"}

    def splits(self, notes: Notes) -> dict[str, list[Any]]:
        """Pieces of every part that is there."""
        unknown = sorted(set(self.config.tampcoco_subsets) - set(TAMPCOCO_SUBSETS))
        if unknown:
            raise ValueError(f"unknown tampcoco_subsets {', '.join(unknown)}: expected {', '.join(TAMPCOCO_SUBSETS)}")
        chosen = list(PLACES) if self.config.name == "all" else [self.config.name]
        idle = [part for part in PLACES if part not in chosen and getattr(self.config, part) is not None]
        if idle:
            raise ValueError(f"option {', '.join(idle)} has no effect with config={self.config.name!r}")
        pieces: Pieces = {}
        for part in chosen:
            for split, found in self._part(part, notes).items():
                pieces.setdefault(split, []).extend(found)
        for _, files in self.__dict__.get("_others", {}).values():
            notes.merge(files.notes)
        return pieces

    def rows(self, piece: Piece, notes: Notes) -> Iterator[dict[str, Any]]:
        """Rows of some images, after Table 1."""
        files = self._files_of(piece.root)
        if isinstance(piece, LinePiece):
            for where, record in read_piece_records(files, piece, notes):
                row = self._recorded(files, piece, record, where, notes)
                if row is not None:
                    yield row
            return
        for name in piece.names:
            mask = tampcoco_mask(name) if RULES[piece.source].forged else None
            row = self._ruled(files, piece.source, name, (files, mask) if mask else None, notes)
            if row is not None:
                yield row

    def _part(self, part: str, notes: Notes) -> Pieces:
        """Pieces of a part, from its option or from the places in the layout."""
        option = getattr(self.config, part)
        if option is not None:
            root, path = self._resolve(part, str(option))
            return self._pieces(part, root, path, notes)
        for place in PLACES[part]:
            found = self._pieces(part, None, f"{place}/" if place and "." not in place else place, notes)
            if found:
                return found
        return {}

    def _pieces(self, part: str, root: str | None, path: str, notes: Notes) -> Pieces:
        """Pieces of a part in a folder (with a slash at its end, or "") or, for manifests, in a file."""
        files = self._files_of(root)
        if part == "coco":
            return authentic_pieces(files, root, path, notes)
        if part == "tampcoco":
            return tampcoco_pieces(files, root, path, tuple(self.config.tampcoco_subsets), notes)
        if part == "manipulations":
            return engine_pieces(files, root, path)
        if path and not path.endswith("/") and path not in files:
            return {}
        return manifest_pieces(files, root, path, "coco-inpaint" if part == "coco_inpaint" else "coco-blended")

    def _resolve(self, part: str, option: str) -> tuple[str | None, str]:
        """Root and path below it of a place that an option names."""
        path = Path(option).expanduser()
        base = Path(self.config.data_dir)
        if path.is_absolute() and not path.is_relative_to(base):
            if not path.exists():
                raise FileNotFoundError(f"{part}={option!r} does not exist: expected {self.EXPECTED}")
            manifest = path.is_file() and path.suffix.lower() in (".csv", ".jsonl")
            return (str(path.parent), path.name) if manifest else (str(path), "")
        inside = (path.relative_to(base) if path.is_absolute() else path).as_posix()
        inside = "" if inside == "." else inside
        if inside in self.files or inside == "":
            return None, inside
        if not any(name.startswith(f"{inside}/") for name in self.files.names()):
            raise FileNotFoundError(f"{part}={option!r} is not in {base}: expected {self.EXPECTED}")
        return None, f"{inside}/"

    def _files_of(self, root: str | None) -> CorpusFiles:
        """The files of `data_dir`, or of another place that an option names; indexed once a process."""
        if root is None:
            return self.files
        others = self.__dict__.setdefault("_others", {})
        if root not in others or others[root][0] != os.getpid():
            others[root] = (os.getpid(), CorpusFiles(root))
        return others[root][1]

    def _recorded(
        self, files: CorpusFiles, piece: LinePiece, record: dict[str, Any], where: str, notes: Notes
    ) -> dict[str, Any] | None:
        """Row of a line of a manifest, a list or metadata.jsonl."""
        if piece.source == "manipulations":
            return self._engine_row(files, piece, record, where, notes)
        image, mask = record.get("image"), record.get("mask")
        if not isinstance(image, str) or not isinstance(mask, str) or not image.strip() or not mask.strip():
            notes.add("line without image or mask, skipped", where)
            return None
        folder = "" if piece.source.startswith("tampcoco") else piece.folder
        image_files, name = locate(files, folder, image.strip())
        row = self._ruled(image_files, piece.source, name, locate(files, folder, mask.strip()), notes)
        if row is not None:
            row.update({column: record.get(column) or None for column in ("model", "mask_type")})
        return row

    def _ruled(
        self, files: CorpusFiles, source: str, name: str, mask: tuple[CorpusFiles, str] | None, notes: Notes
    ) -> dict[str, Any] | None:
        """Row of an image whose source tells what its masks mean."""
        rule = RULES[source]
        checked = checked_image(files, name, notes, self.config.verify_images)
        if checked is None:
            return None
        image, size = checked
        aligned = image if rule.label == "real" else aligned_image(image, name, self.config.align_format, notes)
        forged = read_mask(mask, rule.above, size, notes) if mask else constant_mask(size, 0)
        if forged is None or aligned is None:
            return None
        ai = {"none": constant_mask(size, 0), "mask": forged, "frame": constant_mask(size, 1)}[rule.ai]
        return mix_row(aligned, rule.label, forged, ai, name, source, rule.task)

    def _engine_row(
        self, files: CorpusFiles, piece: LinePiece, record: dict[str, Any], where: str, notes: Notes
    ) -> dict[str, Any] | None:
        """Row of metadata.jsonl, which gives label and masks itself."""
        name, label = record.get("file_name"), record.get("label")
        label = LABEL_NAMES[label] if label in (0, 1) else label
        if not isinstance(name, str) or label not in LABEL_NAMES:
            notes.add("line without file_name or label, skipped", where)
            return None
        task = str(record.get("task") or ("authentic" if label == "real" else "unknown"))
        named = {field: record.get(f"{field}_file_name") for field in ("mask", "ai_mask")}
        if (not named["mask"] and task != "authentic") or (not named["ai_mask"] and label == "fake"):
            notes.add("forged image without mask_file_name or ai_mask_file_name, skipped", where)
            return None
        checked = checked_image(*locate(files, piece.folder, name), notes, self.config.verify_images)
        if checked is None:
            return None
        image, size = checked
        masks = [
            read_mask(locate(files, piece.folder, str(value)), 0, size, notes, task != "authentic" and field == "mask")
            if value
            else constant_mask(size, 0)
            for field, value in named.items()
        ]
        aligned = aligned_image(image, name, self.config.align_format, notes)
        if masks[0] is None or masks[1] is None or aligned is None:
            return None
        row_id, source = str(record.get("id") or name), str(record.get("source") or piece.source)
        row = mix_row(aligned, str(label), masks[0], masks[1], row_id, source, task)
        return {**row, "model": record.get("model") or None, "mask_type": record.get("mask_type") or None}


__all__ = ["CARD", "GammaMix", "GammaMixConfig"]
