"""A corpus as Parquet shards with a dataset card: what plain `datasets.load_dataset(folder)` reads back identically.

Files are embedded byte by byte as the publisher stored them. Row groups are small, so that streaming a part reads
little more than that part.
"""

import hashlib
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet
from huggingface_hub import DatasetCard

from .corpus import CorpusBuilder
from .dataset_card import CARD_FILE, SHARD_FOLDER, ExportFacts, export_card, merge_card, read_fingerprint
from .features import LABEL_NAMES
from .load import corpus_builder, drop_empty_splits, prepare
from .notes import Notes
from .publish import check_may_publish, publish_export

ROWS_PER_GROUP = 100


@dataclass(frozen=True)
class Export:
    """What was written.

    Args:
        folder: where the shards and their card are.
        rows: split -> number of rows; empty when an equal export was there already.
        notes: what the readers skipped or repaired.
        url: address of the Hub repository, when it was pushed.
    """

    folder: Path
    rows: dict[str, int] = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes)
    url: str | None = None


def export_corpus(
    name: str,
    data_dir: str | Path,
    out: str | Path,
    config: str | None = None,
    num_proc: int | None = None,
    cache_dir: str | Path | None = None,
    push_to: str | None = None,
    private: bool | None = None,
    token: str | None = None,
    have_rights: bool = False,
    rows_per_group: int = ROWS_PER_GROUP,
    overwrite: bool = False,
    **options: Any,
) -> Export:
    """Write a corpus as `out/data/<split>-00000-of-0000N.parquet` and `out/README.md`.

    Nothing appears in `out` before everything is written. An export of the same files with the same options that is
    there already is taken as it is. Text that others added to its README.md, and other files, stay.

    Args:
        name: as in `load_corpus`.
        data_dir: as in `load_corpus`.
        out: folder to write; must be absent, empty or an earlier export.
        config: as in `load_corpus`.
        num_proc: processes that read.
        cache_dir: as in `load_corpus`; nothing large is cached.
        push_to: Hub repository, "organization/name", to upload the folder to.
        private: whether a new repository is private; None: the organization's default.
        token: access token; None: the one stored by `hf auth login`.
        have_rights: upload although the corpus' licence does not clearly allow it.
        rows_per_group: rows of a row group.
        overwrite: replace an earlier export of other files or options.
        **options: as in `load_corpus`.

    Raises:
        ValueError: as `load_corpus`; `out` holds something else; a licence that does not allow uploading.
        FileNotFoundError: as `load_corpus`.
        OSError: the folder cannot be written, or the Hub refuses.
    """
    if rows_per_group < 1:
        raise ValueError(f"rows_per_group must be 1 or more, got {rows_per_group}")
    folder = Path(out).expanduser().absolute()
    builder = corpus_builder(name, data_dir, config, cache_dir, **options)
    if push_to is not None:
        check_may_publish(builder.CARD, push_to, have_rights)
    fingerprint = _fingerprint(builder, rows_per_group)
    if _is_there(folder, fingerprint, overwrite):
        export = Export(folder)
    else:
        given = {**({} if config is None else {"config": config}), **options}
        export = _write(builder, folder, num_proc, rows_per_group, given, fingerprint)
    if push_to is None:
        return export
    return Export(folder, export.rows, export.notes, publish_export(folder, push_to, private, token))


def _fingerprint(builder: CorpusBuilder, rows_per_group: int) -> str:
    key = f"{builder.dataset_name} {builder.config.name} {builder.hash} {rows_per_group}"
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def _is_there(folder: Path, fingerprint: str, overwrite: bool) -> bool:
    """Whether an equal export is there; ValueError where something else stands in its place."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    found = read_fingerprint(folder)
    if found is None:
        raise ValueError(f"{folder} is not empty and holds no export of forgescope: give another folder")
    if found != fingerprint and not overwrite:
        raise ValueError(f"{folder} holds an export of other files or options: overwrite it, or give another folder")
    return found == fingerprint and not overwrite


def _write(
    builder: CorpusBuilder,
    folder: Path,
    num_proc: int | None,
    rows_per_group: int,
    options: dict[str, Any],
    fingerprint: str,
) -> Export:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name:
        scratch = Path(name)
        made, notes_dir = scratch / "made", scratch / "notes"
        (made / SHARD_FOLDER).mkdir(parents=True)
        notes_dir.mkdir()
        builder.notes_dir = str(notes_dir)
        rows = _write_shards(builder, scratch / "parquet", made / SHARD_FOLDER, num_proc, rows_per_group)
        labels, sources = _count_columns(made / SHARD_FOLDER, rows)
        notes = Notes.read(notes_dir)
        facts = ExportFacts(rows, labels, sources, notes, options, rows_per_group, fingerprint)
        card = export_card(builder, facts, f"./{folder.name}")
        old_card = folder / CARD_FILE
        merged = merge_card(card, DatasetCard.load(old_card) if old_card.is_file() else None)
        (made / CARD_FILE).write_text(str(merged), encoding="utf-8")
        _swap(made, folder, scratch / "replaced")
    return Export(folder, rows, notes)


def _write_shards(
    builder: CorpusBuilder, scratch: Path, folder: Path, num_proc: int | None, rows_per_group: int
) -> dict[str, int]:
    """Let `datasets` write the shards, which embeds the images, and give them the names that the Hub gives."""
    builder._writer_batch_size = rows_per_group
    prepare(builder, num_proc, str(scratch), file_format="parquet")
    splits = drop_empty_splits(builder)
    for split in splits:
        stem = f"{builder.dataset_name}-{split}"
        shards = sorted(scratch.glob(f"{stem}-*.parquet")) or [scratch / f"{stem}.parquet"]
        for number, shard in enumerate(shards):
            shard.rename(folder / f"{split}-{number:05d}-of-{len(shards):05d}.parquet")
    builder.info.download_size = sum(shard.stat().st_size for shard in folder.iterdir())
    return splits


def _count_columns(folder: Path, splits: dict[str, int]) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    """Rows by split and label, and by source, from the shards' own columns."""
    labels: dict[str, Counter[str]] = {}
    sources: Counter[str] = Counter()
    for split in splits:
        labels[split] = Counter()
        for shard in sorted(folder.glob(f"{split}-*-of-*.parquet")):
            for columns in pyarrow.parquet.ParquetFile(shard).iter_batches(columns=["label", "source"]):
                for label in columns["label"].to_pylist():
                    labels[split]["unknown" if label is None else LABEL_NAMES[label]] += 1
                sources.update(source for source in columns["source"].to_pylist() if source is not None)
    return {split: dict(counts) for split, counts in labels.items()}, dict(sorted(sources.items()))


def _swap(made: Path, folder: Path, replaced: Path) -> None:
    """Put a finished folder in the place of another; of that one, only what an export writes is lost."""
    if folder.exists():
        for entry in folder.iterdir():
            if entry.name not in (SHARD_FOLDER, CARD_FILE):
                entry.rename(made / entry.name)
        folder.rename(replaced)
    made.rename(folder)


__all__ = ["ROWS_PER_GROUP", "Export", "export_corpus"]
