"""SynthScars: generated images with their artifacts outlined, named and explained (LEGION).

Layout, as the published zip or the tree unpacked from it: `SynthScars/{train,test}/images/*` and
`SynthScars/{train,test}/annotations/{train,test}.json`; the publisher's own readme spells the folder `annoations`, so
that is read too. A JSON file is a list of objects with one key each, `{"<id>": {"img_file_name", "caption", "refs":
[{"sentence", "segmentation": [[x0, y0, x1, y1, ...]], "bbox": null, "explanation"}]}}`, in pixels of the image.
`img_file_name` is a bare name, or a path that counts by its last part.

Traps, all handled: LEGION's code reads `train/annotations` for both splits, here each split has its own; some images
are annotated more than once, and some appear as both .png and .jpg (`dedupe`); a polygon without area, texts that are
empty and polygons that cross the border by rounding are counted. The release has no field for the type of an image or
of an artifact, so the paper's numbers per type cannot be made again from it. All images are fake.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import datasets
import numpy as np

from .corpus import CorpusBuilder, CorpusCard, CorpusConfig, PaperCount, canonical_features, cut_into_pieces
from .json_text import read_json_list
from .notes import Notes
from .pixels import checked_image, is_image_name, stored_mask
from .polygons import Rasterizer, check_rasterizer, rasterize, usable_polygons
from .process_memory import ProcessMemory

ANNOTATIONS = re.compile(r"^(?P<root>(?:.*/)?)(?P<folder>annotations|annoations)/(?P<split>train|test)\.json$")
SPLITS = ("train", "test")
DEDUPE = ("none", "stem")
SOURCE = "synthscars"
AUDIT = "count of the released files, by a third party"

CARD = CorpusCard(
    title="SynthScars",
    description=(
        "Fully generated images. A mask marks the artifacts that people outlined by polygons; each has a name and an "
        "explanation, and each image a caption that holds them all."
    ),
    homepage="https://huggingface.co/datasets/khr0516/SynthScars",
    licence="apache-2.0",
    terms=(
        "Apache-2.0 by its publishers. The images come from other public data sets (RichHF-18K, Chameleon, FFAA and "
        "others, by the paper), whose own terms may apply."
    ),
    citation="""@article{kang2025legion,
  title={LEGION: Learning to Ground and Explain for Synthetic Image Detection},
  author={Kang, Hengrui and Wen, Siwei and Wen, Zichen and Ye, Junyan and Li, Weijia and Feng, Peilin and
    Zhou, Baichuan and Wang, Bin and Lin, Dahua and Zhang, Linfeng and He, Conghui},
  year={2025}
}""",
    labels="`label`: every image is fake (1). `mask`: 1 = artifact. The publisher has no integers of its own.",
    paper_counts=(
        PaperCount("train", "rows", 11_236, "LEGION, Table 6"),
        PaperCount("test", "rows", 1_000, "LEGION, Table 6"),
        PaperCount("train", "regions", 23_913, "LEGION, Table 7"),
        PaperCount("test", "regions", 2_653, "LEGION, Table 7"),
        PaperCount("train", "regions", 23_935, AUDIT),
        PaperCount("test", "regions", 2_674, AUDIT),
    ),
)


@dataclass
class SynthScarsConfig(CorpusConfig):
    """Options of SynthScars.

    Args:
        rasterizer: rule that makes masks of polygons, see `polygons`: "fillpoly" as the authors' evaluation, "coco" as
            their training (needs pycocotools).
        dedupe: "stem" keeps the first annotation of each file name without its suffix, so that an image that was
            annotated again or is there as .png and .jpg gives one row.
    """

    rasterizer: Rasterizer = "fillpoly"
    dedupe: Literal["none", "stem"] = "none"


@dataclass(frozen=True)
class Part:
    """Some annotations of a split.

    Args:
        annotations: JSON file.
        root: folder that holds `images/`, "" or with a slash at its end.
        places: numbers of the annotations in the file.
    """

    annotations: str
    root: str
    places: list[int]


class SynthScars(CorpusBuilder):
    """Rows: the canonical columns and `file_name`, `caption`, then by configuration.

    - `union`: a row an annotation; `mask` of all its artifacts; `regions`, each `sentence`, `explanation` and
      `segmentation` (polygons as `[x0, y0, x1, y1, ...]`, in pixels);
    - `per_ref`: a row an artifact; its `mask`, `sentence`, `explanation` and `segmentation`;
    - `grounded`: as `union`, each region also with its own `mask`.

    `id` is the annotation's key, in `per_ref` with `:` and the number of the artifact, from 0. An artifact whose
    polygons are all unusable is left out; `mask` is None where none is left.
    """

    BUILDER_CONFIG_CLASS = SynthScarsConfig
    BUILDER_CONFIGS: ClassVar[list[datasets.BuilderConfig]] = [
        SynthScarsConfig(name=name) for name in ("union", "per_ref", "grounded")
    ]
    DEFAULT_CONFIG_NAME = "union"
    CARD = CARD
    EXPECTED = "SynthScars.zip or the folders {train,test}/images and {train,test}/annotations from it"

    def __init__(self, *args: Any, **kwargs: Any):
        self._memory = ProcessMemory()
        super().__init__(*args, **kwargs)
        if self.config.name == "per_ref":
            regions = (one for one in CARD.paper_counts if one.quantity == "regions")
            counts = tuple(replace(one, quantity="rows") for one in regions)
            self.__dict__["CARD"] = replace(CARD, paper_counts=counts)

    def features(self) -> datasets.Features:
        """Columns of the configuration."""
        region: dict[str, Any] = {
            "sentence": datasets.Value("string"),
            "explanation": datasets.Value("string"),
            "segmentation": datasets.List(datasets.List(datasets.Value("float64"))),
        }
        texts = {"file_name": datasets.Value("string"), "caption": datasets.Value("string")}
        if self.config.name == "per_ref":
            return canonical_features(**texts, **region)
        if self.config.name == "grounded":
            region["mask"] = datasets.Image(mode="L")
        return canonical_features(**texts, regions=datasets.List(region))

    def splits(self, notes: Notes) -> dict[str, list[Any]]:
        """`train` and `test`: numbers of annotations.

        Raises:
            ValueError: unknown option; a JSON file that is damaged or no list.
            ImportError: the rasterizer's library is missing.
        """
        if self.config.dedupe not in DEDUPE:
            raise ValueError(f"unknown dedupe {self.config.dedupe!r}: expected one of {', '.join(DEDUPE)}")
        check_rasterizer(self.config.rasterizer)
        splits: dict[str, list[Any]] = {}
        for split, (name, root) in self._annotation_files(notes).items():
            places = self._chosen(self._entries(name), notes)
            splits[split] = [Part(name, root, some) for some in cut_into_pieces(places)]
        return splits

    def rows(self, piece: Part, notes: Notes) -> Iterator[dict[str, Any]]:
        """A row an annotation, in `per_ref` a row an artifact."""
        entries = self._entries(piece.annotations)
        for place in piece.places:
            key, annotation = entries[place]
            name = self._image_name(piece.root, annotation["img_file_name"])
            checked = checked_image(self.files, name, notes, self.config.verify_images)
            if checked is None:
                continue
            image, size = checked
            base = {"image": image, "label": "fake", "source": SOURCE, "file_name": name.rpartition("/")[2]}
            base["caption"] = annotation.get("caption") or ""
            regions = list(self._regions(key, annotation, size, notes))
            if self.config.name == "per_ref":
                for number, region in regions:
                    yield {**base, **region, "id": f"{key}:{number}", "mask": stored_mask(region["mask"])}
            else:
                yield {**base, "id": key, **self._union(key, [region for _, region in regions], notes)}

    def _union(self, key: str, regions: list[dict[str, Any]], notes: Notes) -> dict[str, Any]:
        """Mask and regions of an image."""
        masks = [region.pop("mask") for region in regions]
        if not masks:
            notes.add("image without a usable region", key)
        if self.config.name == "grounded":
            for region, mask in zip(regions, masks, strict=True):
                region["mask"] = stored_mask(mask)
        for mask in masks[1:]:
            np.maximum(masks[0], mask, out=masks[0])
        return {"mask": stored_mask(masks[0]) if masks else None, "regions": regions}

    def _regions(
        self, key: str, annotation: dict[str, Any], size: tuple[int, int], notes: Notes
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Number and region of every artifact that has a usable polygon; `mask` is (H, W) uint8 of 0 and 1."""
        refs = annotation.get("refs")
        if not isinstance(refs, list):
            notes.add("annotation without refs", key)
            return
        for number, ref in enumerate(refs):
            item = f"{key}:{number}"
            if not isinstance(ref, dict):
                notes.add("ref that is no object", item)
                continue
            polygons = usable_polygons(ref.get("segmentation"), size, item, notes)
            if not polygons:
                notes.add("ref without a usable polygon, left out", item)
                continue
            mask = rasterize(polygons, size, self.config.rasterizer)
            if not mask.any():
                notes.add("ref whose polygons cover no pixel", item)
            texts = {name: ref.get(name) or "" for name in ("sentence", "explanation")}
            for name in (name for name, text in texts.items() if not text.strip()):
                notes.add(f"empty {name}", item)
            if texts["sentence"] not in (annotation.get("caption") or ""):
                notes.add("sentence that is not in the caption", item)
            yield number, {**texts, "segmentation": polygons, "mask": mask}

    def _annotation_files(self, notes: Notes) -> dict[str, tuple[str, str]]:
        """Split -> its JSON file and the folder of its images, the split's own folder before any other."""
        found: dict[str, list[tuple[bool, str, str]]] = {split: [] for split in SPLITS}
        for name in self.files.match(ANNOTATIONS.pattern):
            match = ANNOTATIONS.match(name)
            if match is None:
                continue
            split, root = match["split"], match["root"]
            parent, _, own = root.rstrip("/").rpartition("/")
            foreign = own in SPLITS and own != split
            if foreign:
                root = f"{parent}/{split}/" if parent else f"{split}/"
            if match["folder"] != "annotations":
                notes.add("misspelt folder of annotations", name)
            found[split].append((foreign, name, root))
        chosen = {}
        for split, files in found.items():
            for place, (foreign, name, root) in enumerate(sorted(files)):
                if place:
                    notes.add("further annotations of a split, left out", name)
                    continue
                if foreign:
                    notes.add("annotations in the folder of another split", name)
                chosen[split] = (name, root)
        return chosen

    def _entries(self, name: str) -> list[tuple[str, dict[str, Any]]]:
        """Key and annotation of every entry of a JSON file, parsed once a process."""

        def parse() -> list[tuple[str, dict[str, Any]]]:
            content = read_json_list(self.files, name)
            return [pair for entry in content for pair in (entry.items() if isinstance(entry, dict) else [("", {})])]

        return self._memory.get(name, parse)

    def _chosen(self, entries: list[tuple[str, Any]], notes: Notes) -> list[int]:
        """Numbers of the annotations that give rows."""
        seen: dict[str, str] = {}
        places = []
        for place, (key, annotation) in enumerate(entries):
            written = annotation.get("img_file_name") if isinstance(annotation, dict) else None
            if not isinstance(written, str) or not written:
                notes.add("annotation without img_file_name", key or f"entry {place}")
                continue
            own = _last_part(written)
            stem = own.rpartition(".")[0]
            if stem in seen:
                twin = seen[stem] != own
                notes.add("image of the stem of another" if twin else "image annotated again", f"{key}: {own}")
                if self.config.dedupe == "stem":
                    notes.add("annotation left out by dedupe", f"{key}: {own}")
                    continue
            seen.setdefault(stem, own)
            places.append(place)
        return places

    def _image_name(self, root: str, written: str) -> str:
        """Name in the corpus of the image that an annotation means."""
        own = _last_part(written)
        usual = f"{root}images/{own}"
        if usual in self.files:
            return usual

        def table() -> dict[str, str]:
            below = (name for name in self.files.names() if name.startswith(root) and is_image_name(name))
            return {_last_part(name): name for name in below}

        return self._memory.get(("images", root), table).get(own, usual)


def _last_part(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


__all__ = ["CARD", "SynthScars", "SynthScarsConfig"]
