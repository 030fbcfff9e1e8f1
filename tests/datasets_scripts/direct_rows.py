"""Rows of a builder without `datasets`, and the notes they leave."""

from forgescope.datasets_scripts.load import corpus_builder
from forgescope.datasets_scripts.notes import Notes


def direct_rows(name, data_dir, config=None, **options) -> tuple[dict[str, list[dict]], Notes]:
    """Rows by split and notes."""
    builder = corpus_builder(name, data_dir, config, hash_files=False, **options)
    notes = Notes()
    splits = builder.splits(notes)
    return {
        split: [row for piece in pieces for row in builder.rows(piece, notes)] for split, pieces in splits.items()
    }, notes
