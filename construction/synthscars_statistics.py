"""Counts of a curated collection: by label, criterion, cluster and source (LEGION, A.3)."""

from collections import Counter
from typing import Any

from .synthscars_filter import CRITERIA, Label

COUNTERS = ("calls", "prompt_tokens", "completion_tokens")


def curation_statistics(
    clusters: list[dict[str, Any]], rows: list[dict[str, Any]], rejects: list[dict[str, Any]], failed: int = 0
) -> dict[str, Any]:
    """Count a collection.

    Args:
        clusters: of clusters.jsonl, a row for each image that could be read.
        rows: of metadata.jsonl.
        rejects: of rejects.jsonl, images included that could not be read.
        failed: drawn images that were not judged.

    Returns:
        Images, those drawn and those kept, `labels` of the drawn ones, `without_label` (reasons), `unmet` (images a
        criterion; one image may miss several), `clusters` (images, drawn, kept and labels of each), `sources` (the
        same), and calls and tokens of the vision-language model, rejects included.
    """
    unreadable = [row for row in rejects if row["cluster"] is None]
    labels = [row["curation"] for row in rows] + [row["reason"] for row in rejects if row["criteria"]]
    return {
        "images": len(clusters) + len(unreadable),
        "drawn": sum(row["drawn"] for row in clusters),
        "kept": len(rows),
        "failed": failed,
        "labels": _labels(labels),
        "without_label": dict(sorted(Counter(row["reason"] for row in rejects if not row["criteria"]).items())),
        "unmet": {name: sum(not row["criteria"][name] for row in rejects if row["criteria"]) for name in CRITERIA},
        "clusters": [
            {"cluster": cluster, **_group("cluster", cluster, clusters, rows, rejects)}
            for cluster in sorted({row["cluster"] for row in clusters})
        ],
        "sources": {
            source: _group("source", source, clusters, rows, rejects)
            for source in sorted({row["source"] for row in (*clusters, *unreadable)})
        },
        "vision_language": {name: sum(row["vision_language"][name] for row in (*rows, *rejects)) for name in COUNTERS},
    }


def _group(
    key: str, value: Any, clusters: list[dict[str, Any]], rows: list[dict[str, Any]], rejects: list[dict[str, Any]]
) -> dict[str, Any]:
    """Counts of one cluster or source; `images` are those that can be read."""
    members, kept, refused = ([row for row in part if row[key] == value] for part in (clusters, rows, rejects))
    labels = [row["curation"] for row in kept] + [row["reason"] for row in refused if row["criteria"]]
    return {
        "images": len(members),
        "drawn": sum(row["drawn"] for row in members),
        "kept": len(kept),
        "labels": _labels(labels),
    }


def _labels(found: list[str]) -> dict[str, int]:
    """Images of each label, in the order of the paper, 0 included."""
    counts = Counter(found)
    return {label.value: counts[label.value] for label in Label}


__all__ = ["curation_statistics"]
