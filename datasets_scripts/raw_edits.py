"""What the readers of published edit collections hand on: one edit, not yet filtered."""

from dataclasses import dataclass, field
from typing import Any

from .files import CorpusFiles

# What stands for "no instruction" in the publishers' files, besides nothing at all.
EMPTY_TEXTS = ("none", "无", "null")


@dataclass(frozen=True)
class RawEdit:
    """One edit of a published collection.

    Args:
        id: stable name, which decides the split once the edit is annotated.
        source: collection and editor, as PromptForge's subsets are named.
        source_task: the publisher's task name, verbatim.
        instruction: None where the publisher has none.
        instruction_en: the instruction in English, None where the publisher has none.
        edited: reader of the edited image, and its name there.
        original: the same of the source image; None where it is missing.
        columns: columns of this collection alone.
    """

    id: str
    source: str
    source_task: str | None
    instruction: str | None
    instruction_en: str | None
    edited: tuple[CorpusFiles, str]
    original: tuple[CorpusFiles, str] | None
    columns: dict[str, Any] = field(default_factory=dict)


def said(value: object) -> str | None:
    """Text without outer blanks; None for anything else, for empty text, and for the words that stand for it."""
    text = value.strip() if isinstance(value, str) else ""
    return None if text.lower() in ("", *EMPTY_TEXTS) else text


__all__ = ["RawEdit", "said"]
