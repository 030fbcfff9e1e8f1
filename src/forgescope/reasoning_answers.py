"""Answers of a model, or of any other system, about images: kept in a file of JSON lines, asked for where missing.

A line is `{"id": ..., "answer": ...}`, and where an image is asked about several times `round` and `temperature`.
Lines that this package writes also have `model` and `seed`. `path` or `image` may stand in place of `id`: the last
three parts of a path, `<generator>/<0_real or 1_fake>/<file>`, name the image.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from PIL import Image
from tqdm.auto import tqdm

from forgescope.construction.line_log import append_line, whole_lines
from forgescope.evaluation.results import Skipped

from .reasoning_data import AnnotatedImages

# Columns that may name the image, the first that is there counts.
NAMES = ("id", "path", "image")
# Parts of a path that tell an image of the evaluation sets apart.
PARTS = 3
# Images that are asked about together; a stopped run goes on with the same sets of images.
ASKED_TOGETHER = 16
SEED_BYTES = 4
# Temperature (None: not said) and round of an answer.
Run = tuple[float | None, int]


class Answerer(Protocol):
    """What is asked about images, such as `Explainer`."""

    def answers(self, images: Sequence[Image.Image], temperature: float = 0.0, seed: int = 0) -> list[str]:
        """Answer about each image; `temperature` 0 is the likeliest answer."""
        ...


@dataclass
class AnswerBook:
    """Answers by temperature, round and image.

    Args:
        answers: run -> key of the image, as `image_key` makes it -> answer.
    """

    answers: dict[Run, dict[str, str]] = field(default_factory=dict)

    def add(self, run: Run, key: str, answer: str) -> None:
        """Keep an answer.

        Raises:
            ValueError: the image has another answer already.
        """
        of_run = self.answers.setdefault(run, {})
        if key in of_run:
            raise ValueError(f"{key} has two answers in round {run[1]}")
        of_run[key] = answer

    def runs(self, temperatures: Sequence[float]) -> dict[float, dict[int, dict[str, str]]]:
        """Order the answers by temperature and round.

        Args:
            temperatures: those of the protocol. With a single one, answers that do not say theirs, or all say another,
                are taken for it.

        Raises:
            ValueError: the answers of none of these temperatures are there.
        """
        said = {temperature for temperature, _ in self.answers}
        if len(temperatures) == 1 and len(said) == 1:
            (wanted,) = temperatures
            return {wanted: {number: found for (_, number), found in self.answers.items()}}
        found: dict[float, dict[int, dict[str, str]]] = {}
        for temperature in temperatures:
            rounds = {number: own for (one, number), own in self.answers.items() if one == temperature}
            if rounds:
                found[temperature] = rounds
        if not found:
            expected = ", ".join(f"{temperature:g}" for temperature in temperatures)
            raise ValueError(f"there are no answers with the temperature {expected}: each line must have its own")
        return found


def image_key(path: str) -> str:
    """Shorten the path of an image to the parts that every system writes alike.

    Example:
        >>> image_key("/data/mmfr/evaluation_sets/glide/1_fake/0001.png")
        'glide/1_fake/0001.png'
    """
    return "/".join(path.replace("\\", "/").split("/")[-PARTS:])


def read_answers(file: Path) -> AnswerBook:
    """Read the answers of any system.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no answers, a line is of another form, or an image is answered twice in a round.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no file {file}: expected JSON lines with id (or path) and answer")
    book = AnswerBook()
    for number, row in numbered_lines(file):
        name = next((row[column] for column in NAMES if isinstance(row.get(column), str)), None)
        answer, temperature, of_round = row.get("answer"), row.get("temperature"), row.get("round", 0)
        if name is None or not isinstance(answer, str):
            raise ValueError(f"line {number} of {file} must have the texts id (or path) and answer, got {sorted(row)}")
        if isinstance(of_round, bool) or not isinstance(of_round, int) or of_round < 0:
            raise ValueError(f"line {number} of {file} has the round {of_round!r}: expected 0, 1, ...")
        if isinstance(temperature, bool) or not isinstance(temperature, int | float | None):
            raise ValueError(f"line {number} of {file} has the temperature {temperature!r}: expected a number")
        try:
            book.add((temperature, of_round), image_key(name), answer)
        except ValueError as error:
            raise ValueError(f"line {number} of {file}: {error}") from error
    if not book.answers:
        raise ValueError(f"{file} holds no answers: expected JSON lines with id (or path) and answer")
    return book


def ask(
    answerer: Answerer, images: AnnotatedImages, file: Path, *, model: str, seed: int = 0
) -> tuple[AnswerBook, list[Skipped]]:
    """Ask about every image of a protocol, as often as it wants; answers that are in the file are not asked for again.

    Args:
        answerer: what is asked.
        images: the drawn images.
        file: JSON lines; answers are added while they come.
        model: name of the answerer, for the file.
        seed: of the sampling; every set of images and every round has a seed of its own, made from it.

    Returns:
        The answers, and the images that could not be read or answered.

    Raises:
        ValueError: the file holds answers of another model or seed.
        OSError: the file cannot be written.
    """
    for number, row in numbered_lines(file, cut_short=True):
        if (row.get("model"), row.get("seed")) != (model, seed):
            raise ValueError(
                f"line {number} of {file} is of the model {row.get('model')!r} and seed {row.get('seed')!r}, this run "
                f"of {model!r} and {seed}: choose another --answers"
            )
    # a line that a crash cut short is taken out of the file before lines are added to it
    book = read_answers(file) if whole_lines(file) else AnswerBook()
    skipped: dict[str, Skipped] = {}
    for temperature in images.protocol.temperatures:
        for number in range(images.protocol.rounds):
            for one in _ask_once(answerer, images, file, book, (temperature, number), model, seed):
                skipped.setdefault(one.name, one)
    return book, list(skipped.values())


def _ask_once(
    answerer: Answerer, images: AnnotatedImages, file: Path, book: AnswerBook, run: Run, model: str, seed: int
) -> Iterator[Skipped]:
    """Ask about the images that have no answer in a run yet.

    Sets of images are asked about as a whole and with a seed of their own, so that a run that was stopped goes on as
    if it had not been.
    """
    temperature, number = run
    done = book.answers.setdefault(run, {})
    sets = [images.items[start : start + ASKED_TOGETHER] for start in range(0, len(images.items), ASKED_TOGETHER)]
    pending = [some for some in sets if any(image_key(item.id) not in done for item in some)]
    opened = images.read({item.id for some in pending for item in some})
    for some in tqdm(pending, f"temperature {temperature:g}, round {number}", disable=None, leave=False):
        pictures = dict(islice(opened, len(some)))
        if list(pictures) != [item.id for item in some]:
            raise ValueError(f"{images.data} has changed while it was read")
        yield from (one for one in pictures.values() if isinstance(one, Skipped))
        readable = {name: one for name, one in pictures.items() if isinstance(one, Image.Image)}
        if all(image_key(name) in done for name in readable):
            continue
        try:
            texts = answerer.answers(
                list(readable.values()), temperature=temperature or 0.0, seed=_seed(seed, number, some[0].id)
            )
        except (ValueError, OSError, RuntimeError) as error:  # the last: no memory left, among others
            yield from (Skipped(name, str(error)) for name in readable if image_key(name) not in done)
            continue
        for name, text in zip(readable, texts, strict=True):
            if image_key(name) not in done:
                line = {"id": name, "answer": text, "temperature": temperature, "round": number}
                append_line(file, line | {"model": model, "seed": seed})
                book.add(run, image_key(name), text)


def _seed(seed: int, number: int, first: str) -> int:
    """Seed of a set of images in a round, by the name of its first."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}/{first}".encode()).digest()[:SEED_BYTES], "big")


def numbered_lines(file: Path, cut_short: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
    """Lines of a file with their numbers; none where there is no file.

    Args:
        file: JSON lines.
        cut_short: leave out a last line without its end.

    Raises:
        ValueError: a line is no JSON object.
    """
    data = file.read_bytes() if file.is_file() else b""
    if cut_short:
        data = data[: data.rfind(b"\n") + 1]
    # bytes end a line at \n alone; text would also be cut at U+2028 within a string
    for number, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number} of {file} is no JSON ({error})") from error
        if not isinstance(row, dict):
            raise ValueError(f"line {number} of {file} must be a JSON object, got {type(row).__name__}")
        yield number, row
