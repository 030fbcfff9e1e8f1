"""Look through a corpus once: what is there, what is broken or double, and how that compares with the paper.

Rows are read one by one and forgotten; sizes and counts, one number a mask, and hashes on disk are all that is kept.
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from tqdm.auto import tqdm

from .corpus import CorpusBuilder
from .duplicates import DuplicateFinder
from .features import LABEL_NAMES
from .inspection_report import NO_VALUE, Broken, Comparison, CorpusReport, Coverage, Sizes
from .inspection_rows import RowFacts, RowProber, in_order
from .load import corpus_builder
from .notes import Notes

# Columns whose values are counted where a corpus has them, beside those that the paper counts.
COUNTED_COLUMNS = ("label", "source", "task", "category", "edit_models")
# Values counted of one column; all others are one value more.
MAX_VALUES = 1000
OTHER_VALUES = "(others)"
COVERAGE_BINS = 20
# Decoding and hashing leave Python's lock, so a few threads share them out.
THREADS = 2


def inspect_corpus(
    name: str,
    data_dir: str | Path,
    config: str | None = None,
    limit: int | None = None,
    probe: int = 100,
    full_decode: bool = True,
    splits: Sequence[str] | None = None,
    progress: bool | None = None,
    **options: Any,
) -> CorpusReport:
    """Read every row of a corpus and report what is there.

    Args:
        name: as in `load_corpus`.
        data_dir: as in `load_corpus`.
        config: as in `load_corpus`.
        limit: rows to read of each split; None for all. The paper's numbers are then not compared.
        probe: masks of each column whose pixel values are listed.
        full_decode: decode every image to the end, which finds files that break off; else only their headers.
        splits: only these splits.
        progress: whether to show a progress bar; None: when standard error is a terminal.
        **options: as in `load_corpus`.

    Raises:
        ValueError: as `load_corpus`; a split that is not there; a mask value that the corpus must not have.
        FileNotFoundError: as `load_corpus`.
    """
    builder = corpus_builder(name, data_dir, config, hash_files=False, **options)
    notes = Notes()
    pieces = {split: found for split, found in builder.splits(notes).items() if found}
    if not pieces:
        raise FileNotFoundError(f"{data_dir} holds no {builder.CARD.title}: expected {builder.EXPECTED}")
    missing = sorted(set(splits or ()) - set(pieces))
    if missing:
        raise ValueError(f"{name} has no split {', '.join(missing)} in {data_dir}: it has {', '.join(pieces)}")
    chosen = {split: found for split, found in pieces.items() if splits is None or split in splits}
    tally = _Tally(builder, limit)
    prober = tally.prober(probe)
    bar = tqdm(unit="row", disable=None if progress is None else not progress)
    with bar, ThreadPoolExecutor(THREADS) as pool:
        for split, found in chosen.items():
            rows = islice((row for piece in found for row in builder.rows(piece, notes)), limit)
            for row, result in in_order(pool, rows, prober, full_decode):
                tally.add(split, row, result, notes)
                bar.update()
    notes.merge(builder.files.notes)
    return tally.report(list(chosen), notes, complete=limit is None and len(chosen) == len(pieces))


class _Tally:
    """Adds up rows."""

    def __init__(self, builder: CorpusBuilder, limit: int | None):
        self.builder, self.limit = builder, limit
        features = builder.features()
        images = {name for name, feature in features.items() if isinstance(feature, datasets.Image)}
        self.masks = [name for name in features if name in images and features[name].mode == "L"]
        stated = {one.quantity.split("=")[0] for one in builder.CARD.paper_counts if "=" in one.quantity}
        self.columns = [name for name in features if name in COUNTED_COLUMNS or name in stated]
        self.has_regions = "regions" in features
        self.rows: Counter[str] = Counter()
        self.regions: Counter[str] = Counter()
        self.by_source: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.counts: dict[str, dict[str, Counter[str]]] = {name: {} for name in self.columns}
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.formats: Counter[str] = Counter()
        self.shares = {name: array("f") for name in self.masks}
        self.without: Counter[str] = Counter()
        self.values: dict[str, Counter[int]] = {name: Counter() for name in self.masks}
        self.probed: Counter[str] = Counter()
        self.duplicates = DuplicateFinder()
        self.broken: list[Broken] = []

    def prober(self, probe: int) -> RowProber:
        """What examines rows; `probe` masks of each column are listed."""
        extra = [name for name, feature in self.builder.features().items() if isinstance(feature, datasets.Image)]
        return RowProber([name for name in extra if name not in ("image", *self.masks)], self.masks, probe)

    def add(self, split: str, row: dict[str, Any], found: RowFacts, notes: Notes) -> None:
        """Add a row and what was found out of it."""
        row_id = str(row["id"])
        self.rows[split] += 1
        if self.has_regions:
            self.regions[split] += len(row["regions"] or ())
        for name in self.columns:
            self._count(name, split, row.get(name))
        label = _label_name(row["label"])
        self.by_source[_value_text(row["source"], self.by_source)][label] += 1
        if found.digest:
            self.duplicates.add(found.digest, split, label, row_id)
        self.broken += [Broken(split, row_id, reason) for reason in found.broken]
        if found.size is not None:
            self.sizes[found.size] += 1
            self.formats[found.image_format] += 1
        for name, share in found.shares.items():
            if share is None:
                self.without[name] += 1
            else:
                self.shares[name].append(share)
        for name, values in found.values.items():
            self.values[name].update(values)
            self.probed[name] += 1
        for detail in found.other_size:
            notes.add("mask and image differ in size", row_id, detail)

    def _count(self, name: str, split: str, value: Any) -> None:
        counter = self.counts[name].setdefault(split, Counter())
        for one in value if isinstance(value, list) else [value]:
            counter[_label_name(one) if name == "label" else _value_text(one, counter)] += 1

    def report(self, splits: list[str], notes: Notes, complete: bool) -> CorpusReport:
        """Everything that was added up; `complete` when all rows of all splits were."""
        card = self.builder.CARD
        return CorpusReport(
            corpus=self.builder.dataset_name,
            title=card.title,
            config=self.builder.config.name,
            limit=self.limit,
            rows={split: self.rows[split] for split in splits},
            regions={split: self.regions[split] for split in splits} if self.has_regions else {},
            counts={
                name: {split: dict(sorted(found.items())) for split, found in by_split.items()}
                for name, by_split in self.counts.items()
            },
            by_source={source: dict(counts) for source, counts in sorted(self.by_source.items())},
            sizes=_size_summary(self.sizes),
            formats=dict(self.formats.most_common()),
            coverage={name: self._coverage(name) for name in self.masks},
            duplicates=self.duplicates.find(),
            broken=self.broken,
            unusable=len(self.broken) + notes.unusable,
            notes=notes.to_dict(),
            comparison=[
                Comparison(
                    one.split,
                    one.quantity,
                    one.value,
                    self._counted(one.split, one.quantity) if complete else None,
                    one.where,
                )
                for one in card.paper_counts
            ],
        )

    def _counted(self, split: str, quantity: str) -> int | None:
        """Rows here of a quantity of `PaperCount`; None for one that this configuration does not have."""
        splits = list(self.rows) if split == "all" else [split]
        if quantity == "rows":
            return sum(self.rows[one] for one in splits)
        if quantity == "regions":
            return sum(self.regions[one] for one in splits) if self.has_regions else None
        column, _, value = quantity.rpartition("=")
        column = column or "label"
        if column not in self.counts:
            return None
        return sum(self.counts[column].get(one, Counter())[value] for one in splits)

    def _coverage(self, name: str) -> Coverage:
        shares = np.frombuffer(self.shares[name], np.float32) if self.shares[name] else np.zeros(0, np.float32)
        marked = shares[shares > 0]
        least, middle, most = (
            (float(marked.min()), float(np.median(marked)), float(marked.max())) if len(marked) else (None, None, None)
        )
        return Coverage(
            masks=len(shares),
            without=self.without[name],
            empty=len(shares) - len(marked),
            minimum=least,
            median=middle,
            maximum=most,
            histogram=np.histogram(marked, COVERAGE_BINS, (0, 1))[0].tolist(),
            values=dict(sorted(self.values[name].items())),
            probed=self.probed[name],
        )


def _label_name(label: Any) -> str:
    if label is None:
        return NO_VALUE
    return label if isinstance(label, str) else LABEL_NAMES[label]


def _value_text(value: Any, known: Collection[str]) -> str:
    """A value as it is counted; one word for all new ones when there are many already."""
    text = NO_VALUE if value is None else str(value)
    return text if text in known or len(known) < MAX_VALUES else OTHER_VALUES


def _size_summary(sizes: Counter[tuple[int, int]]) -> Sizes | None:
    if not sizes:
        return None
    sides = []
    for axis in (0, 1):
        counted: Counter[int] = Counter()
        for size, count in sizes.items():
            counted[size[axis]] += count
        sides.append((min(counted), _middle(counted), max(counted)))
    return Sizes(sides[0], sides[1], dict(sizes.most_common()))


def _middle(counted: Counter[int]) -> int:
    """Lower median of counted values."""
    half, passed = (sum(counted.values()) + 1) // 2, 0
    for value in sorted(counted):
        passed += counted[value]
        if passed >= half:
            return value
    raise ValueError("no value was counted")


__all__ = ["inspect_corpus"]
