"""SynthWildX: images shared on X by three generators, and photographs, whole images without masks.

Only a list is published: `list.csv` with the columns `url`, `filename` and `typ` (dalle3, firefly, midjourney_v5 or
real, 500 each). Its addresses decay and the publishers' script passes over those that fail, so copies differ; the
number of images found is noted for each kind.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import datasets

from .corpus import CorpusBuilder, CorpusCard, PaperCount, canonical_features, cut_into_pieces
from .format_alignment import AlignedConfig, aligned_rows
from .notes import Notes
from .pixels import checked_image, is_image_name

LIST_NAME = "list.csv"
COLUMNS = ("url", "filename", "typ")
KINDS = ("dalle3", "firefly", "midjourney_v5", "real")
# Images of each kind in the published list.
LISTED = 500

CARD = CorpusCard(
    title="SynthWildX",
    description="Images by DALL-E 3, Firefly and Midjourney v5 that people shared on X, and photographs from there.",
    homepage="https://github.com/grip-unina/ClipBased-SyntheticImageDetection",
    licence="other",
    terms="Only a list of addresses is published; the images belong to those who shared them.",
    citation="""@misc{synthwildx,
  title={SynthWildX},
  author={{GRIP-UNINA} and others},
  howpublished={https://github.com/grip-unina/ClipBased-SyntheticImageDetection}
}""",
    labels="`label`: `typ` real is real (0), every generator fake (1). No masks.",
    paper_counts=tuple(PaperCount("test", f"source={kind}", LISTED, "list.csv as published") for kind in KINDS),
)


class _Item(NamedTuple):
    name: str
    kind: str
    url: str | None


class SynthWildX(CorpusBuilder):
    """Rows: `image`, `label`, `mask` (None), `id` (file name), `source` (`typ`), `url` (None without a list)."""

    BUILDER_CONFIG_CLASS = AlignedConfig
    BUILDER_CONFIGS: ClassVar[list[datasets.BuilderConfig]] = [AlignedConfig(name="default")]
    CARD = CARD
    EXPECTED = f"{LIST_NAME} with the downloaded files beside it, or folders {', '.join(KINDS)}"

    def features(self) -> datasets.Features:
        """Columns."""
        return canonical_features(url=datasets.Value("string"))

    def splits(self, notes: Notes) -> dict[str, list[Any]]:
        """One split, `test`: the listed files that are there, or those in the folders."""
        lists = self.files.match(rf"(?:^|/){LIST_NAME}$")
        items = self._listed(lists[0], notes) if lists else self._in_folders(notes)
        return {"test": cut_into_pieces(items)}

    def facts(self, item: _Item) -> dict[str, str]:
        """Id, label and source, from the list or the folder."""
        return {"id": item.name, "label": "real" if item.kind == "real" else "fake", "source": item.kind}

    def rows(self, piece: list[_Item], notes: Notes) -> Iterator[dict[str, Any]]:
        """Rows of some images."""
        for item in piece:
            checked = checked_image(self.files, item.name, notes, self.config.verify_images)
            if checked is not None:
                row = {"image": checked[0], "mask": None, "url": item.url, **self.facts(item)}
                yield from aligned_rows(row, self.config.align_format, notes)

    def _listed(self, list_name: str, notes: Notes) -> list[_Item]:
        by_own_name: dict[str, list[str]] = {}
        for name in self.files.names():
            by_own_name.setdefault(name.rsplit("/", 1)[-1], []).append(name)
        folder = list_name.removesuffix(LIST_NAME)
        items, listed = [], Counter[str]()
        for wanted, kind, url in _lines(self.files.read(list_name), list_name):
            listed[kind] += 1
            candidates = [f"{folder}{wanted}", wanted, f"{folder}{kind}/{wanted}"]
            alike = by_own_name.get(wanted.rsplit("/", 1)[-1], [])
            found = [one for one in candidates if one in self.files] or (alike if len(alike) == 1 else [])
            if found and wanted:
                items.append(_Item(found[0], kind, url))
        there = Counter(item.kind for item in items)
        for kind in KINDS:
            lost = listed[kind] - there[kind]
            if lost:
                notes.add("listed image that is not there", kind, f"{there[kind]} of {listed[kind]} found", count=lost)
        return items

    def _in_folders(self, notes: Notes) -> list[_Item]:
        items = []
        for name in filter(is_image_name, self.files.names()):
            folders = {folder.lower() for folder in name.split("/")[:-1]}
            kinds = [kind for kind in KINDS if kind in folders]
            if len(kinds) == 1:
                items.append(_Item(name, kinds[0], None))
            else:
                notes.add(f"image outside the folders {', '.join(KINDS)}", name)
        return items


def _lines(data: bytes, list_name: str) -> Iterator[tuple[str, str, str]]:
    """File name, kind and address of every line of the list."""
    reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise ValueError(f"{list_name} has no column {', '.join(missing)}: found {', '.join(reader.fieldnames or ())}")
    for row in reader:
        kind = (row["typ"] or "").strip().lower()
        if kind not in KINDS:
            raise ValueError(
                f"{list_name} line {reader.line_num} has typ {row['typ']!r}: expected one of {', '.join(KINDS)}"
            )
        yield (row["filename"] or "").strip().replace("\\", "/").removeprefix("./"), kind, row["url"]


__all__ = ["CARD", "KINDS", "SynthWildX"]
