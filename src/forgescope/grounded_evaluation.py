"""Artifacts that a model, or any other system, found and explained, measured by a table of LEGION."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from forgescope.evaluation.counts import confusion_counts
from forgescope.evaluation.grounded_protocol import GroundedProtocol, GroundedRow
from forgescope.evaluation.grounded_report import grounded_tables
from forgescope.evaluation.grounded_rows import grounded_rows
from forgescope.evaluation.grounded_scores import (
    MATCHINGS,
    REDUCTIONS,
    TARGETS,
    ArtifactRecord,
    GroundedReduction,
    Matching,
    Targets,
    phrase_counts,
    united,
)
from forgescope.evaluation.perturbations import NONE, Perturbation
from forgescope.evaluation.results import EvaluationResult, Skipped
from forgescope.evaluation.rules import Authentic
from forgescope.evaluation.text_scores import TextEmbedder
from forgescope.processing.grounded_text import plain_text

from .evaluation_runs import EvaluationRun
from .grounded_answers import GroundedAnswer, GroundedBook, Grounder, ask_grounded, read_grounded_answers
from .grounded_data import GroundedImages, GroundedItem

Cleaning = Literal["plain", "authors"]
NO_ANSWER = "no answer about it"
# Embeddings of CSS in the paper (appendix B.2).
EMBEDDER = "sentence-transformers/paraphrase-MiniLM-L6-v2"


@dataclass(frozen=True)
class GroundedRule:
    """How found artifacts are scored; of targets and reductions, several may be reported side by side.

    Args:
        targets: `union`, `per_phrase`, or both.
        reductions: `image`, `dataset`, or both.
        matching: how phrases are paired, `best` or `order`.
        empty: what images without an annotated pixel do: `skip`, `zero` or `one`.
        cleaning: of texts: `plain`: tags go and lines are joined by a blank; `authors`: as the published code does.
    """

    targets: tuple[Targets, ...] = TARGETS
    reductions: tuple[GroundedReduction, ...] = REDUCTIONS
    matching: Matching = "best"
    empty: Authentic = "skip"
    cleaning: Cleaning = "plain"

    def __post_init__(self) -> None:
        for targets in self.targets:
            _require("targets", targets, TARGETS)
        for reduction in self.reductions:
            _require("reduction", reduction, REDUCTIONS)
        _require("matching", self.matching, MATCHINGS)
        _require("authentic", self.empty, get_args(Authentic))
        _require("cleaning", self.cleaning, get_args(Cleaning))

    @classmethod
    def chosen(cls, targets: str | None = None, reduction: str | None = None, **others: Any) -> "GroundedRule":
        """Make a rule of what a user named; None stands for the default.

        Raises:
            ValueError: a value that does not exist.
        """
        named = {name: value for name, value in others.items() if value is not None}
        named |= {"targets": (targets,)} if targets else {}
        return cls(**named | ({"reductions": (reduction,)} if reduction else {}))


def _require(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be {' or '.join(allowed)}, got {value!r}")


def evaluate_grounded(
    images: GroundedImages,
    answers_file: Path,
    perturbations: Sequence[Perturbation],
    grounder: Grounder | None = None,
    *,
    model: str = "",
    rule: GroundedRule = GroundedRule(),
    settings: Mapping[str, Any] | None = None,
    embedder: TextEmbedder | None = None,
    seed: int,
    resamples: int,
) -> EvaluationRun:
    """Measure explanations with masks as a table of the paper does; rows hold the paper's numbers too.

    Args:
        images: those drawn for the protocol.
        answers_file: JSON lines. With a grounder, its answers are kept there and not asked for again; without one,
            they are only scored.
        perturbations: what is done to the images, each in a run of its own.
        grounder: what is asked about the images; None: nothing.
        model: name of the grounder.
        rule: how answers are scored.
        settings: of the grounder, as `ask_grounded` keeps them.
        embedder: of CSS; None: no CSS.
        seed: of noise and crops.
        resamples: draws of the bootstrap intervals; 0 for none.

    Raises:
        ValueError: no image has an answer, or a line of the file is of another form.
        OSError: the file cannot be read or written.
        ImportError: a package that pairs phrases or scores texts is missing.
    """
    skipped = {one.name: one for one in images.skipped}
    if grounder is None:
        book = read_grounded_answers(answers_file)
    else:
        book, failed = ask_grounded(
            grounder, images, answers_file, perturbations, model=model, seed=seed, settings=settings or {}
        )
        skipped |= {one.name: one for one in failed}
    rows: list[GroundedRow] = []
    notes = [f"{len(images.items)} images", f"{images.protocol.paper}, {images.protocol.table}", images.protocol.note]
    for perturbation in perturbations:
        if perturbation.name not in book.answers:
            notes.append(f"no answers after {perturbation.name}")
            continue
        scored = _scored(images, book, perturbation.name, rule)
        skipped = {one.name: one for one in scored.skipped} | skipped
        notes.append(_note_on_phrases(scored.records, perturbation.name, rule))
        rows += _rows(scored, images.protocol, perturbation.name, rule, embedder, resamples)
    if not any(row.value is not None for row in rows):
        first = next((f"; the first, {one.name}: {one.reason}" for one in skipped.values()), "")
        raise ValueError(f"not one of {len(images.items)} images could be scored{first}")
    if rule.targets == ("per_phrase",) and not any(row.targets for row in rows):
        raise ValueError(
            f"{answers_file} does not tell artifacts apart: give phrases in its lines, or --targets union"
        )
    notes += [*_notes_on_scores(images, rule, embedder), *(f"in the data: {note}" for note in images.notes)]
    result = EvaluationResult((), skipped=list(skipped.values()))
    return EvaluationRun([result], list(rows), [note for note in notes if note], grounded_tables(rows))


@dataclass(frozen=True)
class _Scored:
    """The answers of a run: their records, the images that have none of use, and what answers speak of."""

    records: list[ArtifactRecord]
    skipped: list[Skipped]
    answers: list[GroundedAnswer]


def _scored(images: GroundedImages, book: GroundedBook, perturbation: str, rule: GroundedRule) -> _Scored:
    scored = _Scored([], [], [])
    for item in images.items:
        answer = book.find(item, perturbation)
        if answer is None:
            scored.skipped.append(Skipped(item.id, NO_ANSWER))
            continue
        try:
            scored.records.append(measure(item, answer, rule))
            scored.answers.append(answer)
        except (ValueError, OSError) as error:
            scored.skipped.append(Skipped(item.id, f"{item.id}: {error}"))
    return scored


def _rows(
    scored: _Scored,
    protocol: GroundedProtocol,
    perturbation: str,
    rule: GroundedRule,
    embedder: TextEmbedder | None,
    resamples: int,
) -> list[GroundedRow]:
    """Rows of a run: none of masks, or of texts, where no answer speaks of them."""
    if all(answer.text is None for answer in scored.answers):
        protocol = replace(protocol, texts=False)
    thresholds = {answer.threshold for answer in scored.answers}
    return grounded_rows(
        scored.records,
        protocol,
        perturbation=perturbation,
        targets=rule.targets if any(answer.marks for answer in scored.answers) else (),
        reductions=rule.reductions,
        matching=rule.matching,
        empty=rule.empty,
        threshold=thresholds.pop() if len(thresholds) == 1 else None,
        cleaning=rule.cleaning,
        embedder=embedder,
        resamples=resamples,
    )


def measure(item: GroundedItem, answer: GroundedAnswer, rule: GroundedRule) -> ArtifactRecord:
    """Compare an answer with what is annotated.

    Raises:
        ValueError: masks of other sizes than the image, or with other values.
        OSError: a mask is missing or damaged.
        ImportError: pairing by best IoU without scipy.
    """
    parts, union = answer.parts(item.size), answer.whole(item.size)
    union = united(parts, item.size) if union is None else union
    counts, paired = None, 0
    if item.phrases and answer.masks is not None and "per_phrase" in rule.targets:
        counts, paired = phrase_counts(parts, item.parts(), rule.matching)
    return ArtifactRecord(
        item.id,
        confusion_counts(union, item.whole())[0],
        counts,
        found=len(parts),
        paired=paired,
        text=plain_text(answer.text or "", authors_way=rule.cleaning == "authors"),
        reference=plain_text(item.reference, authors_way=rule.cleaning == "authors"),
    )


def _note_on_phrases(records: Sequence[ArtifactRecord], perturbation: str, rule: GroundedRule) -> str:
    """Say how many artifacts are annotated, found and paired; "" where they are not told apart."""
    told_apart = [record for record in records if record.phrases is not None]
    if not told_apart:
        return ""
    annotated = sum(len(record.phrases) for record in told_apart if record.phrases is not None)
    found, paired = (sum(getattr(record, name) for record in told_apart) for name in ("found", "paired"))
    which = "untouched images" if perturbation == NONE.name else perturbation
    return (
        f"{which}: {annotated} artifacts are annotated, {found} were found in the same images, {paired} paired "
        f"({rule.matching}); found ones without a partner count with union alone"
    )


def _notes_on_scores(images: GroundedImages, rule: GroundedRule, embedder: TextEmbedder | None) -> list[str]:
    protocol = images.protocol
    notes = [f"split: {images.split}", f"annotated masks by {protocol.rasterizer}"]
    if not protocol.texts:
        return notes
    if embedder is None:
        notes.append(f"no CSS: name its embeddings by --embedder, such as {EMBEDDER}, the paper's")
    else:
        notes.append(f"CSS: {getattr(embedder, 'description', type(embedder).__name__)}")
    return [*notes, f"texts are cleaned up by the rule {rule.cleaning}"]
