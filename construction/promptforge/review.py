"""Quality review of annotated pairs: one HTML page on which a person rates the masks (PromptForge-350k, section 4.3).

The page needs no server and no network: images are inside it, ratings stay in the browser until they are saved as a
file. `review_tally.py` counts the files of several raters.
"""

import base64
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from forgescope.datasets_scripts.features import SIDEWAYS, orientation_of, turned_upright

from .review_page import page_end, page_start, pair_script
from .review_sample import Place, find_candidates, pair_id, pair_source, read_place

# Section 4.3: 200 samples, 50 from each of the four sources.
SAMPLES_PER_SOURCE = 50
# Where the page goes, and where `review_tally` looks for what the raters saved.
REVIEW_FOLDER = "review"
PAGE_NAME = "index.html"

MAX_SIDE = 512  # pixels of an embedded image
IMAGE_QUALITY = 85
ENCODER_EFFORT = 2  # of 0 to 6: twice as fast as the default, files a few per cent larger
STENCIL_COLOURS = [0, 0, 0, 255, 255, 255]
KEY_LENGTH = 16  # hexadecimal digits
TEXT_FIELDS = ("task", "source_task", "instruction", "instruction_en")
NUMBER_FIELDS = ("inlier_ratio", "num_matches")
# What PIL raises for files that are no image or break off (SyntaxError: broken PNG chunks).
IMAGE_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


@dataclass
class Review:
    """A page that was written.

    Args:
        page: the file.
        sources: pairs on the page by source.
        problems: lines and files that could not be used, one sentence each.
        key: names the page by what is on it; ratings carry it.
    """

    page: Path
    sources: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    key: str = ""

    @property
    def count(self) -> int:
        """Pairs on the page."""
        return sum(self.sources.values())


@dataclass(frozen=True)
class _Pair:
    """What the page holds of one pair, and the digest of its files and texts."""

    shown: dict[str, Any]
    digest: bytes


def write_review(
    folder: str | os.PathLike,
    per_source: int = SAMPLES_PER_SOURCE,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> Review:
    """Draw pairs of each source and write FOLDER/review/index.html; the same folder and seed give the same bytes.

    A pair with a missing or broken file is named and replaced by the next one that was drawn. A mask is stretched over
    its edited image, whatever the size of either.

    Args:
        folder: annotated folder, `<split>/metadata.jsonl` with the files it names.
        per_source: pairs of each source, or all where it has fewer.
        seed: of the draw.
        progress: called with the source, its pairs so far and those wanted.

    Returns:
        The page and what is on it.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: per_source is below 1, there is no metadata.jsonl, or no pair can be shown.
        OSError: the page cannot be written.
    """
    if per_source < 1:
        raise ValueError(f"per_source must be at least 1, got {per_source}")
    root = Path(folder)
    candidates = find_candidates(root, seed)
    review = Review(root / REVIEW_FOLDER / PAGE_NAME, problems=candidates.problems)
    drawn: list[tuple[bytes, _Pair]] = []
    for source, places in candidates.by_source.items():
        wanted = min(per_source, len(places))
        for place, pair in _readable(places, root, review.problems):
            drawn.append((place.order, pair))
            review.sources[source] = review.sources.get(source, 0) + 1
            if progress is not None:
                progress(source, review.sources[source], wanted)
            if review.sources[source] == wanted:
                break
    if not drawn:
        raise ValueError(f"no pair in {root} can be shown: {'; '.join(review.problems[:3]) or 'no lines'}")
    # sources mixed, so that nobody rates fifty of a kind in a row
    pairs = [pair for _, pair in sorted(drawn, key=lambda entry: entry[0])]
    review.key = hashlib.sha256(b"".join(pair.digest for pair in pairs)).hexdigest()[:KEY_LENGTH]
    _write(review, pairs, root, {"per_source": per_source, "seed": seed})
    return review


def _readable(places: list[Place], root: Path, problems: list[str]) -> Iterator[tuple[Place, _Pair]]:
    """Pairs whose three files can be shown, in the order given; the others are named in `problems`."""
    for place in places:
        record = read_place(place)
        try:
            pair = _read_pair(record, place.file.parent)
        except IMAGE_ERRORS as error:
            split = place.file.parent.relative_to(root)
            problems.append(f"{split.name or root.name}, {pair_id(record)}: {error}")
            continue
        yield place, pair


def _read_pair(record: dict[str, Any], folder: Path) -> _Pair:
    """Read the files of one pair and reduce them.

    Raises:
        OSError, SyntaxError, ValueError: a file is missing or is no image; the message names it.
    """
    contents = {
        key: _content(folder, record[f"{key}file_name"]) for key in ("", "original_", "mask_")
    }  # the edited image has no prefix
    edited, original = (
        _shown_image(contents[key], record[f"{key}file_name"], _encode_photo) for key in ("", "original_")
    )
    mask = _shown_image(contents["mask_"], record["mask_file_name"], _encode_mask)
    facts = {"id": pair_id(record), "source": pair_source(record), "split": folder.name}
    facts |= {key: str(record[key]) for key in TEXT_FIELDS if record.get(key)}
    facts |= {key: record[key] for key in NUMBER_FIELDS if isinstance(record.get(key), int | float)}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for content in contents.values():
        digest.update(hashlib.sha256(content).digest())
    return _Pair({**facts, "edited": edited, "original": original, "mask": mask}, digest.digest())


def _content(folder: Path, name: str) -> bytes:
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(f"missing file {name}")
    content = path.read_bytes()
    if not content:
        raise OSError(f"empty file {name}")
    return content


def _shown_image(content: bytes, name: str, encode: Callable[[Image.Image], dict[str, Any]]) -> dict[str, Any]:
    """An image as the page holds it: `data` (its address), `width` and `height` of the file as displayed, and more."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            return encode(image)
    except IMAGE_ERRORS as error:
        raise OSError(f"{name} cannot be read: {error}") from error


def _encode_photo(image: Image.Image) -> dict[str, Any]:
    width, height = image.size
    if orientation_of(image) in SIDEWAYS:
        width, height = height, width
    image.draft("RGB", (MAX_SIDE, MAX_SIDE))  # a large JPEG is decoded at a reduced size
    shown = turned_upright(image).convert("RGB")
    shown.thumbnail((MAX_SIDE, MAX_SIDE))
    address = _address(shown, "WEBP", quality=IMAGE_QUALITY, method=ENCODER_EFFORT)
    return {"data": address, "width": width, "height": height}


def _encode_mask(image: Image.Image) -> dict[str, Any]:
    """PNG that is opaque where the mask is above 0, clear elsewhere. Palette masks give their indices."""
    pixels = np.asarray(image)
    if pixels.ndim > 2:  # grey stored as colours; a layer of opacity is no part of the mask
        pixels = pixels[..., : 1 if image.mode == "LA" else 3].max(axis=2)
    edited = pixels > 0
    stencil = Image.fromarray(edited.astype(np.uint8))
    stencil.putpalette(STENCIL_COLOURS)
    if max(stencil.size) > MAX_SIDE:
        scale = MAX_SIDE / max(stencil.size)
        width, height = (max(1, round(side * scale)) for side in stencil.size)
        stencil = stencil.resize((width, height), Image.Resampling.NEAREST)
    address = _address(stencil, "PNG", bits=1, transparency=0, optimize=True)
    return {"data": address, "width": image.width, "height": image.height, "share": round(float(edited.mean()), 6)}


def _address(image: Image.Image, form: str, **options: Any) -> str:
    content = io.BytesIO()
    image.save(content, form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(content.getvalue()).decode('ascii')}"


def _write(review: Review, pairs: list[_Pair], root: Path, settings: dict[str, int]) -> None:
    """Write the page pair by pair, complete or not at all."""
    index = [{key: pair.shown.get(key) for key in ("id", "source", "task")} for pair in pairs]
    task_counts = Counter(entry["task"] or "" for entry in index)
    facts = {
        "key": review.key,
        "folder": root.resolve().name,
        "sources": review.sources,
        "tasks": dict(sorted(task_counts.items())),
        "index": index,
        **settings,
    }
    review.page.parent.mkdir(parents=True, exist_ok=True)
    part = review.page.with_name(f".{PAGE_NAME}.{os.getpid()}")
    try:
        with part.open("w", encoding="utf-8") as page:
            page.write(page_start(facts))
            page.writelines(pair_script(number, pair.shown) for number, pair in enumerate(pairs))
            page.write(page_end())
        part.replace(review.page)
    finally:
        part.unlink(missing_ok=True)
