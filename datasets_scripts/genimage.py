"""GenImage: ImageNet photographs against the images of eight generators, whole images, no masks.

Layout, as the extracted archives give it: `<generator>/imagenet_*/{train,val}/{ai,nature}/<file>`. Alphabetical class
numbers would make `ai` 0; here `label` is `fake` for `ai`. Photographs are JPEG and generated images PNG: whoever
trains on them as they are teaches a detector the file format. `align_format=96` stores both as JPEG, as GAMMA does.
"""

import re
from collections.abc import Iterator
from typing import Any, ClassVar

import datasets

from .corpus import CorpusBuilder, CorpusCard, canonical_features, cut_into_pieces
from .format_alignment import AlignedConfig, aligned_rows
from .notes import Notes
from .pixels import checked_image, is_image_name

NAME = re.compile(
    r"(?:^|/)(?P<archive>imagenet_[^/]+)/(?P<split>train|val)/(?P<label>ai|nature)/[^/]+$", re.IGNORECASE
)
SPLITS = {"train": "train", "val": "validation"}
LABELS = {"nature": "real", "ai": "fake"}
# Last part of the archive's folder -> generator, as the paper's tables name it.
GENERATORS = {
    "adm": "adm",
    "biggan": "biggan",
    "glide": "glide",
    "midjourney": "midjourney",
    "sdv4": "stable_diffusion_v_1_4",
    "sdv5": "stable_diffusion_v_1_5",
    "vqdm": "vqdm",
    "wukong": "wukong",
}

CARD = CorpusCard(
    title="GenImage",
    description="Photographs of ImageNet and images that eight generators made from ImageNet's class names.",
    homepage="https://github.com/GenImage-Dataset/GenImage",
    licence="cc-by-nc-sa-4.0",
    terms="CC BY-NC-SA 4.0 by its publishers; the photographs stand under ImageNet's terms.",
    citation="""@inproceedings{zhu2023genimage,
  title={GenImage: A Million-Scale Benchmark for Detecting AI-Generated Image},
  author={Zhu, Mingjian and others},
  booktitle={NeurIPS Datasets and Benchmarks},
  year={2023}
}""",
    labels="`label`: `nature` is real (0), `ai` is fake (1). No masks.",
    paper_counts=(),
)


class GenImage(CorpusBuilder):
    """Rows: `image`, `label`, `mask` (None), `id` (file name below `data_dir`), `source` (generator)."""

    BUILDER_CONFIG_CLASS = AlignedConfig
    BUILDER_CONFIGS: ClassVar[list[datasets.BuilderConfig]] = [AlignedConfig(name="default")]
    CARD = CARD
    EXPECTED = "folders <generator>/imagenet_*/{train,val}/{ai,nature}, extracted from GenImage's archives"

    def features(self) -> datasets.Features:
        """The canonical columns."""
        return canonical_features()

    def splits(self, notes: Notes) -> dict[str, list[Any]]:
        """`train` and `validation`: lists of names."""
        names: dict[str, list[str]] = {split: [] for split in SPLITS.values()}
        for name in self.files.names():
            match = NAME.search(name)
            if match and is_image_name(name):
                names[SPLITS[match["split"].lower()]].append(name)
        return {split: cut_into_pieces(found) for split, found in names.items()}

    def facts(self, item: str) -> dict[str, str]:
        """Id, label and source, from the name of a file."""
        match = NAME.search(item)
        if match is None:
            raise ValueError(f"{item} is no name of GenImage: expected {self.EXPECTED}")
        archive = match["archive"].lower().rsplit("_", 1)[-1]
        return {"id": item, "label": LABELS[match["label"].lower()], "source": GENERATORS.get(archive, archive)}

    def rows(self, piece: list[str], notes: Notes) -> Iterator[dict[str, Any]]:
        """A row a file."""
        for name in piece:
            checked = checked_image(self.files, name, notes, self.config.verify_images)
            if checked is not None:
                row = {"image": checked[0], "mask": None, **self.facts(name)}
                yield from aligned_rows(row, self.config.align_format, notes)


__all__ = ["CARD", "GenImage"]
