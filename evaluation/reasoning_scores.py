"""Verdicts and reasons given in words, scored: how often the verdict is right, and how it changes when asked again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

# What an answer without a verdict, or without reasons, does: it counts as wrong, or is left out.
Unparsed = Literal["wrong", "drop"]


@dataclass(frozen=True)
class AnswerRecord:
    """What was answered about one image, taken apart.

    Args:
        name: the image.
        source: the subset it belongs to, such as its generator.
        label: the truth, 1 = fake, 0 = real.
        verdict: what the answer concludes, 1 = fake, 0 = real; None: no conclusion, or no clear one.
        reasoning: what stands in the reasoning stage; None: there is none.
        reference: the annotated reasons; "" where the image has none.
    """

    name: str
    source: str
    label: int
    verdict: int | None
    reasoning: str | None = None
    reference: str = ""

    @property
    def right(self) -> bool:
        """Whether the verdict is the truth; no verdict is not."""
        return self.verdict == self.label


def kept(records: Sequence[AnswerRecord], unparsed: Unparsed = "wrong") -> list[AnswerRecord]:
    """Records that take part in accuracy.

    Args:
        records: the answers.
        unparsed: `wrong`: all of them; `drop`: those with a verdict and with reasons, as the authors' script has it.

    Raises:
        ValueError: another rule.
    """
    if unparsed not in get_args(Unparsed):
        raise ValueError(f"unparsed must be {' or '.join(get_args(Unparsed))}, got {unparsed!r}")
    if unparsed == "wrong":
        return list(records)
    return [record for record in records if record.verdict is not None and record.reasoning is not None]


def right_answers(records: Sequence[AnswerRecord]) -> NDArray[np.float64]:
    """(N,) 1 where the verdict is right, else 0."""
    return np.array([record.right for record in records], dtype=np.float64)


def attribute_text(reasoning: Sequence[dict[str, str]]) -> str:
    """Join annotated attributes to one text, sorted by their names, as the authors' script does.

    Args:
        reasoning: `attribute` and `text` of each, those without a text left out.
    """
    return " ".join(entry["text"] for entry in sorted(reasoning, key=lambda entry: entry["attribute"]))


def verdict_changes(first: Sequence[AnswerRecord], later: Sequence[AnswerRecord]) -> NDArray[np.float64]:
    """Compare the verdicts of two rounds over the same images; no verdict differs from both.

    Args:
        first: answers of round 0.
        later: answers of another round.

    Returns:
        (N,) 1 where the verdict has changed, of the images that are in both, in the order of `first`.
    """
    again = {record.name: record.verdict for record in later}
    return np.array(
        [record.verdict != again[record.name] for record in first if record.name in again], dtype=np.float64
    )


def shared(rounds: Sequence[Sequence[AnswerRecord]]) -> list[list[AnswerRecord]]:
    """Keep the images that every round has, so that rounds can be compared."""
    names = set.intersection(*({record.name for record in one} for one in rounds))
    return [[record for record in one if record.name in names] for one in rounds]
