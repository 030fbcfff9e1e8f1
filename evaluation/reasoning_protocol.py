"""A table of FakeReasoning as something to run: which images, how often each is asked about, the paper's numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from .protocol import Protocol
from .rows import Row

# Source, metric and setting (None: of the only run) -> what the paper reports, 0 to 1.
ReasoningValues = Mapping[tuple[str, str, str | None], float]


@dataclass(frozen=True)
class ReasoningProtocol(Protocol):
    """One table of FakeReasoning.

    Args:
        families: family of generators -> subsets whose mean is reported too.
        temperatures: of the sampling; each is a run of its own.
        rounds: times that every image is asked about, at each temperature, with other seeds.
        texts: whether the reasons are compared with the annotations.
        values: what the paper reports for FakeReasoning.
    """

    families: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    temperatures: tuple[float, ...] = (0.0,)
    rounds: int = 1
    texts: bool = False
    values: ReasoningValues = field(default_factory=dict)


def with_reasoning_values(rows: Sequence[Row], protocol: ReasoningProtocol) -> list[Row]:
    """Set the paper's numbers beside the rows that stand for them."""
    values = protocol.values
    return [replace(row, paper_value=values.get((row.source, row.metric, row.setting))) for row in rows]
