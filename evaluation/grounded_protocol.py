"""A table of LEGION as something to run: whose artifacts are looked for, how damaged, and the paper's numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from .protocol import Protocol
from .rows import Row

UNION = "union"
# Metric, classes and perturbation -> what the paper reports, 0 to 1.
GroundedValues = Mapping[tuple[str, str, str], float]


@dataclass(frozen=True)
class GroundedRow(Row):
    """A reported number, and what is needed beyond `Row` to compare it with another.

    Args:
        targets: `union`: one mask an image, of all its artifacts; `per_phrase`: one an artifact; None: no masks.
        matching: with `per_phrase`, how annotated and found phrases are paired: `best` or `order`.
        rasterizer: how masks were made of annotations.
        cleaning: of texts, how they were cleaned up: `plain` or `authors`.
        note: what to know before the number is compared with the paper's.
    """

    targets: str | None = None
    matching: str | None = None
    rasterizer: str | None = None
    cleaning: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class GroundedProtocol(Protocol):
    """One table of LEGION about artifacts and their explanations.

    Args:
        phrases: whether artifacts are annotated one by one.
        texts: whether explanations are annotated.
        rasterizer: how masks are made of annotations.
        values: what the paper reports for LEGION.
        paper_note: what to know before a number is compared with the paper's.
    """

    phrases: bool = False
    texts: bool = False
    rasterizer: str = ""
    values: GroundedValues = field(default_factory=dict)
    paper_note: str = ""


def with_grounded_values(rows: Sequence[GroundedRow], protocol: GroundedProtocol) -> list[GroundedRow]:
    """Set the paper's numbers beside the rows that stand for them: those of one mask an image, mean over images.

    Which masks and which mean the paper means is not given; that it is a mean over images follows from its tables, see
    `protocols_legion`.
    """

    def of_row(row: GroundedRow) -> GroundedRow:
        value = protocol.values.get((row.metric, row.classes, row.perturbation))
        if value is None or row.reduction != "image" or row.targets not in (UNION, None):
            return row
        return replace(row, paper_value=value, note=protocol.paper_note if row.targets else None)

    return [of_row(row) for row in rows]
