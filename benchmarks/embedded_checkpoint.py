"""Score a checkpoint on folders of tampered and real photographs described by a manifest.csv.

    python benchmarks/embedded_checkpoint.py [CHECKPOINT] [--data DIR] [--json FILE] [--markdown FILE]

DIR (default: FORGESCOPE_DATA_DIR, then ../shared/data) holds `tampered/manifest.csv` and `real/manifest.csv`. Columns
used: `file`, `role` (tampered, mask, original, real), `subset`, `pair_of` (the image a mask belongs to) and
`mask_polarity` (`white=...` or `black=...`, the grey level of tampered pixels). Pixel metrics: threshold 0.5, mean
over tampered images that have a mask. Image AUC, row `all`: tampered images, with or without mask, against originals
and real ones.
"""

import argparse
import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from forgescope.analyze import Analyzer
from forgescope.evaluation.evaluator import Evaluator, Example
from forgescope.evaluation.report import to_json, to_markdown, write_text
from forgescope.evaluation.results import EvaluationResult, Skipped
from forgescope.evaluation.rows import result_rows
from forgescope.evaluation.rules import SegmentationRule
from forgescope.evaluation_data import image_scorer
from forgescope.hub import EMBEDDED_CHECKPOINTS
from forgescope.reading import read_image

MASK_MIDPOINT = 128
RULE = SegmentationRule(threshold=0.5)
AUTHENTIC = "originals and real photographs"
# What the manifests call images that count as authentic.
AUTHENTIC_ROLES = {"tampered": "original", "real": "real"}


@dataclass
class Photo:
    """One image of a manifest: its file, whether it is tampered, and the file and polarity of its mask."""

    path: Path
    subset: str
    tampered: bool
    mask: Path | None = None
    mask_polarity: str = ""


def list_photos(data: Path) -> list[Photo]:
    """List tampered images with their masks, originals and real images.

    Only the role `mask` is ground truth: the roles `mask_copy`, `mask_paste` and `pred_mask` are not read.

    Raises:
        FileNotFoundError: a manifest is missing.
        ValueError: a mask states neither `white=` nor `black=` as the level of tampered pixels.
    """
    photos, masks = [], {}
    for folder, authentic_role in AUTHENTIC_ROLES.items():
        with (data / folder / "manifest.csv").open(newline="", encoding="utf-8") as stream:
            for line in csv.DictReader(stream):
                path = data / folder / line["file"]
                if line["role"] == "mask":
                    masks[data / folder / line["pair_of"]] = (path, line["mask_polarity"])
                elif line["role"] == "tampered":
                    photos.append(Photo(path, line["subset"] or folder, True))
                elif line["role"] == authentic_role:
                    photos.append(Photo(path, AUTHENTIC, False))
    for photo in photos:
        if photo.tampered and photo.path in masks:
            photo.mask, photo.mask_polarity = masks[photo.path]
            if not photo.mask_polarity.startswith(("white=", "black=")):
                raise ValueError(
                    f"{photo.mask}: expected a polarity white=... or black=..., got {photo.mask_polarity!r}"
                )
    return photos


def read_mask(path: Path, polarity: str) -> np.ndarray:
    """Read a mask as (H, W) uint8, 1 = tampered; transparency is not looked at."""
    with Image.open(path) as image:
        bright = np.asarray(image.convert("RGB").convert("L")) >= MASK_MIDPOINT
    return (~bright if polarity.startswith("black=") else bright).astype(np.uint8)


def read_examples(photos: list[Photo]) -> Iterator[Example | Skipped]:
    """Read the images one after another; a file that cannot be read is passed on by name."""
    for photo in photos:
        try:
            image = read_image(photo.path).image
            mask = read_mask(photo.mask, photo.mask_polarity) if photo.mask else None
            yield Example(image, mask, photo.subset, str(photo.path), photo.tampered)
        except (OSError, ValueError) as error:
            yield Skipped(str(photo.path), str(error))


def evaluate(data: Path, analyzer: Analyzer) -> EvaluationResult:
    """Run the checkpoint over every image of the manifests."""
    photos = list_photos(data)
    evaluator = Evaluator(analyzer.probability_maps, [RULE], analyzer.localizer.batch_size, image_scorer(analyzer))
    return evaluator.run(read_examples(photos), total=len(photos))


def main() -> int:
    """Run the benchmark; 1 when some images could not be scored."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", default=EMBEDDED_CHECKPOINTS[0], help="name, folder or Hub id")
    default = os.environ.get("FORGESCOPE_DATA_DIR", str(Path(__file__).resolve().parents[2] / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    analyzer = Analyzer(options.checkpoint)
    result = evaluate(options.data, analyzer)
    rows = result_rows(result, "embedded", forged_threshold=analyzer.rule.forged_threshold)
    tampered = sum(record.forged for record in result.records)
    notes = [
        f"checkpoint: {options.checkpoint}, {analyzer.precision}",
        f"images: {tampered} tampered, {len(result.records) - tampered} authentic",
    ]
    text = to_markdown(rows, notes)
    print(text)
    if options.json:
        write_text(options.json, to_json(rows))
    if options.markdown:
        write_text(options.markdown, text)
    for skipped in result.skipped:
        print(f"not scored: {skipped.name}: {skipped.reason}")
    return 1 if result.skipped else 0


if __name__ == "__main__":
    raise SystemExit(main())
