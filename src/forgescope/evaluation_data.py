"""What an evaluation needs from files: test images read one at a time, and a checkpoint's thresholds."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from datasets import Image as ImageFeature
from PIL import Image

from forgescope.datasets_scripts.features import load_forgery_folder
from forgescope.evaluation.calibration import Calibration
from forgescope.evaluation.evaluator import Example
from forgescope.evaluation.report import write_text
from forgescope.evaluation.results import Skipped

from .analyze import Analyzer
from .decision import image_score
from .hub import CONFIG_FILE, resolve_checkpoint
from .reading import IMAGE_SUFFIXES, read_image

GroupBy = Literal["source", "task"]
# Folder pairs of images and masks without metadata; the second form also has Au, authentic images.
FOLDER_PAIRS = (("images", "masks"), ("Tp", "Gt"))
AUTHENTIC_FOLDER = "Au"
MASK_ENDINGS = ("", "_mask", "_gt", "__mask", "_forged")


@dataclass(frozen=True)
class TestFile:
    """Where one test image and its mask are.

    Args:
        image: image file.
        mask: mask file, non-zero = forged; None: no forged pixel.
        source: subset it is reported under.
        label: 1 = fake, 0 = real; None: not said.
    """

    image: Path
    mask: Path | None
    source: str
    label: int | None = None


def find_test_files(data: Path, split: str | None = None, by: str = "source") -> list[TestFile]:
    """List the test images of a folder.

    Args:
        data: folder with metadata.jsonl (or split folders that have one), or with `images` and `masks`, or `Tp` and
            `Gt` (and `Au`), where a mask has the name of its image, perhaps with `_mask` or `_gt` behind it.
        split: `train`, `validation`, `test` or None for all; only for folders with metadata.jsonl.
        by: column that names the subsets.

    Raises:
        FileNotFoundError: no such folder, or a file that it names is missing.
        ValueError: it is in none of those forms, the split does not exist, or `by` is neither `source` nor `task`.
    """
    if by not in get_args(GroupBy):
        raise ValueError(f"expected --by source or task, got {by!r}")
    pair = next((names for names in FOLDER_PAIRS if all((data / name).is_dir() for name in names)), None)
    if pair is None or any(data.glob("metadata.jsonl")) or any(data.glob("*/metadata.jsonl")):
        return _from_metadata(data, split, by)
    if split is not None:
        raise ValueError(f"{data} has no metadata.jsonl, so it has no splits: leave out --split")
    return _from_pairs(data, *pair)


def read_examples(files: list[TestFile]) -> Iterator[Example | Skipped]:
    """Read the files one after another."""
    for file in files:
        try:
            image = read_image(file.image).image
            mask = None if file.mask is None else _read_mask(file.mask)
            yield Example(image, mask, file.source, str(file.image), label=file.label)
        except (ValueError, OSError) as error:
            yield Skipped(str(file.image), str(error))


def image_scorer(analyzer: Analyzer) -> Callable[[np.ndarray], float]:
    """Return the score that `forgescope detect` makes of a map; a checkpoint with a classifier brings its own."""
    return lambda probabilities: image_score(probabilities, analyzer.rule.score_top_fraction)


def save_calibration(calibration: Calibration, model: str) -> Path:
    """Write thresholds into the configuration of a checkpoint folder and leave the rest of it as it is.

    Returns:
        The file that was written.
    """
    file = Path(resolve_checkpoint(model)) / CONFIG_FILE
    settings = json.loads(file.read_text(encoding="utf-8")) | asdict(calibration)
    write_text(file, json.dumps(settings, indent=2, sort_keys=True) + "\n")
    return file


def _read_mask(path: Path) -> np.ndarray:
    """Read a mask as (H, W) uint8 with the values it has in the file."""
    try:
        with Image.open(path) as mask:
            return np.asarray(mask if mask.mode in ("1", "L", "P") else mask.convert("L"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"mask {path}: not a readable image ({error})") from error


def _from_metadata(data: Path, split: str | None, by: str) -> list[TestFile]:
    dataset = load_forgery_folder(data, split)
    for column in ("image", "mask"):
        dataset = dataset.cast_column(column, ImageFeature(decode=False))
    return [
        TestFile(
            image=Path(row["image"]["path"]),
            mask=Path(row["mask"]["path"]) if row["mask"] else None,
            source=row[by] or "unnamed",
            label=row["label"],
        )
        for row in dataset.select_columns(["image", "mask", "label", by])
    ]


def _from_pairs(data: Path, images: str, masks: str) -> list[TestFile]:
    found = {path.stem: path for path in _images_of(data / masks)}
    files = []
    for image in _images_of(data / images):
        mask = next((found[image.stem + end] for end in MASK_ENDINGS if image.stem + end in found), None)
        if mask is None:
            raise FileNotFoundError(f"{image} has no mask in {data / masks}: expected {image.stem}.png")
        files.append(TestFile(image, mask, data.name))
    if (data / AUTHENTIC_FOLDER).is_dir():
        files += [TestFile(image, None, data.name) for image in _images_of(data / AUTHENTIC_FOLDER)]
    if not files:
        raise ValueError(f"no image in {data / images}")
    return files


def _images_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
