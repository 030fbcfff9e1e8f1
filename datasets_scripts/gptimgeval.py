"""GPT-ImgEval: images that GPT-4o made for three benchmarks of image generation, whole images without masks.

Layout: archives such as `GenEval.zip`, or the folders unpacked from them. GAMMA evaluates on 554 of the images and
does not say which; GenEval, one image for each of its prompts, comes nearest and is the first configuration. Copies
differ in their counts. Whether the editing part holds photographs beside GPT-4o's edits of them is not known, so that
`all` may call some of them fake.
"""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, ClassVar

import datasets

from .corpus import CorpusBuilder, CorpusCard, PaperCount, canonical_features, cut_into_pieces
from .format_alignment import AlignedConfig, aligned_rows
from .notes import Notes
from .pixels import checked_image, is_image_name

# Benchmarks by how the names of their folders and archives begin, without hyphens and underscores.
PARTS = ("geneval", "reasonedit", "wise")
CONFIGS = ("geneval", "all")

CARD = CorpusCard(
    title="GPT-ImgEval",
    description="Images that GPT-4o made from the prompts of GenEval and of benchmarks for editing and knowledge.",
    homepage="https://huggingface.co/datasets/Yejy53/GPT-ImgEval",
    licence="unknown",
    terms="Users of the data name the MIT licence; see the card of the publisher, not verified here.",
    citation="""@article{yan2025gptimgeval,
  title={GPT-ImgEval: A Comprehensive Benchmark for Diagnosing GPT4o in Image Generation},
  author={Yan, Zhiyuan and Ye, Junyan and Li, Weijia and Huang, Zilong and Yuan, Shenghai and He, Xiangyang and
    Lin, Kaiqing and He, Jun and He, Conghui and Yuan, Li},
  journal={arXiv preprint arXiv:2504.02782},
  year={2025}
}""",
    labels="`label`: every image is fake (1). No masks.",
    paper_counts=(PaperCount("test", "rows", 554, "GAMMA, section 5.3"),),
)


class GPTImgEval(CorpusBuilder):
    """Rows: `image`, `label` (fake), `mask` (None), `id` (file name), `source` (the benchmark).

    `geneval` reads the images of GenEval, `all` every image that is there.
    """

    BUILDER_CONFIG_CLASS = AlignedConfig
    BUILDER_CONFIGS: ClassVar[list[datasets.BuilderConfig]] = [AlignedConfig(name=name) for name in CONFIGS]
    DEFAULT_CONFIG_NAME = "geneval"
    CARD = CARD
    EXPECTED = "GenEval.zip, or a folder GenEval unpacked from it"
    ARCHIVES_AS_FOLDERS = True

    def features(self) -> datasets.Features:
        """The canonical columns."""
        return canonical_features()

    def splits(self, notes: Notes) -> dict[str, list[Any]]:
        """One split, `test`: names."""
        names = []
        for name in filter(is_image_name, self.files.names()):
            part = self._part(name)
            if self.config.name == "all" or part == self.config.name:
                names.append(name)
            else:
                notes.add("image of another part, left out", name, part)
        return {"test": cut_into_pieces(names)}

    def facts(self, item: str) -> dict[str, str]:
        """Id, label and source, from the name of a file."""
        return {"id": item, "label": "fake", "source": self._part(item)}

    def rows(self, piece: list[str], notes: Notes) -> Iterator[dict[str, Any]]:
        """A row a file."""
        for name in piece:
            checked = checked_image(self.files, name, notes, self.config.verify_images)
            if checked is not None:
                row = {"image": checked[0], "mask": None, **self.facts(name)}
                yield from aligned_rows(row, self.config.align_format, notes)

    def _part(self, name: str) -> str:
        """Benchmark that a file belongs to: the outermost folder named after one, else the outermost folder."""
        folders = [self.files.root.stem, *PurePosixPath(name).parts[:-1]]
        plain = [re.sub("[-_ ]", "", folder.lower()) for folder in folders]
        named = (part for folder in plain for part in PARTS if folder.startswith(part))
        return next(named, folders[min(1, len(folders) - 1)])


__all__ = ["CARD", "GPTImgEval"]
