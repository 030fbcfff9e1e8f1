"""Score a checkpoint on folders of tampered and real photographs described by a manifest.csv.

    python benchmarks/embedded_checkpoint.py [CHECKPOINT] [--data DIR] [--json FILE] [--markdown FILE]

DIR (default: FORGESCOPE_DATA_DIR, then ../shared/data) holds `tampered/manifest.csv` and `real/manifest.csv`. Columns
used: `file`, `role` (tampered, mask, original, real), `subset`, `pair_of` (the image a mask belongs to) and
`mask_polarity` (`white=...` or `black=...`, the grey level of tampered pixels). Pixel metrics: threshold 0.5, mean
over tampered images that have a mask. Image AUC: tampered images, with or without mask, against originals and real
ones.
"""

import argparse
import csv
import json
import os
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from forgescope.evaluation.counts import confusion_counts
from forgescope.evaluation.ranking import roc_auc, top_fraction_score
from forgescope.evaluation.rules import SegmentationRule
from forgescope.evaluation.segmentation import segmentation_metrics
from forgescope.hub import load_checkpoint
from forgescope.reading import read_image

MASK_MIDPOINT = 128
THRESHOLD = 0.5
RULE = SegmentationRule(threshold=THRESHOLD)


@dataclass
class Row:
    """One image of a manifest: its file, whether it is tampered, and the file and polarity of its mask."""

    path: Path
    subset: str
    tampered: bool
    mask: Path | None = None
    mask_polarity: str = ""


def read_rows(data: Path) -> list[Row]:
    """List tampered images with their masks, then originals and real images.

    Only the role `mask` is ground truth: the roles `mask_copy`, `mask_paste` and `pred_mask` are not read.

    Raises:
        FileNotFoundError: a manifest is missing.
        ValueError: a mask states neither `white=` nor `black=` as the level of tampered pixels.
    """
    rows, masks = [], {}
    for folder, authentic_role in (("tampered", "original"), ("real", "real")):
        with (data / folder / "manifest.csv").open(newline="", encoding="utf-8") as stream:
            for line in csv.DictReader(stream):
                path = data / folder / line["file"]
                if line["role"] == "mask":
                    masks[data / folder / line["pair_of"]] = (path, line["mask_polarity"])
                elif line["role"] == "tampered":
                    rows.append(Row(path, line["subset"], True))
                elif line["role"] == authentic_role:
                    rows.append(Row(path, line["subset"] or folder, False))
    for row in rows:
        if row.tampered and row.path in masks:
            row.mask, row.mask_polarity = masks[row.path]
            if not row.mask_polarity.startswith(("white=", "black=")):
                raise ValueError(
                    f"{row.mask}: mask_polarity must begin with white= or black=, got {row.mask_polarity!r}"
                )
    return rows


def read_mask(path: Path, polarity: str) -> np.ndarray:
    """Read a mask as (H, W) uint8, 1 = tampered."""
    with Image.open(path) as image:
        bright = np.asarray(image.convert("RGB").convert("L")) >= MASK_MIDPOINT
    return (~bright if polarity.startswith("black=") else bright).astype(np.uint8)


@torch.inference_mode()
def score_rows(rows: list[Row], checkpoint: str | None) -> tuple[list[dict], list[str]]:
    """Run the model over every image; return one record an image and the ones that failed, named."""
    model, processor = load_checkpoint(checkpoint)
    records, failures = [], []
    for row in tqdm(rows, desc="images", disable=None):
        try:
            image = read_image(row.path).image
            outputs = model(**processor(image, return_tensors="pt"))
            probabilities = processor.post_process_probability_map(outputs, [(image.height, image.width)])[0].numpy()
            record = {"subset": row.subset, "tampered": row.tampered, "counts": None}
            record["score"] = top_fraction_score(probabilities, model.config.score_top_fraction)
            if row.mask:
                record["counts"] = confusion_counts(probabilities > THRESHOLD, read_mask(row.mask, row.mask_polarity))[
                    0
                ]
            records.append(record)
        except (OSError, ValueError) as error:
            failures.append(f"{row.path}: {error}")
    return records, failures


@dataclass
class Result:
    """One line of the report, in the form every evaluation of this package writes."""

    protocol: str
    source: str
    metric: str
    value: float
    n: int
    reduction: str
    classes: str
    empty_rule: str
    threshold: float | None
    paper_value: None = None


def summarise(records: list[dict]) -> list[Result]:
    """Compute F1 and IoU of each subset, of all, as mean over subsets, and the image AUC."""
    by_subset = defaultdict(list)
    for record in records:
        if record["counts"] is not None:
            by_subset[record["subset"]].append(record["counts"])
    results = []
    sources = {
        **{name: by_subset[name] for name in sorted(by_subset)},
        "all": [c for s in by_subset.values() for c in s],
    }
    for source, counts in sources.items():
        for metric, value in segmentation_metrics(np.reshape(counts, (-1, 4)), RULE).items():
            shape = ("image", "forged", "skip", THRESHOLD)
            results.append(Result("embedded", source, f"pixel_{metric}", value, len(counts), *shape))
    auc = roc_auc([record["score"] for record in records], [record["tampered"] for record in records])
    results.append(Result("embedded", "all", "image_auc", auc, len(records), "dataset", "forged", "none", None))
    return results


def markdown(results: list[Result], checkpoint: str, records: list[dict]) -> str:
    """Lay the results out as one table, with what the numbers mean above it."""
    table: dict[str, dict[str, float]] = defaultdict(dict)
    for result in results:
        if result.metric.startswith("pixel_"):
            table[result.source] |= {result.metric: result.value, "n": result.n}
    auc = next(result.value for result in results if result.metric == "image_auc")
    tampered = sum(record["tampered"] for record in records)
    lines = [
        f"Checkpoint `{checkpoint}`, fp32. Pixel metrics: mean over images, forged class, threshold {THRESHOLD}. "
        f"Image AUC: {auc:.3f} ({tampered} tampered against {len(records) - tampered} authentic images).",
        "",
        "| subset | images | F1 | IoU | precision | recall |",
        "|---|---|---|---|---|---|",
    ]
    for source, values in table.items():
        numbers = " | ".join(f"{values[f'pixel_{name}']:.3f}" for name in ("f1", "iou", "precision", "recall"))
        lines.append(f"| {source} | {values['n']} | {numbers} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the benchmark; 1 when some images could not be scored."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", help="folder or Hub id; default: the embedded checkpoint")
    default = os.environ.get("FORGESCOPE_DATA_DIR", str(Path(__file__).resolve().parents[2] / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    records, failures = score_rows(read_rows(options.data), options.checkpoint)
    results = summarise(records)
    text = markdown(results, options.checkpoint or "iclnet-mini", records)
    print(text)
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n", encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    for failure in failures:
        print(f"not scored: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
