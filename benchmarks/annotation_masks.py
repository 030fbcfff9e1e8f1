"""Score annotated masks on pairs whose mask is known, pair by pair, with a picture of all of them.

    python benchmarks/annotation_masks.py [--data DIR] [--backbone classical] [--picture masks.png] [--json FILE]

DIR (default: FORGESCOPE_DATA_DIR, then ../shared/data) holds `pairs/manifest.csv` with the columns `file`, `role`
(original, edited, mask) and `pair_of` (the original of an edited image, the edited image of a mask; white = edited).
A mask serves every edited image of its original. Pixels: 128 x 128, mean over pairs; pairs that were rejected are
named and not counted.
"""

import argparse
import csv
import json
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from forgescope.construction.promptforge.align import Rejection, align, warp_and_crop
from forgescope.construction.promptforge.backbones import CLASSICAL, load_backbone
from forgescope.construction.promptforge.semantic import MaskConfig, annotate_aligned
from forgescope.reading import read_image

TILE = 192
SIZE = 128
WHITE = 127  # grey level above which a published mask says "edited"


@dataclass(frozen=True)
class Scored:
    """One pair: its name, scores 0..1, and a row of the picture (TILE, 4 x TILE, 3)."""

    name: str
    iou: float
    precision: float
    recall: float
    picture: np.ndarray


def pairs_with_masks(folder: Path) -> list[tuple[Path, Path, Path]]:
    """Original, edited image and mask of every pair."""
    rows = list(csv.DictReader((folder / "manifest.csv").open(encoding="utf-8")))
    original_of = {row["file"]: row["pair_of"] for row in rows if row["role"] == "edited"}
    mask_of = {original_of[row["pair_of"]]: row["file"] for row in rows if row["role"] == "mask"}
    own = {row["pair_of"]: row["file"] for row in rows if row["role"] == "mask"}
    return [
        (folder / original, folder / edited, folder / own.get(edited, mask_of.get(original, "")))
        for edited, original in original_of.items()
        if edited in own or original in mask_of
    ]


def score(original: Path, edited: Path, mask: Path, backbone: str) -> Scored | Rejection:
    """Annotate one pair and compare it with its mask."""
    first, second = (np.asarray(read_image(path).image) for path in (original, edited))
    alignment = align(first, second)
    if isinstance(alignment, Rejection):
        return alignment
    left, top, right, bottom = alignment.crop
    truth = np.asarray(Image.open(mask).convert("L").resize(second.shape[1::-1], Image.Resampling.NEAREST)) > WHITE
    truth = (
        cv2.resize(truth[top:bottom, left:right].astype(np.uint8), (SIZE, SIZE), interpolation=cv2.INTER_NEAREST) > 0
    )
    aligned = warp_and_crop(first, second, alignment)
    config = MaskConfig(size=SIZE) if backbone == CLASSICAL else MaskConfig(size=SIZE, highest_threshold=None)
    found = annotate_aligned([aligned[0]], [aligned[1]], load_backbone(backbone), config)[0].mask > 0
    both = (found & truth).sum()
    tiles = [*aligned, *(np.repeat(plane[..., None] * np.uint8(255), 3, axis=2) for plane in (truth, found))]
    picture = np.hstack([cv2.resize(tile, (TILE, TILE), interpolation=cv2.INTER_AREA) for tile in tiles])
    return Scored(
        edited.name,
        float(both / max((found | truth).sum(), 1)),
        float(both / max(found.sum(), 1)),
        float(both / max(truth.sum(), 1)),
        picture,
    )


def draw(scores: list[Scored]) -> Image.Image:
    """All pairs below each other in two columns: original, edited, known mask, annotated mask."""
    rows = []
    for scored in scores:
        row = scored.picture.copy()
        cv2.putText(row, f"IoU {scored.iou:.2f}", (3 * TILE + 6, TILE - 8), 0, 0.55, (255, 90, 60), 2, cv2.LINE_AA)
        rows.append(row)
    if len(rows) % 2:
        rows.append(np.zeros_like(rows[0]))
    half = len(rows) // 2
    return Image.fromarray(np.hstack([np.vstack(rows[:half]), np.vstack(rows[half:])]))


def main() -> None:
    """Print the table, write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("FORGESCOPE_DATA_DIR", "../shared/data")))
    parser.add_argument("--backbone", default=CLASSICAL)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    scores: list[Scored] = []
    print("| pair | IoU | precision | recall |\n|---|---|---|---|")
    for original, edited, mask in pairs_with_masks(arguments.data / "pairs"):
        scored = score(original, edited, mask, arguments.backbone)
        if isinstance(scored, Rejection):
            print(f"| {edited.name} | rejected: {scored.reason.value} | | |")
            continue
        scores.append(scored)
        print(f"| {scored.name} | {scored.iou:.3f} | {scored.precision:.3f} | {scored.recall:.3f} |")
    means = [float(np.mean([getattr(scored, name) for scored in scores])) for name in ("iou", "precision", "recall")]
    print(f"| mean of {len(scores)} | {means[0]:.3f} | {means[1]:.3f} | {means[2]:.3f} |")
    if arguments.picture:
        draw(scores).save(arguments.picture)
        print(f"picture: {arguments.picture}")
    if arguments.json:
        rows = [{key: value for key, value in vars(scored).items() if key != "picture"} for scored in scores]
        arguments.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
