"""Counts the ratings that people saved on the review page, by majority (PromptForge-350k, section 4.3).

Three raters agree by two; what the paper did with three different ratings is not given, so such pairs are reported
and not resolved. Fleiss' kappa is left out: no library that this package needs computes it.
"""

import itertools
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .review import REVIEW_FOLDER
from .review_page import DEFINITIONS, FORMAT, VERSION

RATINGS = tuple(DEFINITIONS)
# A pair without a majority: raters are missing who could make one; two or more ratings lead alike; one leads, but with
# no more than half of the raters.
INCOMPLETE, TIE, NO_MAJORITY = "incomplete", "tie", "no majority"
OUTCOMES = (*RATINGS, TIE, NO_MAJORITY, INCOMPLETE)
RATING_FILES = "ratings-*.json"
ALL = "all"
# Section 4.3: three volunteers, 200 samples.
PAPER_RATERS = 3
PAPER_COUNTS = {"perfect": 172, "minor": 20, "significant": 8}


@dataclass(frozen=True)
class RatingFile:
    """What one rater saved.

    Args:
        path: the file.
        rater: name.
        page: key of the page that was rated.
        sources: source of every pair of the page by id.
        ratings: rating by id, of the pairs that were rated.
    """

    path: Path
    rater: str
    page: str
    sources: dict[str, str]
    ratings: dict[str, str]


@dataclass(frozen=True)
class TallyRow:
    """Pairs of one source, or of all, by outcome of the vote.

    Args:
        source: name, or "all".
        pairs: how many.
        counts: pairs by outcome; the outcomes are those of `OUTCOMES` and sum to `pairs`.
    """

    source: str
    pairs: int
    counts: dict[str, int]

    def share(self, outcome: str) -> float:
        """Share of the pairs, 0..1."""
        return self.counts[outcome] / self.pairs if self.pairs else 0.0


@dataclass(frozen=True)
class Tally:
    """The vote of all raters.

    Args:
        page: key of the page.
        raters: names, sorted.
        given: pairs that each rater rated, by rating.
        rows: one a source, sorted, then all.
        outcomes: outcome of each pair by id.
        votes: ratings that each pair was given, by id, in the order of the raters; None where one gave none.
        agreement: share of equal ratings among all two raters of a pair, 0..1; None with no such two.
        unanimous: pairs that every rater gave the same rating.
    """

    page: str
    raters: list[str]
    given: dict[str, dict[str, int]]
    rows: list[TallyRow]
    outcomes: dict[str, str]
    votes: dict[str, list[str | None]]
    agreement: float | None
    unanimous: int

    def to_dict(self) -> dict[str, Any]:
        """Everything as values of JSON; pairs without a majority with their votes."""
        return {
            "page": self.page,
            "raters": self.raters,
            "given": self.given,
            "rows": [
                {
                    "source": row.source,
                    "pairs": row.pairs,
                    "counts": row.counts,
                    "shares": {outcome: round(row.share(outcome), 6) for outcome in OUTCOMES},
                }
                for row in self.rows
            ],
            "agreement": self.agreement,
            "unanimous": self.unanimous,
            "undecided": [
                {"id": row_id, "outcome": outcome, "votes": dict(zip(self.raters, self.votes[row_id], strict=True))}
                for row_id, outcome in self.outcomes.items()
                if outcome not in RATINGS
            ],
            "paper": {"raters": PAPER_RATERS, "pairs": sum(PAPER_COUNTS.values()), "counts": PAPER_COUNTS},
        }

    def to_json(self) -> str:
        """As `to_dict`."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n"

    def to_markdown(self) -> str:
        """The table beside the paper's numbers, and what is to be known of both."""
        lines = ["| source | pairs | " + " | ".join(OUTCOMES) + " |", "| --- |" + " ---: |" * (1 + len(OUTCOMES))]
        paper = TallyRow("paper", sum(PAPER_COUNTS.values()), dict.fromkeys(OUTCOMES, 0) | PAPER_COUNTS)
        for row in (*self.rows, paper):
            # the paper names no pairs without a majority
            cells = ["-" if row is paper and name not in RATINGS else _cell(row, name) for name in OUTCOMES]
            lines.append(f"| {_plain(row.source)} | {row.pairs} | " + " | ".join(cells) + " |")
        raters = ", ".join(f"{_plain(name)} ({sum(self.given[name].values())} rated)" for name in self.raters)
        notes = [
            f"Raters: {raters}. A rating counts for a pair when more than half of the raters gave it.",
            f"All raters agree on {self.unanimous} of {len(self.outcomes)} pairs"
            + ("." if self.agreement is None else f"; two ratings of a pair are equal in {self.agreement:.1%}."),
            f"Paper: section 4.3, {PAPER_RATERS} raters, other pairs than these; how it breaks ties is not given.",
        ]
        return "\n".join([*lines, "", *(f"- {note}" for note in notes)]) + "\n"


def tally(paths: str | os.PathLike | Iterable[str | os.PathLike]) -> Tally:
    """Count the ratings of all raters.

    Args:
        paths: files that the page saved, or folders: an annotated folder, its `review`, or one of such files alone.

    Raises:
        FileNotFoundError: a path does not exist.
        ValueError: no file, a file that is no such file, two of one rater, or files of different pages.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    files = sorted((read_ratings(path) for path in rating_files(given)), key=lambda file: file.rater)
    for first, second in itertools.pairwise(files):
        if first.rater == second.rater:
            raise ValueError(f"{first.path} and {second.path} are both of {first.rater}: give one file a rater")
    for file in files[1:]:
        if file.page != files[0].page or file.sources != files[0].sources:
            raise ValueError(f"{file.path} and {files[0].path} rate different pages: give files of one page")
    votes = {row_id: [file.ratings.get(row_id) for file in files] for row_id in files[0].sources}
    outcomes = {row_id: majority(cast) for row_id, cast in votes.items()}
    return Tally(
        page=files[0].page,
        raters=[file.rater for file in files],
        given={file.rater: _counts(file.ratings.values(), RATINGS) for file in files},
        rows=_rows(outcomes, files[0].sources),
        outcomes=outcomes,
        votes=votes,
        agreement=_agreement(votes.values()),
        unanimous=sum(len(set(cast)) == 1 and cast[0] is not None for cast in votes.values()),
    )


def majority(votes: Sequence[str | None]) -> str:
    """Outcome of one pair: a rating that more than half of the raters gave, or why there is none.

    Args:
        votes: one a rater; None where a rater gave none.
    """
    ranked = Counter(vote for vote in votes if vote is not None).most_common()
    if ranked and 2 * ranked[0][1] > len(votes):
        return ranked[0][0]
    if None in votes:
        return INCOMPLETE
    return TIE if len(ranked) > 1 and ranked[0][1] == ranked[1][1] else NO_MAJORITY


def rating_files(paths: Iterable[str | os.PathLike]) -> list[Path]:
    """Files that the page saved: those named, and those that lie in a named folder or in its `review`.

    Raises:
        FileNotFoundError: a path does not exist.
        ValueError: a folder has none, or no path was given.
    """
    files: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            found = [file for folder in (path, path / REVIEW_FOLDER) for file in sorted(folder.glob(RATING_FILES))]
            if not found:
                raise ValueError(f"no {RATING_FILES} in {path} or {path / REVIEW_FOLDER}: put the saved files there")
            files.update(dict.fromkeys(found))
        elif path.is_file():
            files[path] = None
        else:
            raise FileNotFoundError(f"{path} does not exist: give files of ratings, or their folder")
    if not files:
        raise ValueError("no files of ratings were given")
    return list(files)


def read_ratings(path: Path) -> RatingFile:
    """Read and check one file.

    Raises:
        ValueError: it is not what the page saves; one sentence that names the file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path} is no file that the review page saved")
    if content.get("version") != VERSION:
        raise ValueError(f"{path} has version {content.get('version')!r}: this release reads version {VERSION}")
    rater, page, entries = (content.get(key) for key in ("rater", "page", "ratings"))
    if not isinstance(rater, str) or not rater or not isinstance(page, str) or not isinstance(entries, list):
        raise ValueError(f"{path} lacks rater, page or ratings")
    sources: dict[str, str] = {}
    ratings: dict[str, str] = {}
    for number, entry in enumerate(entries, start=1):
        row_id, source, rating = _entry(entry, f"{path}, rating {number}")
        if row_id in sources:
            raise ValueError(f"{path}, rating {number}: {row_id} was there before")
        sources[row_id] = source
        if rating is not None:
            ratings[row_id] = rating
    return RatingFile(path, rater, page, sources, ratings)


def _entry(entry: Any, where: str) -> tuple[str, str, str | None]:
    if not isinstance(entry, dict):
        raise ValueError(f"{where} is no object")
    row_id, source, rating = (entry.get(key) for key in ("id", "source", "rating"))
    if not isinstance(row_id, str) or not isinstance(source, str):
        raise ValueError(f"{where} lacks id or source")
    if rating is not None and rating not in RATINGS:
        raise ValueError(f"{where} is {rating!r}: expected {', '.join(RATINGS)} or null")
    return row_id, source, rating


def _rows(outcomes: dict[str, str], sources: dict[str, str]) -> list[TallyRow]:
    grouped: dict[str, list[str]] = {source: [] for source in sorted(set(sources.values()))}
    for row_id, outcome in outcomes.items():
        grouped[sources[row_id]].append(outcome)
    rows = [TallyRow(source, len(found), _counts(found, OUTCOMES)) for source, found in grouped.items()]
    return [*rows, TallyRow(ALL, len(outcomes), _counts(outcomes.values(), OUTCOMES))]


def _counts(values: Iterable[str], names: Iterable[str]) -> dict[str, int]:
    counts = Counter(values)
    return {name: counts[name] for name in names}


def _agreement(votes: Iterable[list[str | None]]) -> float | None:
    """Share of equal ratings among all two raters of a pair who both rated it."""
    equal = [
        first == second
        for cast in votes
        for first, second in itertools.combinations([vote for vote in cast if vote is not None], 2)
    ]
    return sum(equal) / len(equal) if equal else None


def _cell(row: TallyRow, outcome: str) -> str:
    return f"{row.counts[outcome]} ({row.share(outcome):.1%})"


def _plain(text: str) -> str:
    """Text that cannot break a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")
