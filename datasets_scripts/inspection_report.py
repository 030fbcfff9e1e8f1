"""What an inspection found, as data and as tables."""

import dataclasses
import json
import re
from dataclasses import dataclass
from typing import Any

from .duplicates import Duplicates

NUMBERS = re.compile(r"\[\s+-?[\d.e-]+(,\s+-?[\d.e-]+)*\s+\]")
NO_VALUE = "none"
# Values, broken files, image sizes and mask values that tables show; JSON has all of them.
SHOWN_VALUES = 30
SHOWN_BROKEN = 20
SHOWN_SIZES = 5
SHOWN_MASK_VALUES = 12


@dataclass(frozen=True)
class Comparison:
    """A number that the paper states beside what was found; `here` is None when not all rows were read."""

    split: str
    quantity: str
    paper: int
    here: int | None
    where: str


@dataclass(frozen=True)
class Broken:
    """A row whose image or mask cannot be decoded to the end."""

    split: str
    id: str
    reason: str


@dataclass(frozen=True)
class Sizes:
    """Widths and heights in pixels as (minimum, median, maximum), and (width, height) -> images, most common first."""

    width: tuple[int, int, int]
    height: tuple[int, int, int]
    images: dict[tuple[int, int], int]


@dataclass(frozen=True)
class Coverage:
    """Share of non-zero pixels in the masks of a column.

    Args:
        masks: rows with a mask.
        without: rows with none.
        empty: masks without a non-zero pixel.
        minimum: smallest share of the masks that have one, 0 to 1; None when there are none. Likewise the others.
        median: middle share.
        maximum: largest share.
        histogram: masks by share in equal steps from 0 to 1, empty ones left out.
        values: value -> masks that hold it, among the first ones.
        probed: masks that `values` were taken from.
    """

    masks: int
    without: int
    empty: int
    minimum: float | None
    median: float | None
    maximum: float | None
    histogram: list[int]
    values: dict[int, int]
    probed: int


@dataclass(frozen=True)
class CorpusReport:
    """What an inspection found.

    Args:
        corpus: name, as `load_corpus` takes it.
        title: name, as its authors write it.
        config: configuration.
        limit: rows read of each split, None for all.
        rows: split -> rows.
        regions: split -> items of the column `regions`; empty without such a column.
        counts: column -> split -> value -> rows.
        by_source: source -> label -> rows, all splits.
        sizes: of the decoded images; None without any.
        formats: file format and colour mode, such as "JPEG RGB" -> images.
        coverage: mask column -> share of marked pixels.
        duplicates: equal image files.
        broken: files that break off; found by decoding only.
        unusable: number of files that no row could be made of, or that break off.
        notes: kind -> `count` and `examples` of what the readers met.
        comparison: the paper's numbers.
    """

    corpus: str
    title: str
    config: str
    limit: int | None
    rows: dict[str, int]
    regions: dict[str, int]
    counts: dict[str, dict[str, dict[str, int]]]
    by_source: dict[str, dict[str, int]]
    sizes: Sizes | None
    formats: dict[str, int]
    coverage: dict[str, Coverage]
    duplicates: Duplicates
    broken: list[Broken]
    unusable: int
    notes: dict[str, dict[str, Any]]
    comparison: list[Comparison]

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON types."""
        found = dataclasses.asdict(self)
        if self.sizes is not None:
            found["sizes"]["images"] = [[*size, count] for size, count in self.sizes.images.items()]
        return found

    def to_json(self) -> str:
        """The same as indented JSON text, lists of numbers on one line."""
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False)
        return (
            NUMBERS.sub(lambda found: re.sub(r"\s+", " ", found[0]).replace("[ ", "[").replace(" ]", "]"), text) + "\n"
        )

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """Title, header and lines of each table, for people."""
        tables = [self._count_table("label"), *(self._count_table(name) for name in self.counts if name != "label")]
        tables += [self._image_table(), self._coverage_table(), self._duplicate_table(), self._comparison_table()]
        tables += [self._note_table(), self._broken_table()]
        return [table for table in tables if table[2]]

    def _count_table(self, column: str) -> tuple[str, list[str], list[list[str]]]:
        by_split = self.counts.get(column, {})
        values = sorted({value for counts in by_split.values() for value in counts})
        if values == [NO_VALUE] and column != "label":
            values = []
        lines = [
            [value, *(f"{by_split[split].get(value, 0):,}" for split in self.rows)] for value in values[:SHOWN_VALUES]
        ]
        if len(values) > SHOWN_VALUES:
            lines.append([f"{len(values) - SHOWN_VALUES} more", *("" for _ in self.rows)])
        if column == "label":
            lines.append(["all", *(f"{count:,}" for count in self.rows.values())])
            if self.regions:
                lines.append(["regions", *(f"{self.regions[split]:,}" for split in self.rows)])
        return f"Rows by {column}", [column, *self.rows], lines

    def _image_table(self) -> tuple[str, list[str], list[list[str]]]:
        lines = []
        if self.sizes is not None:
            for name, (least, median, most) in (("width", self.sizes.width), ("height", self.sizes.height)):
                lines.append([name, f"{least} to {most}, median {median}"])
            common = list(self.sizes.images.items())[:SHOWN_SIZES]
            lines.append(["most common", ", ".join(f"{w} x {h} ({count:,})" for (w, h), count in common)])
        if self.formats:
            lines.append(["formats", ", ".join(f"{name} ({count:,})" for name, count in self.formats.items())])
        return "Images", ["", "pixels"], lines

    def _coverage_table(self) -> tuple[str, list[str], list[list[str]]]:
        lines = []
        for column, found in self.coverage.items():
            if not found.masks:
                continue
            values = " ".join(f"{value}({count})" for value, count in found.values.items())
            if len(found.values) > SHOWN_MASK_VALUES:
                values = f"{len(found.values)} values from {min(found.values)} to {max(found.values)}"
            share = (
                ""
                if found.median is None
                else f"{found.minimum:.2%} to {found.maximum:.2%}, median {found.median:.2%}"
            )
            lines.append([column, f"{found.masks:,}", f"{found.without:,}", f"{found.empty:,}", share, values])
        header = ["column", "masks", "without", "empty", "marked share of the others", "values (masks with it)"]
        return "Masks", header, lines

    def _duplicate_table(self) -> tuple[str, list[str], list[list[str]]]:
        found = self.duplicates
        if not found.groups:
            return "Equal image files", [], []
        lines = [
            ["different files", f"{found.distinct:,}"],
            ["rows that repeat one", f"{found.rows:,}"],
            ["groups across splits", f"{found.across_splits:,}"],
            ["groups both real and fake", f"{found.across_labels:,}"],
            ["for instance", " = ".join(found.examples[0])],
        ]
        return "Equal image files", ["", ""], lines

    def _comparison_table(self) -> tuple[str, list[str], list[list[str]]]:
        lines = [
            [
                one.split,
                one.quantity,
                f"{one.paper:,}",
                "not counted" if one.here is None else f"{one.here:,}",
                one.where,
            ]
            for one in self.comparison
        ]
        return "Against the paper", ["split", "quantity", "paper", "here", "stated in"], lines

    def _note_table(self) -> tuple[str, list[str], list[list[str]]]:
        lines = [[kind, f"{found['count']:,}", found["examples"][0]] for kind, found in self.notes.items()]
        return "Met on the way", ["what", "how often", "for instance"], lines

    def _broken_table(self) -> tuple[str, list[str], list[list[str]]]:
        lines = [[one.split, one.id, one.reason] for one in self.broken[:SHOWN_BROKEN]]
        if len(self.broken) > SHOWN_BROKEN:
            lines.append(["", f"{len(self.broken) - SHOWN_BROKEN} more", ""])
        return "Broken files", ["split", "id", "reason"], lines


__all__ = ["Broken", "Comparison", "CorpusReport", "Coverage", "Sizes"]
