"""What an evaluation needs from files: test images read one at a time, and a checkpoint's thresholds."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from datasets import Image as ImageFeature
from PIL import Image

from forgescope.construction.table_records import table_records
from forgescope.datasets_scripts.features import AUTHENTIC_TASK, LABEL_NAMES, SPLITS, load_forgery_folder
from forgescope.evaluation.calibration import Calibration
from forgescope.evaluation.evaluator import Example
from forgescope.evaluation.report import write_text
from forgescope.evaluation.results import Skipped

from .analyze import Analyzer
from .decision import image_score
from .discovery import find_images
from .hub import CONFIG_FILE, resolve_checkpoint
from .reading import IMAGE_SUFFIXES, read_image

GroupBy = Literal["source", "task"]
METADATA, MASK_FIELD = "metadata.jsonl", "mask_file_name"
# Folder pairs of images and masks without metadata; the second form also has Au, authentic images.
FOLDER_PAIRS = (("images", "masks"), ("Tp", "Gt"))
AUTHENTIC_FOLDER = "Au"
MASK_ENDINGS = ("", "_mask", "_gt", "__mask", "_forged")
# Folders of images of one class, in small letters -> label; the last two are GenImage's.
CLASS_FOLDERS = {"real": 0, "fake": 1, "0_real": 0, "1_fake": 1, "authentic": 0, "forged": 1, "nature": 0, "ai": 1}
FAKE = (1, LABEL_NAMES[1])
UNNAMED = "unnamed"


@dataclass(frozen=True)
class TestFile:
    """Where one test image and its mask are.

    Args:
        image: image file.
        mask: mask file, non-zero = forged; None: no forged pixel, or, of a fake image, not known which are.
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
        data: folder with metadata.jsonl (or split folders that have one), which may name no masks; or with `images`
            and `masks`, or `Tp` and `Gt` (and `Au`), where a mask has the name of its image, perhaps with `_mask` or
            `_gt` behind it; or with folders of both classes (see `CLASS_FOLDERS`), in it or one level below.
        split: `train`, `validation`, `test` or None for all; only for folders with metadata.jsonl.
        by: column that names the subsets.

    Raises:
        FileNotFoundError: no such folder, or a file that it names is missing.
        ValueError: it is in none of those forms, the split does not exist, or `by` is neither `source` nor `task`.
    """
    if by not in get_args(GroupBy):
        raise ValueError(f"expected --by source or task, got {by!r}")
    if not data.is_dir():
        raise FileNotFoundError(f"{data} is not a folder: expected one of test images")
    if any(data.glob(METADATA)) or any(data.glob(f"*/{METADATA}")):
        files = _from_labels(data, split, by)
        return _from_metadata(data, split, by) if files is None else files
    if split is not None:
        raise ValueError(f"{data} has no {METADATA}, so it has no splits: leave out --split")
    pair = next((names for names in FOLDER_PAIRS if all((data / name).is_dir() for name in names)), None)
    return _from_class_folders(data, by) if pair is None else _from_pairs(data, *pair)


def have_masks(files: list[TestFile]) -> bool:
    """Whether it is known which pixels are forged: a fake image without a mask does not tell."""
    return not any(file.mask is None and file.label == 1 for file in files)


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
            source=row[by] or UNNAMED,
            label=row["label"],
        )
        for row in dataset.select_columns(["image", "mask", "label", by])
    ]


def _from_labels(data: Path, split: str | None, by: str) -> list[TestFile] | None:
    """Read metadata.jsonl that names no mask, by its labels alone; None: masks are named, or there is none to name."""
    folders = [data / name for name in SPLITS if (data / name / METADATA).is_file()]
    roots = folders or [data]
    chosen = roots if split is None else [folder for folder in folders if folder.name == split]
    files = [folder / METADATA for folder in chosen or roots]
    lines = [(file.parent, *line) for file in files if file.is_file() for line in table_records(file)]
    records = [record for _, _, record in lines]
    if not records or any(record.get(MASK_FIELD) for record in records):
        return None
    if any(MASK_FIELD in record for record in records) and not any(record.get("label") in FAKE for record in records):
        return None  # null says of authentic images that no pixel is forged
    if not chosen:
        raise ValueError(f"{data} names no masks and has no folder {split} with {METADATA}: leave out --split")
    return [_labelled_file(*line, by) for line in lines]


def _labelled_file(folder: Path, where: str, record: dict[str, Any], by: str) -> TestFile:
    name, given, task = record.get("file_name"), record.get("label"), record.get("task")
    if not isinstance(name, str):
        raise ValueError(f"{where} has no file_name: expected file_name and label")
    label = next((value for value, word in enumerate(LABEL_NAMES) if given in (value, word)), None)
    if label is None or isinstance(given, bool):
        raise ValueError(f"{where} has label {given!r}: expected 1 or fake, 0 or real, since no line names a mask")
    if label == 0 and (task or AUTHENTIC_TASK) != AUTHENTIC_TASK:
        raise ValueError(
            f"{where} is real by its label and forged by its task, {task}: name its mask, or leave it out"
        )
    if not (folder / name).is_file():
        raise FileNotFoundError(f"{where} names {folder / name}, which does not exist")
    return TestFile(folder / name, None, str(record.get(by) or UNNAMED), label)


def _from_class_folders(data: Path, by: str) -> list[TestFile]:
    """List `data/CLASS` and `data/SOURCE/CLASS`, with what is below them."""
    inside = sorted(path for path in data.iterdir() if path.is_dir() and not path.name.startswith("."))
    sources = [data, *(folder for folder in inside if _class_of(folder) is None)]
    folders = [path for source in sources for path in sorted(source.iterdir()) if path.is_dir()]
    files = [
        TestFile(Path(image), None, folder.absolute().parent.name, label)
        for folder in folders
        if (label := _class_of(folder)) is not None
        for image in find_images([str(folder)])
    ]
    if not files:
        raise ValueError(
            f"{data} holds test images in no known form: expected {METADATA}, images/ and masks/, Tp/ and Gt/, or "
            "real/ and fake/"
        )
    for file in files:
        if {_class_of(folder) for folder in file.image.relative_to(data).parents} >= {0, 1}:
            raise ValueError(f"{file.image} lies in folders of both classes: rename one")
    missing = [name for label, name in enumerate(LABEL_NAMES) if all(file.label != label for file in files)]
    if missing:
        raise ValueError(
            f"{data} has no {missing[0]} images: expected folders of both classes, such as real/ and fake/"
        )
    if by == "task":
        raise ValueError(f"the folders of {data} tell no tasks: leave out --by task")
    return files


def _class_of(folder: Path) -> int | None:
    """Label that the name of a folder tells; None: none."""
    return CLASS_FOLDERS.get(folder.name.lower())


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
