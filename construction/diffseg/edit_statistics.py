"""Counts of a corpus (DiffSeg30k, section 3.3 and Figure 3)."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

# Edges of the bins of region areas, as shares of the image.
AREA_EDGES = (0.02, 0.05, 0.1, 0.2, 0.4)


def corpus_statistics(rows: list[dict[str, Any]], rejects: list[dict[str, Any]], failed: int = 0) -> dict[str, Any]:
    """Count a corpus.

    Args:
        rows: of metadata.jsonl.
        rejects: of rejects.jsonl.
        failed: photographs that could not be worked on.

    Returns:
        Images, rejects by reason, and of the images: number of edits, bases, editors by turn, edit types, people,
        objects, areas, scores. `before_quality` counts editors and types of those too that were rejected, so that one
        sees whom the score turns away. `vision_language` is the sum of calls and tokens, rejects included.
    """
    turns = [turn for row in rows for turn in row["turns"]]
    edited = [turn for row in (*rows, *rejects) for turn in row["turns"]]
    return {
        "images": len(rows),
        "rejected": _counts(row["reason"] for row in rejects),
        "failed": failed,
        "turns": _counts(len(row["turns"]) for row in rows),
        "planned_turns": _counts(row["planned_turns"] for row in rows),
        "bases": _counts(row["base"] for row in rows),
        "editors": _counts(turn["editor"] for turn in turns),
        "editors_by_turn": {
            str(number): _counts(turn["editor"] for turn in turns if turn["turn"] == number)
            for number in sorted({turn["turn"] for turn in turns})
        },
        "edit_types": _counts(turn["edit_type"] for turn in turns),
        "people": sum(turn["person"] for turn in turns),
        "objects": dict(Counter(turn["object"].lower() for turn in turns).most_common()),
        "areas": _counts(_area_bin(turn["area"]) for turn in turns),
        "quality": _counts(row["quality"] for row in rows),
        "before_quality": {
            "quality": _counts(row["quality"] for row in (*rows, *rejects) if row["quality"] is not None),
            "editors": _counts(turn["editor"] for turn in edited),
            "edit_types": _counts(turn["edit_type"] for turn in edited),
        },
        "vision_language": {
            name: sum(row["vision_language"][name] for row in (*rows, *rejects))
            for name in ("calls", "prompt_tokens", "completion_tokens")
        },
    }


def _counts(values: Iterable[Any]) -> dict[str, int]:
    """How often each value occurs, in the order of the values."""
    return {str(value): count for value, count in sorted(Counter(values).items())}


def _area_bin(area: float) -> str:
    edges = (0.0, *AREA_EDGES, 1.0)
    number = sum(area >= edge for edge in AREA_EDGES)
    return f"{edges[number]:g} to {edges[number + 1]:g}"


__all__ = ["corpus_statistics"]
