"""What a reader met on its way: counted by kind, with the first examples, so that nothing is dropped in silence."""

import json
import logging
import os
import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

# Items kept by name for each kind; the rest is counted only.
MAX_EXAMPLES = 20
# Items named in one line of the log.
LOGGED_EXAMPLES = 3
# Kinds that mean a file no row could be made of, against quirks that were read around.
UNUSABLE = re.compile(
    r"empty (file|image|mask)|missing (file|image|mask)|not an image|is no image|not JSON|malformed|damaged|"
    r"cannot be|breaks off"
)

logger = logging.getLogger(__name__)


class Notes:
    """Counts of quirks, such as "empty file" or "mask resized to its image".

    Args:
        most_examples: items kept by name for each kind; None: all.

    Attributes:
        counts: kind -> number of items.
        examples: kind -> the first items, each `name` or `name: detail`.
    """

    def __init__(self, most_examples: int | None = MAX_EXAMPLES) -> None:
        self.most_examples = most_examples
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def add(self, kind: str, item: str, detail: str = "", count: int = 1) -> None:
        """Count an item.

        Args:
            kind: what is the matter, in words that fit many items.
            item: file, member or row.
            detail: what was seen.
            count: number of items, where one call stands for many.
        """
        self.counts[kind] += count
        examples = self.examples.setdefault(kind, [])
        if self.most_examples is None or len(examples) < self.most_examples:
            examples.append(f"{item}: {detail}" if detail else item)

    @property
    def unusable(self) -> int:
        """Items that are missing, damaged or of another kind than they must be."""
        return sum(count for kind, count in self.counts.items() if UNUSABLE.search(kind))

    def merge(self, other: "Notes") -> None:
        """Count the items of other notes too."""
        for kind, count in other.counts.items():
            self.counts[kind] += count
            examples = self.examples.setdefault(kind, [])
            room = None if self.most_examples is None else self.most_examples - len(examples)
            examples += other.examples[kind][:room]

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Kind -> `count` and `examples`, sorted by kind."""
        return {kind: {"count": self.counts[kind], "examples": self.examples[kind]} for kind in sorted(self.counts)}

    def write(self, folder: str | Path) -> None:
        """Write the notes into a folder; several processes may write into the same one."""
        if self.counts:
            handle, _ = tempfile.mkstemp(".json", dir=folder)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(self.to_dict(), file)

    @classmethod
    def read(cls, folder: str | Path) -> "Notes":
        """All the notes that were written into a folder, as one."""
        notes = cls()
        for path in sorted(Path(folder).glob("*.json")):
            for kind, found in json.loads(path.read_text(encoding="utf-8")).items():
                part = cls()
                part.counts[kind] = found["count"]
                part.examples[kind] = found["examples"]
                notes.merge(part)
        return notes

    def log(self, corpus: str) -> None:
        """Write one warning for each kind."""
        for kind, count in sorted(self.counts.items()):
            shown = "; ".join(self.examples[kind][:LOGGED_EXAMPLES])
            logger.warning("%s: %s (%d times; %s)", corpus, kind, count, shown)


__all__ = ["Notes"]
