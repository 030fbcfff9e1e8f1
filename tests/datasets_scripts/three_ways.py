"""Load a corpus prepared, streaming, and exported and reloaded by plain `datasets`; all three must be equal.

The inspection of the corpus must count the same rows.
"""

from pathlib import Path

import datasets
from PIL import Image

from forgescope.datasets_scripts.export import export_corpus
from forgescope.datasets_scripts.inspection import inspect_corpus
from forgescope.datasets_scripts.load import load_corpus


def comparable(value):
    """A row's value with images as mode, size and pixels, and undecoded files as their bytes."""
    if isinstance(value, Image.Image):
        return value.mode, value.size, value.tobytes()
    if isinstance(value, dict) and set(value) == {"bytes", "path"}:
        return value["bytes"] if value["bytes"] is not None else Path(value["path"]).read_bytes()
    if isinstance(value, dict):
        return {name: comparable(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [comparable(inner) for inner in value]
    return "nan" if value != value else value


def rows_of(dataset) -> list[dict]:
    return [comparable(row) for row in dataset]


def assert_three_ways_equal(
    name: str, data_dir: str | Path, tmp_path: Path, config: str | None = None, **options
) -> datasets.DatasetDict:
    """Assert that features and rows are the same however a corpus is loaded.

    Args:
        name: corpus.
        data_dir: its files.
        tmp_path: folder for caches and the export; may be used for several calls.
        config: configuration.
        **options: options of the corpus.

    Returns:
        The prepared corpus.
    """
    number = len(list(tmp_path.glob("three_ways_*")))
    folder = tmp_path / f"three_ways_{number}"
    cache = folder / "cache"
    prepared = load_corpus(name, data_dir, config, cache_dir=cache, **options)
    streamed = load_corpus(name, data_dir, config, streaming=True, cache_dir=cache, **options)
    export_corpus(name, data_dir, folder / "export", config, cache_dir=cache, **options)
    reloaded = datasets.load_dataset(str(folder / "export"), cache_dir=str(folder / "plain"))
    assert set(prepared) == set(streamed) == set(reloaded)
    for split, expected in prepared.items():
        wanted = rows_of(expected)
        for way, dataset in (("streaming", streamed[split]), ("exported", reloaded[split])):
            assert dataset.features == expected.features, f"features of {split}, {way}"
            rows = rows_of(dataset)
            assert len(rows) == len(wanted), f"rows of {split}, {way}"
            for place, (row, right) in enumerate(zip(rows, wanted, strict=True)):
                unequal = [column for column in right if row.get(column) != right[column]]
                assert (list(row), unequal) == (list(right), []), f"row {place} of {split}, {way}"
    report = inspect_corpus(name, data_dir, config, progress=False, **options)
    assert {split: count for split, count in report.rows.items() if count} == prepared.num_rows
    return prepared
