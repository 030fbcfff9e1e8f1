"""Scores of images, fake or real: of a model or any other system, kept as JSON lines, asked for where missing.

A line is `{"id": ..., "fake_probability": 0.93}`; `path` or `image` may stand in place of `id`. What stands before the
generator's folder in a path does not count. Lines that this package writes also have `model`.
"""

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

from PIL import Image
from tqdm.auto import tqdm

from forgescope.construction.line_log import append_line, whole_lines
from forgescope.datasets_scripts.cnnspot import SHARED_REALS, UNIVERSAL
from forgescope.evaluation.evaluator import Example
from forgescope.evaluation.family_rows import FamilyProtocol, family_rows
from forgescope.evaluation.protocol_rows import missing_groups
from forgescope.evaluation.results import EvaluationResult, ImageRecord, Skipped

from .evaluation_runs import EvaluationRun
from .examination import each_or_error
from .protocol_data import TestImages
from .reasoning_answers import NAMES, numbered_lines

# Images that are read before the model is asked.
ASKED_TOGETHER = 64
GENERATORS = (*UNIVERSAL, *SHARED_REALS)
# Photographs in, one probability to be fake out for each.
Scorer = Callable[[list[Image.Image]], Sequence[float]]
NO_SCORE = "no score of it"


def score_key(path: str) -> str:
    """Shorten the path of an image to what follows the folders above its generator's.

    Example:
        >>> score_key("/data/test/progan/cat/1_fake/1.png")
        'progan/cat/1_fake/1.png'
    """
    parts = path.replace("\\", "/").split("/")
    places = [place for place, part in enumerate(parts[:-1]) if part.lower() in GENERATORS]
    return "/".join(parts[places[-1] if places else 0 :])


def read_scores(file: Path, cut_short: bool = False, model: str | None = None) -> dict[str, float]:
    """Read scores: key of the image, as `score_key` makes it -> 0 to 1.

    Args:
        file: JSON lines; none are read where there is no file.
        cut_short: leave out a last line without its end.
        model: that every line must be of; None: of any.

    Raises:
        ValueError: a line of another form or of another model, or a second score of an image.
    """
    scores: dict[str, float] = {}
    for number, line in numbered_lines(file, cut_short):
        name = next((line[column] for column in NAMES if isinstance(line.get(column), str)), None)
        score = line.get("fake_probability")
        if name is None or isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            raise ValueError(
                f"line {number} of {file} must have id (or path) and fake_probability from 0 to 1, got {line}"
            )
        if model is not None and line.get("model") != model:
            raise ValueError(
                f"line {number} of {file} is of the model {line.get('model')!r}, this run of {model!r}: choose "
                "another --answers"
            )
        if score_key(name) in scores:
            raise ValueError(f"line {number} of {file}: {name} has two scores")
        scores[score_key(name)] = float(score)
    return scores


def evaluate_families(
    images: TestImages,
    protocol: FamilyProtocol,
    file: Path,
    scorer: Scorer | None = None,
    *,
    model: str = "",
    resamples: int,
) -> EvaluationRun:
    """Measure scores by families of generators; rows hold the paper's numbers too.

    Args:
        images: those drawn for the protocol.
        protocol: the table.
        file: JSON lines. With a scorer, scores are kept there and not asked for again.
        scorer: what is asked about the images; None: nothing.
        model: name of the scorer.
        resamples: draws of the bootstrap intervals; 0 for none.

    Raises:
        FileNotFoundError: no file, and nobody to ask.
        ValueError: a line of the file is of another form, or no generator has scores of fake and real images.
        OSError: the file cannot be written.
    """
    if scorer is None and not file.is_file():
        raise FileNotFoundError(f"no file {file}: expected JSON lines with id (or path) and fake_probability")
    scores = read_scores(file, scorer is not None, None if scorer is None else model)
    if scorer is not None:
        whole_lines(file)  # takes a line that a crash cut short out of the file
    failed = {} if scorer is None else _ask(images, scores, file, scorer, model)
    result = EvaluationResult(())
    for name, source, label in images.listed:
        key = score_key(name)
        if key in scores:
            result.add(ImageRecord(name, source, bool(label), scores[key], None, label))
        else:
            result.skipped.append(Skipped(name, failed.get(key, NO_SCORE)))
    rows = family_rows(result, protocol, resamples)
    notes = [f"{images.total} images", f"{protocol.paper}, {protocol.table}", protocol.note]
    missing = missing_groups([result], protocol)
    notes += [*images.shortfalls(protocol), *([f"not measured: {', '.join(missing)}"] if missing else [])]
    return EvaluationRun([result], list(rows), notes)


def _ask(images: TestImages, scores: dict[str, float], file: Path, scorer: Scorer, model: str) -> dict[str, str]:
    """Ask about the images that have no score yet, and keep what comes; returns why others still have none.

    A photograph that stands for several generators is asked about once.
    """
    failed: dict[str, str] = {}
    count = len({key for name, _, _ in images.listed if (key := score_key(name)) not in scores})
    missing = images.missing(lambda name: score_key(name) not in scores and score_key(name) not in failed)
    with tqdm(total=count, desc="score", unit="image", disable=None, leave=False) as progress:
        while some := list(islice(missing, ASKED_TOGETHER)):
            failed |= {score_key(one.name): one.reason for one in some if isinstance(one, Skipped)}
            read = {score_key(one.name): one for one in some if isinstance(one, Example)}
            photos = {key: one for key, one in read.items() if key not in scores}
            found = each_or_error(scorer, [one.image for one in photos.values()])
            for (key, one), score in zip(photos.items(), found, strict=True):
                if isinstance(score, Exception) or not 0 <= score <= 1:
                    failed[key] = f"the model gave no score from 0 to 1 ({score})"
                    continue
                append_line(file, {"id": one.name, "fake_probability": float(score), "model": model})
                scores[key] = float(score)
            progress.update(len(photos))
    return failed
