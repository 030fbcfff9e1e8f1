"""Answers in words, a model's or any other system's, measured by a table of FakeReasoning."""

from collections.abc import Mapping
from pathlib import Path

from forgescope.evaluation.reasoning_protocol import ReasoningProtocol
from forgescope.evaluation.reasoning_report import reasoning_tables
from forgescope.evaluation.reasoning_rows import measured_groups, reasoning_rows
from forgescope.evaluation.reasoning_scores import AnswerRecord, Unparsed
from forgescope.evaluation.results import EvaluationResult, Skipped
from forgescope.evaluation.text_scores import TextEmbedder
from forgescope.processing.chain_of_thought import LABELS, parse_chain_of_thought

from .evaluation_runs import EvaluationRun
from .reasoning_answers import AnswerBook, Answerer, ask, image_key, read_answers
from .reasoning_data import AnnotatedImages

NO_ANSWER = "no answer about it"


def evaluate_reasoning(
    images: AnnotatedImages,
    answers_file: Path,
    answerer: Answerer | None = None,
    *,
    model: str = "",
    unparsed: Unparsed = "wrong",
    embedder: TextEmbedder | None = None,
    per_class: int | None = None,
    seed: int,
    resamples: int,
) -> EvaluationRun:
    """Measure answers as a table of the paper does; rows hold the paper's numbers too.

    Args:
        images: those drawn for the protocol.
        answers_file: JSON lines. With an answerer, its answers are kept there and not asked for again; without one,
            they are only scored.
        answerer: what is asked about the images; None: nothing.
        model: name of the answerer.
        unparsed: `wrong`: answers without a verdict count as wrong; `drop`: they are left out and read letter for
            letter, as the authors' script does.
        embedder: of CSS; None: no CSS.
        per_class: images of each class that were to be drawn, for the notes.
        seed: of the sampling.
        resamples: draws of the bootstrap intervals; 0 for none.

    Raises:
        ValueError: no subset has answers about fake and real images, or a line of the file is of another form.
        OSError: the file cannot be read or written.
        ImportError: reasons are compared and nltk or rouge-score is missing.
    """
    protocol, skipped = images.protocol, list(images.skipped)
    if answerer is None:
        book = read_answers(answers_file)
    else:
        book, failed = ask(answerer, images, answers_file, model=model, seed=seed)
        skipped += failed
    texts = book.runs(protocol.temperatures)
    runs = {
        temperature: {number: _records(images, found, unparsed) for number, found in sorted(rounds.items())}
        for temperature, rounds in texts.items()
    }
    rows = reasoning_rows(runs, protocol, unparsed=unparsed, embedder=embedder, resamples=resamples)
    first = next(iter(runs.values()))[0]
    named = {one.name for one in skipped}
    skipped += [one for one in _unanswered(images, first) if one.name not in named]
    precision = getattr(answerer, "precision", None)
    notes = [f"precision: {precision}"] if precision else []
    notes += [*_notes(images, runs, protocol, per_class), *_notes_on_answers(images, book, unparsed)]
    if protocol.texts:
        notes.append(_note_on_css(embedder))
    result = EvaluationResult((), skipped=skipped)
    return EvaluationRun([result], rows, notes, reasoning_tables(rows, protocol))


def _records(images: AnnotatedImages, answers: Mapping[str, str], unparsed: Unparsed) -> list[AnswerRecord]:
    records = []
    for item in images.items:
        text = answers.get(image_key(item.id))
        if text is None:
            continue
        parsed = parse_chain_of_thought(text, strict=unparsed == "drop")
        verdict = None if parsed.label is None else LABELS.index(parsed.label)
        reasoning = parsed.reasoning or None
        records.append(AnswerRecord(item.id, item.source, item.label, verdict, reasoning, item.reference))
    return records


def _unanswered(images: AnnotatedImages, records: list[AnswerRecord]) -> list[Skipped]:
    """Images without an answer, of the subsets of which some are answered."""
    answered, sources = {record.name for record in records}, {record.source for record in records}
    return [Skipped(item.id, NO_ANSWER) for item in images.items if item.source in sources and item.id not in answered]


def _notes(
    images: AnnotatedImages,
    runs: Mapping[float, Mapping[int, list[AnswerRecord]]],
    protocol: ReasoningProtocol,
    per_class: int | None,
) -> list[str]:
    notes = [f"{len(images.items)} images", f"{protocol.paper}, {protocol.table}", protocol.note]
    notes += images.shortfalls(per_class)
    for temperature, rounds in runs.items():
        absent = [group for group in protocol.groups if group not in measured_groups(rounds[0], protocol)]
        if absent:
            notes.append(f"not measured, so that there is no average: {', '.join(absent)}")
        if protocol.rounds > 1 and len(rounds) < protocol.rounds:
            notes.append(f"temperature {temperature:g}: {len(rounds)} of the paper's {protocol.rounds} rounds")
    not_run = [f"{one:g}" for one in protocol.temperatures if one not in runs]
    if not_run:
        notes.append(f"no answers with the temperature {', '.join(not_run)}")
    notes += [f"in the data: {note}" for note in images.notes]
    return list(dict.fromkeys(notes))


def _notes_on_answers(images: AnnotatedImages, book: AnswerBook, unparsed: Unparsed) -> list[str]:
    known = {image_key(item.id) for item in images.items}
    foreign = {key for found in book.answers.values() for key in found} - known
    notes = [f"{len(foreign)} answers are about other images, such as {min(foreign)}"] if foreign else []
    if unparsed == "drop":
        notes.append('conclusions are read letter for letter ("This image is fake"), as by the authors\' script')
    return notes


def _note_on_css(embedder: TextEmbedder | None) -> str:
    if embedder is None:
        return "no CSS: name its embeddings by --embedder, such as openai/clip-vit-large-patch14-336"
    return f"CSS: {getattr(embedder, 'description', type(embedder).__name__)}"
