"""Images whose answers are kept in a file, drawn for the page of an evaluation: artifacts, reasons, and scores."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from forgescope.evaluation.evaluator import Example
from forgescope.evaluation.family_rows import FamilyProtocol
from forgescope.evaluation.grounded_scores import united
from forgescope.evaluation.perturbations import NONE
from forgescope.processing.chain_of_thought import LABELS, parse_chain_of_thought
from forgescope.processing.grounded_explanation import GroundedArtifact
from forgescope.processing.grounded_text import plain_text

from .evaluation_images import MOST_SHOWN, ImageBook, outcome_of
from .evaluation_pictures import COMPARED_LEGEND, VERDICTS, agreement, compared
from .grounded_answers import GroundedAnswer, read_grounded_answers
from .grounded_data import GroundedImages, GroundedItem
from .image_scores import read_scores, score_key
from .phrase_overlay import draw_phrases
from .protocol_data import TestImages
from .reasoning_answers import image_key, read_answers
from .reasoning_data import AnnotatedImages
from .report import artifact_regions

TRUTHS = ("real", "fake")


def grounded_section(images: GroundedImages, answers: Path, page: Path) -> str:
    """Write images with their artifacts, annotated and found, as markup for `evaluation_page`.

    Args:
        images: of the evaluation.
        answers: JSON lines.
        page: see `ImageBook`.

    Raises:
        OSError: a file cannot be read or written.
    """
    answered = read_grounded_answers(answers)
    name = NONE.name if NONE.name in answered.answers else next(iter(answered.answers))
    found = {item.id: (item, answer) for item in images.items if (answer := answered.find(item, name)) is not None}
    book = _book(page, len(found))
    for id_, photo in images.read(set(list(found)[:MOST_SHOWN])):
        if not isinstance(photo, Image.Image):
            continue
        try:
            _keep_grounded(book, photo, *found[id_])
        except (ValueError, OSError):
            continue  # the evaluation has named it
    shown = [] if name == NONE.name else [f"Artifacts were found after {name}; images are shown without it."]
    return book.section([*shown, COMPARED_LEGEND.format(pixels="artifacts' pixels")])


def _keep_grounded(book: ImageBook, photo: Image.Image, item: GroundedItem, answer: GroundedAnswer) -> None:
    parts, whole, truth = answer.parts(item.size), answer.whole(item.size), item.whole()
    marked = united(parts, item.size) if whole is None else whole
    named = [
        GroundedArtifact(phrase, explanation, mask, None)
        for (phrase, explanation), mask in zip(answer.names, parts, strict=True)
    ]
    regions = [region.to_dict() | {"mean_probability": None} for region in artifact_regions(named)]
    numbered = dict(enumerate(parts, start=1)) or {1: marked}
    drawn = {"photo": photo, "overlay": draw_phrases(photo, numbered), "compared": compared(photo, marked, truth)}
    drawn |= {"mask": Image.fromarray(marked * 255), "truth": Image.fromarray(truth * 255)}
    row = _row(item.file_name, photo) | {
        "forged_fraction": float(marked.mean()),
        "regions": regions,
        "explanation": plain_text(answer.text or "") or None,
    }
    book.keep(row, drawn, agreement(marked, truth) | {"reference": plain_text(item.reference) or None})


def reasoned_section(images: AnnotatedImages, answers: Path, page: Path, strict: bool = False) -> str:
    """Write images with the reasons that were given of them, likewise; of several rounds, the first.

    `strict` reads verdicts as the authors' script does, see `parse_chain_of_thought`.
    """
    runs = read_answers(answers).runs(images.protocol.temperatures)
    texts = next(iter(runs.values()))[0]
    found = {item.id: item for item in images.items if image_key(item.id) in texts}
    book = _book(page, len(found))
    for id_, photo in images.read(set(list(found)[:MOST_SHOWN])):
        if not isinstance(photo, Image.Image):
            continue
        item, text = found[id_], texts[image_key(id_)]
        label = parse_chain_of_thought(text, strict).label
        verdict = "inconclusive" if label is None else VERDICTS[LABELS.index(label)]
        row = _row(id_, photo) | {"verdict": verdict, "explanation": text}
        facts = _facts(verdict, item.label, item.source) | {"reference": item.reference or None}
        book.keep(row, {"photo": photo}, facts)
    return book.section([])


def scored_section(images: TestImages, protocol: FamilyProtocol, answers: Path, page: Path) -> str:
    """Write images with their scores, likewise."""
    scores = read_scores(answers)
    total = sum(score_key(name) in scores for name, _, _ in images.listed)
    book = _book(page, total)
    for example in _scored_examples(images, scores):
        if book.full:
            break
        score = scores[score_key(example.name)]
        verdict = VERDICTS[score >= protocol.threshold]
        row = _row(example.name, example.image) | {"verdict": verdict, "score": score}
        facts = _facts(verdict, int(bool(example.label)), example.source)
        book.keep(row, {"photo": example.image}, facts)
    return book.section([])


def _scored_examples(images: TestImages, scores: Mapping[str, float]) -> Iterator[Example]:
    for one in images.examples():
        if isinstance(one, Example) and score_key(one.name) in scores:
            yield one


def _book(page: Path, total: int) -> ImageBook:
    book = ImageBook(page, total)
    book.left_out = max(total - MOST_SHOWN, 0)
    return book


def _row(name: str, photo: Image.Image) -> dict[str, Any]:
    """A row without a verdict."""
    unknown = dict.fromkeys(("verdict", "score", "forged_fraction"))
    return {"path": name, "width": photo.width, "height": photo.height, **unknown}


def _facts(verdict: str, label: int, source: str) -> dict[str, Any]:
    return {"truth": TRUTHS[label], "outcome": outcome_of(verdict, bool(label)), "subset": source}


__all__ = ["grounded_section", "reasoned_section", "scored_section"]
