"""A folder of images with answers: metadata.jsonl, one object an image, and the files that it names."""

import json
from pathlib import Path

import datasets

from forgescope.datasets_scripts.features import LABEL_NAMES

METADATA = "metadata.jsonl"
TEXT_FIELDS = ("question", "answer", "id")
FORM = '{"file_name": "a.png", "answer": "<SUMMARY> ...", "label": "fake"} a line, and perhaps question and id'


def load_answer_folder(data_dir: str | Path) -> dict[str, datasets.Dataset]:
    """Read images with answers; nothing is copied or cached.

    Args:
        data_dir: Folder with metadata.jsonl, or with folders `train` and `validation` that have one each.

    Returns:
        The split `train`, and `validation` where it is there: columns `image`, `label` (0 real, 1 fake, or None),
        `question`, `answer` and `id` (None where a line does not give them).

    Raises:
        FileNotFoundError: If the folder, its metadata.jsonl or an image is missing.
        ValueError: For a line that is no such object.
    """
    root = Path(data_dir)
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder: expected one with {METADATA}")
    if not (root / "train" / METADATA).is_file():
        return {"train": _read(root)}
    folders = [name for name in ("train", "validation") if (root / name / METADATA).is_file()]
    return {name: _read(root / name) for name in folders}


def _read(folder: Path) -> datasets.Dataset:
    path = folder / METADATA
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist: expected {FORM}; a corpus is read with --corpus, such as mmfr"
        )
    # bytes end a line at \n alone; text would also be cut at U+2028 within an answer
    lines = path.read_bytes().splitlines()
    rows = [_row(line, f"{path} line {number}", folder) for number, line in enumerate(lines, 1) if line.strip()]
    if not any(row["answer"] for row in rows):
        raise ValueError(f"{path} holds no answers: expected {FORM}; a corpus is read with --corpus, such as mmfr")
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=list(LABEL_NAMES)),
            **{name: datasets.Value("string") for name in TEXT_FIELDS},
        }
    )
    return datasets.Dataset.from_dict({name: [row[name] for row in rows] for name in features}, features=features)


def _row(line: bytes, where: str, folder: Path) -> dict:
    try:
        given = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{where} is not JSON ({error}): expected {FORM}") from error
    if not isinstance(given, dict) or not isinstance(given.get("file_name"), str):
        raise ValueError(f"{where} has no file_name: expected {FORM}")
    image = folder / given["file_name"]
    if not image.is_file():
        raise FileNotFoundError(f"{where} names {image}, which does not exist")
    label = given.get("label")
    if label is not None and (isinstance(label, bool) or label not in (0, 1, *LABEL_NAMES)):
        raise ValueError(f"{where} has label {label!r}: expected 0, 1, {', '.join(LABEL_NAMES)} or null")
    texts = {name: given.get(name) for name in TEXT_FIELDS}
    wrong = [name for name, text in texts.items() if text is not None and not isinstance(text, str)]
    if wrong:
        raise ValueError(f"{where} has no text as {wrong[0]}: expected {FORM}")
    return {"image": str(image), "label": label, **texts, "id": texts["id"] or given["file_name"]}
