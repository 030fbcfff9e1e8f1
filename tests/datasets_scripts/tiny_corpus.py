"""A corpus with every kind of column and trouble, to test what works on any corpus: export, inspection, commands."""

import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import datasets
import numpy as np
from PIL import Image

from forgescope.datasets_scripts import load
from forgescope.datasets_scripts.corpus import (
    CorpusBuilder,
    CorpusCard,
    CorpusConfig,
    PaperCount,
    canonical_features,
    cut_into_pieces,
)
from forgescope.datasets_scripts.pixels import checked_image, stored_mask

NAME = "tiny_corpus"


@dataclass
class TinyConfig(CorpusConfig):
    """Options of the tiny corpus."""

    invert: bool = False


class TinyCorpus(CorpusBuilder):
    """`rows.jsonl` in `data_dir` says what each row is."""

    BUILDER_CONFIG_CLASS = TinyConfig
    BUILDER_CONFIGS: ClassVar = [TinyConfig(name="all"), TinyConfig(name="masks_only")]
    DEFAULT_CONFIG_NAME = "all"
    EXPECTED = "rows.jsonl"
    CARD = CorpusCard(
        title="Tiny Corpus",
        description="Squares of noise.",
        homepage="https://example.org/tiny",
        licence="cc-by-4.0",
        terms="Made for a test; do as you like.",
        citation="@misc{tiny, title={Tiny}}",
        labels="`label`: fake where the square was changed.",
        paper_counts=(
            PaperCount("train", "rows", 9, "Table 1"),
            PaperCount("all", "fake", 4, "Section 2"),
            PaperCount("all", "regions", 7, "Section 3"),
            PaperCount("train", "source=b", 3, "Table 2"),
            PaperCount("all", "weather=wet", 1, "Table 3"),
        ),
    )

    def features(self):
        regions = {"sentence": datasets.Value("string"), "mask": datasets.Image(mode="L")}
        return canonical_features(
            original=datasets.Image(decode=False),
            ai_mask=datasets.Image(mode="L"),
            edit_models=datasets.List(datasets.Value("string")),
            regions=datasets.List(regions),
            scores=datasets.List(datasets.Value("float32")),
        )

    def mask_ids(self):
        return {0: "untouched", 1: "glue", 2: "scissors"}

    def splits(self, notes):
        lines = self.files.read("rows.jsonl").decode().splitlines() if "rows.jsonl" in self.files else []
        splits = {}
        for line in lines:
            row = json.loads(line)
            splits.setdefault(row["split"], []).append(row)
        return {split: cut_into_pieces(rows) for split, rows in splits.items()}

    def rows(self, piece, notes):
        for row in piece:
            if row["file"].startswith("absent"):
                yield {
                    "image": None,
                    "label": row["label"],
                    "mask": None,
                    "id": row["file"],
                    "source": row["source"],
                } | {"original": None, "ai_mask": None, "edit_models": [], "regions": [], "scores": []}
                continue
            checked = checked_image(self.files, row["file"], notes, self.config.verify_images)
            if checked is None or (self.config.name == "masks_only" and not row["mask"]):
                continue
            mask = None
            if row["mask"]:
                mask = np.zeros(checked[1][::-1], np.uint8)
                for value in row["mask"]:
                    mask[value * 2 - 2 : value * 2, :4] = value
                if mask.max() > 2:
                    raise ValueError(f"{row['file']} has mask values up to {mask.max()}: expected 0 to 2")
            stored = None if mask is None else stored_mask(mask if not self.config.invert else 1 - mask.clip(0, 1))
            yield {
                "image": checked[0],
                "label": row["label"],
                "mask": stored,
                "id": row["file"],
                "source": row["source"],
                "original": checked[0] if row["label"] == "fake" else None,
                "ai_mask": None,
                "edit_models": row["models"],
                "regions": [{"sentence": f"region {number}", "mask": stored} for number in range(row["regions"])],
                "scores": [0.5] * row["regions"],
            }


def register(monkeypatch) -> str:
    """Make the corpus known to `load_corpus` for one test."""
    monkeypatch.setitem(load.CORPORA, NAME, "TinyCorpus")
    monkeypatch.setitem(sys.modules, f"{load.__package__}.{NAME}", sys.modules[__name__])
    return NAME


def image_bytes(seed: int, size: tuple[int, int] = (12, 10), kind: str = "PNG", **options) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def row(file, split="train", label="real", source="a", mask=None, models=(), regions=0) -> dict:
    return {
        "file": file,
        "split": split,
        "label": label,
        "source": source,
        "mask": mask,
        "models": list(models),
        "regions": regions,
    }


ROWS = [
    row("one.png", label="fake", mask=[1], models=["sd", "flux"], regions=2),
    row("two.jpg", label="fake", source="b", mask=[1, 2], models=["sd"], regions=1),
    row("three.png", mask=[0]),
    row("four.png", source="b"),
    row("five.png", "test", label="fake", mask=[2], regions=4),
    row("six.png", "test"),
]


def write_corpus(folder: Path, rows: list[dict] = ROWS, **files: bytes) -> Path:
    """Write rows.jsonl and an image for each row; `files` take the place of images, "_" standing for the dot.

    A row whose file is called `absent...` has no image.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contents = {name.replace("_", "."): data for name, data in files.items()}
    for number, one in enumerate(rows):
        if one["file"].startswith("absent"):
            continue
        kind = "JPEG" if one["file"].endswith("jpg") else "PNG"
        data = contents.pop(one["file"], None)
        (folder / one["file"]).write_bytes(image_bytes(number, kind=kind) if data is None else data)
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    (folder / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    return folder
