"""A corpus as Parquet shards with a dataset card: what plain `datasets.load_dataset(folder)` reads back identically.

Pixels stand in the shards byte by byte as the publisher stored them. Row groups are small, so that streaming a part
reads little more than that part.
"""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
from datasets.exceptions import DatasetGenerationError
from huggingface_hub import DatasetCard, DatasetCardData

from .corpus import CorpusBuilder
from .load import corpus_builder

ROWS_PER_GROUP = 100
CARD_FILE = "README.md"
SHARD_FOLDER = "data"


@dataclass(frozen=True)
class Export:
    """What was written.

    Args:
        folder: where.
        rows: split -> number of rows.
    """

    folder: Path
    rows: dict[str, int]


def export_corpus(
    name: str,
    data_dir: str | Path,
    out: str | Path,
    config: str | None = None,
    num_proc: int | None = None,
    cache_dir: str | Path | None = None,
    rows_per_group: int = ROWS_PER_GROUP,
    **options: Any,
) -> Export:
    """Write a corpus as `out/data/<split>-00000-of-0000N.parquet` and `out/README.md`."""
    folder = Path(out).expanduser().absolute()
    builder = corpus_builder(name, data_dir, config, cache_dir, **options)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        made = Path(scratch) / folder.name
        (made / SHARD_FOLDER).mkdir(parents=True)
        shards = _write_shards(builder, Path(scratch) / "parquet", made / SHARD_FOLDER, num_proc, rows_per_group)
        data = DatasetCardData(
            configs=[
                {
                    "config_name": builder.config.name,
                    "data_files": [{"split": split, "path": f"{SHARD_FOLDER}/{split}-*"} for split in shards],
                }
            ]
        )
        datasets.info.DatasetInfosDict({builder.config.name: builder.info}).to_dataset_card_data(data)
        (made / CARD_FILE).write_text(str(DatasetCard(f"---\n{data}\n---\n")), encoding="utf-8")
        shutil.move(made, folder)
    return Export(folder, shards)


def _write_shards(
    builder: CorpusBuilder, scratch: Path, folder: Path, num_proc: int | None, rows_per_group: int
) -> dict[str, int]:
    """Let `datasets` write the shards, which embeds the images, and give them the names that the Hub gives."""
    builder._writer_batch_size = rows_per_group
    try:
        builder.download_and_prepare(
            str(scratch), file_format="parquet", num_proc=num_proc, verification_mode="no_checks"
        )
    except DatasetGenerationError as error:
        if isinstance(error.__cause__, (ValueError, OSError)):
            raise error.__cause__ from None
        raise
    splits = builder.info.splits or {}
    for split in splits:
        stem = f"{builder.dataset_name}-{split}"
        shards = sorted(scratch.glob(f"{stem}-*.parquet")) or [scratch / f"{stem}.parquet"]
        for number, shard in enumerate(shards):
            shard.rename(folder / f"{split}-{number:05d}-of-{len(shards):05d}.parquet")
    return {split: info.num_examples for split, info in splits.items()}


__all__ = ["ROWS_PER_GROUP", "Export", "export_corpus"]
