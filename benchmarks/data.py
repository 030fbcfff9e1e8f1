"""Reading a corpus as forgescope does against the straightforward loop, side by side in one run.

    python benchmarks/data.py [--rows 1000] [--size 512] [--rounds 3]
    python benchmarks/data.py --corpora synthscars --rows 200 --rounds 1     # a quick look
    python benchmarks/data.py --corpora none                                 # only the start of a stream

Straightforward: list the files or parse the JSON, open and decode each image with PIL, draw its polygons or read its
mask, append a dictionary to a list. Every way decodes each image to its end once and makes each mask once; "prepared"
is `load_corpus(verify_images="decode")` into an empty cache, which leaves rows on disk that later runs only decode
("the next pass"). The ways take turns; a rate is the median over the rounds, a ratio the median of the ratios of each
round, with its lowest and highest in brackets. The CPU time of a row is that of all processes together, and says more
than the wall clock where other work shares the cores. Images are made for the run: JPEG photographs with polygons for
SynthScars, PNG pairs of image and mask for DiffSeg30k.
"""

import argparse
import json
import logging
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import datasets
import numpy as np
from PIL import Image, ImageDraw
from tqdm.auto import tqdm

from forgescope import load_corpus

NAIVE = "straightforward loop"
POLYGONS = 3
POINTS = 12
CAPTION = "Upon examining the image. I have found: {}."


def photograph(random: np.random.Generator, size: int) -> Image.Image:
    """Smooth colours, edges and a little noise: about as hard to decode as a photograph."""
    coarse = random.integers(0, 256, (size // 32, size // 32, 3), dtype=np.uint8)
    pixels = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    pixels += random.integers(-6, 7, pixels.shape, dtype=np.int16)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def polygon(random: np.random.Generator, size: int) -> list[float]:
    """A star-shaped outline as [x0, y0, x1, y1, ...]."""
    angles = np.sort(random.uniform(0, 2 * np.pi, POINTS))
    radius = random.uniform(0.02, 0.2, POINTS) * size
    centre = random.uniform(0.25, 0.75, 2) * size
    return (centre + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)).ravel().tolist()


def write_synthscars(root: Path, rows: int, size: int) -> None:
    """JPEG images, one JSON file of polygons."""
    random = np.random.default_rng(0)
    (root / "train/images").mkdir(parents=True)
    (root / "train/annotations").mkdir()
    entries = []
    for number in range(rows):
        photograph(random, size).save(root / f"train/images/{number}.jpg", quality=92)
        refs = [
            {"sentence": f"scar {ref}", "explanation": "drawn", "bbox": None, "segmentation": [polygon(random, size)]}
            for ref in range(POLYGONS)
        ]
        caption = CAPTION.format(", ".join(ref["sentence"] for ref in refs))
        entries.append({str(number): {"img_file_name": f"{number}.jpg", "caption": caption, "refs": refs}})
    (root / "train/annotations/train.json").write_text(json.dumps(entries))


def loop_synthscars(root: Path) -> list[dict[str, Any]]:
    """The straightforward loop over polygons."""
    rows = []
    for entry in json.loads((root / "train/annotations/train.json").read_text()):
        for key, annotation in entry.items():
            image = Image.open(root / "train/images" / annotation["img_file_name"]).convert("RGB")
            mask = Image.new("L", image.size)
            for ref in annotation["refs"]:
                for outline in ref["segmentation"]:
                    ImageDraw.Draw(mask).polygon(outline, fill=1)
            rows.append({"id": key, "image": image, "mask": mask, "label": 1})
    return rows


def write_diffseg30k(root: Path, rows: int, size: int) -> None:
    """PNG pairs; masks hold ids of editors."""
    random = np.random.default_rng(1)
    (root / "train_copy").mkdir(parents=True)
    for number in range(rows):
        stem = root / f"train_copy/{number:08d}"
        photograph(random, size).save(f"{stem}.image.png")
        mask = np.zeros((size, size), np.uint8)
        for _ in range(int(random.integers(1, 4))):
            outline = np.array(polygon(random, size)).reshape(-1, 2).astype(np.int32)
            cv2.fillPoly(mask, [outline], int(random.integers(1, 9)))
        Image.fromarray(mask).save(f"{stem}.mask.png")


def loop_diffseg30k(root: Path) -> list[dict[str, Any]]:
    """The straightforward loop over pairs of files; editors are listed and a binary mask is made, as ours has them."""
    rows = []
    for path in sorted((root / "train_copy").glob("*.image.png")):
        image = Image.open(path).convert("RGB")
        ids = np.array(Image.open(str(path).replace(".image.", ".mask.")))
        editors = [value for value in np.unique(ids).tolist() if value]
        binary = Image.fromarray((ids > 0).astype(np.uint8))
        mask = Image.fromarray(ids)
        rows.append(
            {
                "id": path.name,
                "image": image,
                "mask": mask,
                "binary": binary,
                "editors": editors,
                "label": bool(editors),
            }
        )
    return rows


CORPORA = {"synthscars": (write_synthscars, loop_synthscars), "diffseg30k": (write_diffseg30k, loop_diffseg30k)}


def count_decoded(splits: dict[str, Iterable[dict[str, Any]]]) -> int:
    """Number of rows, images and masks decoded."""
    return sum(1 for rows in splits.values() for row in rows if row["image"].size == row["mask"].size)


def prepare(name: str, root: Path, cache: Path, num_proc: int, verify_images: str) -> int:
    """Number of rows prepared into an empty cache."""
    shutil.rmtree(cache, ignore_errors=True)
    splits = load_corpus(name, root, cache_dir=cache, num_proc=num_proc, verify_images=verify_images)
    return sum(len(rows) for rows in splits.values())


def ways_of(name: str, root: Path, scratch: Path) -> dict[str, Callable[[], int]]:
    """Name of a way -> what it does; each gives the number of its rows."""
    kept = load_corpus(name, root, cache_dir=scratch / "kept")
    return {
        NAIVE: lambda: len(CORPORA[name][1](root)),
        "prepared, num_proc=1": lambda: prepare(name, root, scratch / "one", 1, "decode"),
        "prepared, num_proc=2": lambda: prepare(name, root, scratch / "two", 2, "decode"),
        "prepared, headers, num_proc=2": lambda: prepare(name, root, scratch / "two", 2, "header"),
        "streaming, decoded": lambda: count_decoded(load_corpus(name, root, streaming=True)),
        "the next pass, decoded": lambda: count_decoded(kept),
    }


def cpu_seconds() -> float:
    """CPU time of this process and of the ended ones that it started."""
    return sum(os.times()[:4])


def compare(name: str, arguments: argparse.Namespace, scratch: Path) -> None:
    """Time every way on one corpus and print a line for each."""
    root = scratch / name
    CORPORA[name][0](root, arguments.rows, arguments.size)
    ways = ways_of(name, root, scratch / f"{name}-caches")
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    cpu: dict[str, list[float]] = {way: [] for way in ways}
    for turn in tqdm(range(arguments.rounds), desc=name, disable=None, leave=False):
        for way in list(ways) if turn % 2 == 0 else list(reversed(ways)):
            start, cpu_start = time.perf_counter(), cpu_seconds()
            rows = ways[way]()
            seconds[way].append(time.perf_counter() - start)
            cpu[way].append(cpu_seconds() - cpu_start)
            if rows != arguments.rows:
                raise RuntimeError(f"{way} gave {rows} of {arguments.rows} rows")
    print(f"\n{name}, {arguments.rows} rows of {arguments.size} x {arguments.size}")
    for way, times in seconds.items():
        ratios = [naive / own for naive, own in zip(seconds[NAIVE], times, strict=True)]
        rate = arguments.rows / statistics.median(times)
        ratio = f"x{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        milliseconds = statistics.median(cpu[way]) / arguments.rows * 1e3
        print(f"  {way:<30} {rate:>8.0f} rows/s {ratio:>22} {milliseconds:>8.2f} ms CPU/row", flush=True)


def time_stream_start(files: int, rounds: int, scratch: Path) -> None:
    """Print how long a stream takes to start on a folder of many images, and to its first row."""
    folder = scratch / "many/BigGAN/imagenet_ai_0419_biggan/train/ai"
    folder.mkdir(parents=True)
    first = folder / f"{0:08d}.png"
    photograph(np.random.default_rng(2), 64).save(first)
    for number in range(1, files):
        os.link(first, folder / f"{number:08d}.png")
    starts, rows = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        stream = load_corpus("genimage", scratch / "many", streaming=True, split="train")
        starts.append(time.perf_counter() - start)
        next(iter(stream))
        rows.append(time.perf_counter() - start)
    print(f"\nstream of genimage, {files} files: {statistics.median(starts):.2f} s to start", end=", ")
    print(f"{statistics.median(rows):.2f} s to the first row")


def main() -> None:
    """Print one table a corpus, and the start of a stream."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", nargs="+", choices=[*CORPORA, "none"], default=list(CORPORA))
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--size", type=int, default=512, help="side of an image in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=40_000, help="files of the folder that a stream starts on")
    arguments = parser.parse_args()
    datasets.disable_progress_bars()
    logging.getLogger("forgescope").setLevel(logging.ERROR)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as scratch:
        for name in arguments.corpora:
            if name != "none":
                compare(name, arguments, Path(scratch))
        time_stream_start(arguments.files, arguments.rounds, Path(scratch))


if __name__ == "__main__":
    main()
