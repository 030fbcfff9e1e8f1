"""The folder of an annotated corpus: written as results come, continued after a stop, nothing lost and nothing twice.

    OUT/settings.json  OUT/<split>/metadata.jsonl  OUT/rejects.jsonl  OUT/statistics.json  OUT/README.md

A pair's images are complete before its line is written; a line that a killed process left unfinished is dropped when
the folder is opened again, and its pair is annotated anew.
"""

import dataclasses
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ..folder_card import PROMPTFORGE, write_folder_card
from ..image_folder import write_atomically
from ..line_log import append_line, whole_lines
from .annotator import STAGES, AnnotationSettings, Outcome

SPLITS = ("train", "test")
METADATA, REJECTS, SETTINGS, STATISTICS = "metadata.jsonl", "rejects.jsonl", "settings.json", "statistics.json"


@dataclass
class CorpusResult:
    """What a folder holds after a run.

    Args:
        annotated: pairs with a mask.
        rejected: reason -> pairs.
        made: pairs annotated or rejected by this run.
        statistics: see `corpus_statistics`.
    """

    annotated: int
    rejected: dict[str, int]
    made: int
    statistics: dict[str, Any]


class CorpusFolder:
    """A folder that is being written.

    Args:
        out: the folder; made when absent.
        settings: what decides on the masks.

    Raises:
        ValueError: the folder was begun with other settings, or is another kind of folder.
    """

    def __init__(self, out: Path, settings: AnnotationSettings):
        self.out = out
        self.rows = {split: whole_lines(out / split / METADATA) for split in SPLITS}
        self.rejects = whole_lines(out / REJECTS)
        self.done = {row["id"] for rows in (*self.rows.values(), self.rejects) for row in rows}
        self._check_settings(settings)

    def add(self, outcome: Outcome) -> None:
        """Append the line of one pair; on disk when this returns."""
        if outcome.id in self.done:
            return
        if outcome.row is not None:
            append_line(self.out / outcome.split / METADATA, outcome.row)
            self.rows[outcome.split].append(outcome.row)
        elif outcome.reject is not None:
            append_line(self.out / REJECTS, outcome.reject)
            self.rejects.append(outcome.reject)
        self.done.add(outcome.id)

    def write(self, outcomes: Iterable[Outcome], total: int | None = None) -> CorpusResult:
        """Add the outcomes of a run as they come, with progress, and then statistics and card."""
        made, seconds = 0, defaultdict(list)
        for outcome in tqdm(outcomes, total=total, desc="annotate", unit="pair", disable=None):
            self.add(outcome)
            made += 1
            for stage, spent in outcome.seconds.items():
                seconds[stage].append(spent)
        statistics = corpus_statistics(self.rows, self.rejects)
        if seconds:
            statistics["seconds_a_pair"] = {stage: sum(seconds[stage]) / made for stage in STAGES if stage in seconds}
        write_atomically(self.out / STATISTICS, json.dumps(statistics, indent=2, ensure_ascii=False).encode())
        kept = [row for rows in self.rows.values() for row in rows]
        write_folder_card(self.out, PROMPTFORGE, kept, len(self.rejects), statistics["splits"])
        return CorpusResult(statistics["annotated"], statistics["rejected"], made, statistics)

    def _check_settings(self, settings: AnnotationSettings) -> None:
        wanted = json.loads(json.dumps(dataclasses.asdict(settings)))
        file = self.out / SETTINGS
        if file.is_file():
            found = json.loads(file.read_text())
            differing = sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))
            if differing and self.done:
                raise ValueError(
                    f"{self.out} was begun with other settings ({', '.join(differing)}): "
                    "give the same ones, or another folder"
                )
        elif self.out.is_dir() and any(self.out.iterdir()):
            raise ValueError(f"{self.out} is not empty and no annotated corpus: give a new folder")
        write_atomically(file, json.dumps(wanted, indent=2).encode())


def corpus_statistics(rows: dict[str, list[dict[str, Any]]], rejects: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts of a corpus (its figure 4, left): pairs by split, source and task, rejects by reason, edited share."""
    kept = [row for split_rows in rows.values() for row in split_rows]
    shares = sorted(row["edited_share"] for row in kept)
    return {
        "annotated": len(kept),
        "rejected": dict(Counter(row["reason"] for row in rejects).most_common()),
        "splits": {split: len(split_rows) for split, split_rows in rows.items()},
        "sources": dict(Counter(row["source"] for row in kept).most_common()),
        "tasks": dict(Counter(row["task"] or "not stated" for row in kept).most_common()),
        "median_edited_share": shares[len(shares) // 2] if shares else None,
    }


__all__ = ["CorpusFolder", "CorpusResult", "corpus_statistics"]
