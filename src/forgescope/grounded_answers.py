"""Explanations with masks, of a model or any other system: kept as JSON lines and PNG files, asked for where missing.

A line is `{"id": ..., "text": ..., "phrases": [{"phrase": ..., "explanation": ..., "mask": "masks/1.png"}]}`. `path`
or `image` may stand in place of `id`; its last part is enough where no other image has it. Who has one mask an image
gives `"mask"` beside or in place of `phrases`. Masks are PNG files of the image's size, 0 = authentic, 1 or 255 =
artifact, named relative to the file of the lines. `perturbation` says what was done to the image first. Lines that
this package writes also have `fake_probability`, `model`, `seed`, and what the model was set to, such as `threshold`.
The file that `forgescope explain --out` writes has this form too; lines with an `error` that is not null are left out.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from forgescope.construction.image_folder import write_atomically
from forgescope.construction.line_log import append_line, whole_lines
from forgescope.datasets_scripts.pixels import ids_of, stored_mask
from forgescope.evaluation.evaluator import binary_mask
from forgescope.evaluation.perturbations import NONE, Perturbation
from forgescope.evaluation.results import Skipped

from .examination import each_or_error
from .grounded_data import GroundedImages, GroundedItem, last_part
from .reasoning_answers import NAMES, numbered_lines

# Images that are asked about together.
ASKED_TOGETHER = 16
# Keys of which a line must have one.
CONTENT = ("text", "answer", "phrases", "mask")
MASKS_SUFFIX = ".masks"
DIGEST_CHARACTERS = 20
WHITE = 255
Line = dict[str, Any]


class GroundedPhraseLike(Protocol):
    """One artifact that was found: `phrase`, `explanation`, and `mask` (H, W) uint8, 1 = artifact."""

    phrase: str
    explanation: str
    mask: NDArray[np.uint8]


class GroundedLike(Protocol):
    """What was found in an image."""

    text: str
    phrases: Sequence[GroundedPhraseLike]
    fake_probability: float | None


class Grounder(Protocol):
    """What is asked about images, such as `Explainer`."""

    def grounded(self, images: Sequence[Image.Image]) -> Sequence[Any]:
        """Explain each image: `GroundedLike`."""
        ...


@dataclass(frozen=True)
class GroundedAnswer:
    """What was found in an image; masks are read when they are asked for.

    Args:
        text: explanation, perhaps with tags; None: the answer speaks of masks alone.
        masks: PNG file of each artifact that has one, in their order; None: artifacts are not told apart.
        mask: PNG file of all artifacts together; None: that of `masks`.
        marks: whether the answer speaks of masks, if only to say that there are none.
        threshold: probability from which a pixel was called an artifact; None: not said.
        names: phrase and explanation of each of `masks`, empty where they are not said.
    """

    text: str | None
    masks: tuple[Path, ...] | None
    mask: Path | None
    marks: bool
    threshold: float | None
    names: tuple[tuple[str, str], ...] = ()

    def parts(self, size: tuple[int, int]) -> list[NDArray[np.uint8]]:
        """(H, W) masks of 0 and 1 of the artifacts, at (height, width) `size`.

        Raises:
            ValueError: a mask of another size or with other values.
            OSError: a file is missing or damaged.
        """
        return [_read_mask(file, size) for file in self.masks or ()]

    def whole(self, size: tuple[int, int]) -> NDArray[np.uint8] | None:
        """(H, W) mask of all artifacts, None where it is that of the parts; errors as in `parts`."""
        return None if self.mask is None else _read_mask(self.mask, size)


@dataclass
class GroundedBook:
    """Answers by perturbation and image.

    Args:
        answers: perturbation -> id, path or file name -> answer.
        names: perturbation -> file name -> keys of `answers` that end in it.
    """

    answers: dict[str, dict[str, GroundedAnswer]] = field(default_factory=dict)
    names: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def find(self, item: GroundedItem, perturbation: str) -> GroundedAnswer | None:
        """The answer about an image: by its id, or by its file name, with folders where one name is not enough."""
        of_run = self.answers.get(perturbation, {})
        if item.id in of_run:
            return of_run[item.id]
        names = self.names.get(perturbation, {}).get(item.file_name, [])
        if not item.is_only or len(names) > 1:
            names = [name for name in names if _same_file(name, item.id)]
        return of_run[names[0]] if len(names) == 1 else None

    def add(self, line: Line, folder: Path) -> None:
        """Keep the answer of a line.

        Args:
            line: as in the module's description.
            folder: what masks are named relative to.

        Raises:
            ValueError: a line of another form, or a second one about the image.
        """
        name = next((line[column] for column in NAMES if isinstance(line.get(column), str)), None)
        if name is None or not any(key in line for key in CONTENT):
            raise ValueError(f"expected id (or path) and text, phrases or mask, got {sorted(line)}")
        phrases, text = line.get("phrases"), line.get("text", line.get("answer"))
        if not isinstance(text, str | None) or not isinstance(line.get("mask"), str | None):
            raise ValueError("text and mask must be texts")
        if phrases is not None and not (
            isinstance(phrases, list)
            and all(isinstance(one, dict) and isinstance(one.get("mask"), str | None) for one in phrases)
        ):
            raise ValueError("phrases must be a list of objects, each with a mask that is a path or null")
        marked = [one for one in phrases or () if one.get("mask")]
        masks = None if phrases is None else tuple(folder / one["mask"] for one in marked)
        names = tuple((str(one.get("phrase") or ""), str(one.get("explanation") or "")) for one in marked)
        mask = folder / line["mask"] if line.get("mask") else None
        perturbation = str(line.get("perturbation") or NONE.name)
        of_run = self.answers.setdefault(perturbation, {})
        if name in of_run:
            raise ValueError(f"{name} has two answers")
        marks = "phrases" in line or "mask" in line
        of_run[name] = GroundedAnswer(text, masks, mask, marks, line.get("threshold"), names)
        self.names.setdefault(perturbation, {}).setdefault(last_part(name), []).append(name)


def read_grounded_answers(file: Path) -> GroundedBook:
    """Read the answers of any system.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no answers, or a line is of another form.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no file {file}: expected JSON lines with id (or path) and text, phrases or mask")
    book = GroundedBook()
    for number, line in numbered_lines(file):
        if line.get("error") is not None:
            continue  # nothing was said of this image
        try:
            book.add(line, file.parent)
        except ValueError as error:
            raise ValueError(f"line {number} of {file}: {error}") from error
    if not book.answers:
        raise ValueError(f"{file} holds no answers: expected JSON lines with id (or path) and text, phrases or mask")
    return book


def ask_grounded(
    grounder: Grounder,
    images: GroundedImages,
    file: Path,
    perturbations: Sequence[Perturbation],
    *,
    model: str,
    seed: int = 0,
    settings: Mapping[str, Any],
) -> tuple[GroundedBook, list[Skipped]]:
    """Ask about every image after each perturbation; what is in the file is not asked for again.

    Args:
        grounder: what is asked.
        images: the drawn images.
        file: JSON lines; lines are added while answers come, their masks lie in a folder beside it.
        perturbations: what is done to the images, each in a run of its own.
        model: name of the grounder, for the file.
        seed: of noise and crops.
        settings: what its answers depend on, such as the `threshold` of masks; for the file.

    Returns:
        The answers, and the images that could not be read or answered.

    Raises:
        ValueError: the file holds answers of another model, seed or settings.
        OSError: a file cannot be written.
    """
    book = GroundedBook()
    settings = {"model": model, "seed": seed, **settings}
    for number, line in numbered_lines(file, cut_short=True):
        other = {key: line.get(key) for key in settings}
        if other != settings:
            raise ValueError(
                f"line {number} of {file} is of {_named(other)}, this run of {_named(settings)}: choose another "
                "--answers"
            )
        book.add(line, file.parent)
    whole_lines(file)  # takes a line that a crash cut short out of the file, before lines are added to it
    skipped: dict[str, Skipped] = {}
    for perturbation in perturbations:
        for item, found in _ask_once(grounder, images, book, perturbation, seed):
            if isinstance(found, Skipped):
                skipped.setdefault(found.name, found)
                continue
            line = _saved(found, item, perturbation.name, file) | settings
            append_line(file, line)
            book.add(line, file.parent)
    return book, list(skipped.values())


def _ask_once(
    grounder: Grounder, images: GroundedImages, book: GroundedBook, perturbation: Perturbation, seed: int
) -> Iterator[tuple[GroundedItem, GroundedLike | Skipped]]:
    """Ask about the images that have no answer after a perturbation yet."""
    done = book.answers.get(perturbation.name, {})
    pending = {item.id: item for item in images.items if item.id not in done}
    opened = tqdm(images.read(set(pending)), perturbation.name, len(pending), disable=None, leave=False)
    while some := list(islice(opened, ASKED_TOGETHER)):
        readable = {name: one for name, one in some if not isinstance(one, Skipped)}
        yield from ((pending[name], one) for name, one in some if isinstance(one, Skipped))
        photos = [perturbation.apply(one, None, seed=seed, name=name)[0] for name, one in readable.items()]
        for name, found in zip(readable, each_or_error(grounder.grounded, photos) if photos else (), strict=True):
            yield pending[name], Skipped(name, str(found)) if isinstance(found, Exception) else found


def _saved(found: GroundedLike, item: GroundedItem, perturbation: str, file: Path) -> Line:
    """Write the masks of an answer; return its line. Masks are there before the line is."""
    digest = hashlib.sha256(f"{perturbation}/{item.id}".encode()).hexdigest()[:DIGEST_CHARACTERS]
    folder = file.with_suffix(MASKS_SUFFIX)
    folder.mkdir(parents=True, exist_ok=True)
    phrases = []
    for number, one in enumerate(found.phrases):
        # a phrase without [SEG] has no mask, and so takes no part in an order of masks
        has_mask = getattr(one, "score", 0.0) is not None
        name = f"{digest}_{number}.png" if has_mask else None
        if name is not None:
            write_atomically(folder / name, stored_mask((one.mask > 0).astype(np.uint8) * WHITE)["bytes"])
        mask = name and f"{folder.name}/{name}"
        phrases.append({"phrase": one.phrase, "explanation": one.explanation, "mask": mask})
    line = {"id": item.id, "perturbation": perturbation, "text": found.text, "phrases": phrases}
    return line | {"fake_probability": found.fake_probability}


def _same_file(one: str, other: str) -> bool:
    """Whether two paths end alike, as far as both go and with one folder at least."""
    first, second = (path.replace("\\", "/").split("/") for path in (one, other))
    shared = min(len(first), len(second))
    return shared > 1 and first[-shared:] == second[-shared:]


def _named(settings: Line) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items())


def _read_mask(file: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    try:
        mask = binary_mask(ids_of(file.read_bytes(), file.name), (size[1], size[0]))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    if mask is None:
        raise ValueError(f"{file} holds no mask")
    return mask
