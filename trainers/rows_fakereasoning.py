"""Which rows FakeReasoning learns from, and what it is taught to answer (sections 3.2 and 5.3, Table 4)."""

from dataclasses import dataclass
from typing import Literal

import datasets
import numpy as np

from forgescope.datasets_scripts.features import LABEL_NAMES
from forgescope.processing.chain_of_thought import CONCLUSIONS, QUESTION, parse_chain_of_thought

from .row_faults import RowFaults, row_names

TARGETS = ("chain_of_thought", "reasoning", "conclusion")


@dataclass(frozen=True)
class FakeReasoningDataConfig:
    """What FakeReasoning is taught, and on how many rows it is evaluated.

    Args:
        target: What it answers (Table 4): the four stages; their reasoning alone, without tags; or one sentence that
            says real or fake.
        validation_rows: Rows that are held out of data without a split `validation`, the same whatever the order of
            the rows; not given in the paper.
    """

    target: Literal["chain_of_thought", "reasoning", "conclusion"] = "chain_of_thought"
    validation_rows: int = 500

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise ValueError(f"data.target must be one of {', '.join(TARGETS)}, got {self.target!r}")
        if self.validation_rows < 1:
            raise ValueError(f"data.validation_rows must be at least 1, got {self.validation_rows}")


def check_columns(rows: datasets.Dataset) -> None:
    """Refuse data without images, answers and labels, or whose label 1 does not mean fake.

    Raises:
        ValueError: So.
    """
    missing = [name for name in ("image", "answer", "label") if name not in rows.column_names]
    if missing:
        raise ValueError(
            f"the data have no column {', '.join(missing)}: expected image, answer and label, and perhaps question "
            f"and id, got {', '.join(rows.column_names)}; `forgescope construct mmfr` makes such data"
        )
    names = getattr(rows.features["label"], "names", None)
    if names is not None and tuple(names) != LABEL_NAMES:
        raise ValueError(f"expected the labels {', '.join(LABEL_NAMES)} in this order, got {', '.join(names)}")


@dataclass(frozen=True)
class TaughtRows:
    """Rows that can be taught.

    Args:
        kept: (N,) positions of the rows.
        questions: What is asked.
        answers: What is to be answered.
        labels: (N,) int64, 1 = fake.
        lengths: (N,) characters of question and answer, which go with the number of their tokens.
    """

    kept: np.ndarray
    questions: list[str]
    answers: list[str]
    labels: np.ndarray

    @property
    def lengths(self) -> list[int]:
        """Characters of question and answer, which go with the number of their tokens."""
        return [len(question) + len(answer) for question, answer in zip(self.questions, self.answers, strict=True)]


def taught_rows(rows: datasets.Dataset, target: str) -> TaughtRows:
    """Choose the rows that can be taught, and say in the log which cannot, and why.

    Left out are rows without a label, an answer or (where it is taught) a reasoning, and those whose conclusion does
    not say what their label does. Answers with other faults, such as a tag that is not closed, are taught as they are.

    Args:
        rows: See `check_columns`.
        target: See `FakeReasoningDataConfig`.

    Returns:
        The rows.

    Raises:
        ValueError: If a column is missing, or no row is left.
    """
    check_columns(rows)
    labels, answers, names = rows["label"][:], rows["answer"][:], row_names(rows)
    questions = rows["question"][:] if "question" in rows.column_names else [None] * len(rows)
    kept, taught = [], []
    faults = RowFaults()
    for index, (label, answer) in enumerate(zip(labels, answers, strict=True)):
        text, found = taught_text(label, answer, target)
        for fault in found:
            faults.add(fault, names[index])
        if text is not None:
            kept.append(index)
            taught.append(text)
    faults.log(len(rows))
    if not kept:
        raise faults.nothing_left(len(rows))
    return TaughtRows(
        np.array(kept),
        [questions[index] or QUESTION for index in kept],
        taught,
        np.array([labels[index] for index in kept], dtype=np.int64),
    )


def taught_text(label: int | None, answer: str | None, target: str) -> tuple[str | None, list[str]]:
    """What a row teaches, and its faults.

    Args:
        label: 1 = fake, 0 = real.
        answer: Four stages.
        target: See `FakeReasoningDataConfig`.

    Returns:
        The text, None where the row cannot be taught; and what is wrong with the row.
    """
    if label is None or label not in range(len(LABEL_NAMES)):
        return None, ["no label, left out"]
    said = LABEL_NAMES[label]
    if target == "conclusion":
        return CONCLUSIONS["this_image"].format(label=said), []
    if not answer or not answer.strip():
        return None, ["no answer, left out"]
    parsed = parse_chain_of_thought(answer)
    if parsed.label is None:
        return None, ["the conclusion is missing or says neither real nor fake, or both: left out"]
    if parsed.label != said:
        return None, [f"the conclusion says {parsed.label}, the label {said}: left out"]
    if target == "reasoning":
        return (parsed.reasoning, []) if parsed.reasoning else (None, ["no reasoning, left out"])
    return answer.strip(), parsed.problems
