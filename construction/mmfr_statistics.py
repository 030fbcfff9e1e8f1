"""Counts of a constructed MMFR folder: what section 3.3 and Figure 5 of FakeReasoning count of theirs."""

from collections import Counter
from typing import Any

import numpy as np

from .mmfr_attributes import ATTRIBUTES
from .mmfr_compile import reasoning_of
from .mmfr_images import LABELS

TOKENS_A_PRICE = 1_000_000  # prices are those of a million tokens, as servers state them


def corpus_statistics(
    rows: list[dict[str, Any]], answers: list[str], rejects: list[dict[str, Any]], failed: int = 0
) -> dict[str, Any]:
    """Count a corpus.

    Args:
        rows: of metadata.jsonl.
        answers: the answer in four stages of each.
        rejects: of rejects.jsonl.
        failed: images that could not be worked on.

    Returns:
        Images and descriptions by label, images by source, descriptions by attribute, words of captions and of
        reasoning, attributes that were dropped, rejects by reason and label, and calls and tokens of the model, those
        of rejected images included.
    """
    everything = [*rows, *rejects]
    return {
        "images": _by_label(row["label"] for row in rows),
        "annotations": _by_label(row["label"] for row in rows for _ in row["attributes"]),
        "sources": {
            source: _by_label(row["label"] for row in rows if row["source"] == source)
            for source in sorted({row["source"] for row in rows})
        },
        "attributes": attribute_counts(rows),
        "words": {name: _summary(counts) for name, counts in word_counts(rows, answers).items()},
        "dropped_attributes": _counts(name for row in everything for name in row["dropped_attributes"]),
        "rejected": _counts(row["reason"] for row in rejects),
        "rejected_images": _by_label(row["label"] for row in rejects),
        "failed": failed,
        "vision_language": {
            name: sum(row["vision_language"][name] for row in everything)
            for name in ("calls", "prompt_tokens", "completion_tokens")
        },
    }


def attribute_counts(rows: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Label -> attribute -> images that have it (Figure 5b)."""
    named = Counter((row["label"], entry["attribute"]) for row in rows for entry in row["attributes"])
    return {
        label: {attribute.name: named[label, attribute.name] for attribute in ATTRIBUTES[label]} for label in LABELS
    }


def word_counts(rows: list[dict[str, Any]], answers: list[str]) -> dict[str, list[int]]:
    """Words of each caption and of each reasoning (Figure 5a; its unit is not given, ours are words)."""
    return {
        "caption": [len(row["caption"].split()) for row in rows],
        "reasoning": [len(reasoning_of(answer).split()) for answer in answers],
    }


def cost_of(usage: dict[str, int], price_in: float, price_out: float) -> float:
    """What the tokens of `statistics["vision_language"]` cost, at these prices of a million tokens."""
    return (usage["prompt_tokens"] * price_in + usage["completion_tokens"] * price_out) / TOKENS_A_PRICE


def _summary(counts: list[int]) -> dict[str, float] | None:
    if not counts:
        return None
    return {
        "mean": round(float(np.mean(counts)), 2),
        "median": float(np.median(counts)),
        "min": min(counts),
        "max": max(counts),
    }


def _by_label(labels: Any) -> dict[str, int]:
    counts = Counter(labels)
    return {label: counts[label] for label in LABELS}


def _counts(values: Any) -> dict[str, int]:
    """How often each value occurs, in the order of the values."""
    return dict(sorted(Counter(values).items()))


__all__ = ["attribute_counts", "corpus_statistics", "cost_of", "word_counts"]
