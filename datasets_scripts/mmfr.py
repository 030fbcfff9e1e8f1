"""MMFR: generated images and photographs with GPT-4o's reasons for calling them fake or real; no masks.

Published as one tar in 86 parts (`dataset.part1.tar` and so on), members below `dataset/`; any parts of it, or the
unpacked tree, can be read:

    diffusiondb/part-0000NN/<uuid>.png  diffusiondb_reasoning.json   (fake)
    laion/000NN/<9 digits>.jpg          laion_reasoning.json         (real)
    evaluation_sets/<generator>/{0_real,1_fake}/<file>, and <generator>_reasoning.json beside those folders
    forgery_reasoning_cot.json          (in part 1)

`forgery_reasoning_cot.json` is a list of conversations and does not store the label: the authors' code looks for
"fake" in the `<CONCLUSION>` block. `*_reasoning.json` maps image paths to ten attributes, null where GPT-4o gave none.
How the two training files spell their keys is not published; paths below the file's folder, its parent, the root of
the data set and bare file names are all understood. Two releases with different generators go by one name.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import datasets

from .corpus import PIECES, CorpusBuilder, CorpusCard, CorpusConfig, PaperCount, canonical_features
from .files import ARCHIVE_PATTERNS, walk_names
from .image_finder import ImageFinder
from .json_ranges import JsonRange, json_entries, json_ranges
from .mmfr_texts import annotation_texts, concluded_label, cot_texts
from .notes import Notes
from .pixels import checked_image, is_image_name
from .split_tar import PART_NAME

COT = re.compile(r"(?:^|/)forgery_reasoning_cot\.json$")
REASONING = re.compile(r"(?:^|/)(?P<source>[^/]+)_reasoning\.json$")
# From the part of a path that is the same in the tar, in the unpacked tree and in a moved copy.
PLACE = re.compile(r"(?:^|/)((?:diffusiondb|laion|evaluation_sets)/.*)$")
CLASS_FOLDER = re.compile(r"(?:(?:^|/)(?P<source>[^/]+))?/?(?P<label>0_real|1_fake)/[^/]*$")
LABELS = {"0_real": "real", "1_fake": "fake"}
TRAIN_LABELS = {"diffusiondb": "fake", "laion": "real"}
# Generators of the two releases: the paper's Table 1, and the authors' evaluation script since August 2025.
GENERATORS = {
    "v1": (
        "glide",
        "guided",
        "stablediffusion",
        "dalle3",
        "if",
        "biggan",
        "gaugan",
        "stylegan2",
        "styleganxl",
        "gigagan",
    ),
    "v2": (
        "stablediffusion",
        "dalle3",
        "if",
        "midjourney",
        "kandinsky",
        "pixart",
        "flux",
        "gpt4o",
        "styleganxl",
        "gigagan",
    ),
}
# Other spellings of a generator's folder; case, blanks, `-` and `_` never matter.
SPELLINGS = {"sd": "stablediffusion", "deepfloydif": "if", "sg2": "stylegan2", "sgxl": "styleganxl"}
# Ranges that the file of one generator is cut into; the training files take `PIECES`.
EVALUATION_PIECES = 4

CARD = CorpusCard(
    title="MMFR-Dataset",
    description="Images of DiffusionDB and LAION for training, of ten generators with matching photographs for "
    "evaluation, each with GPT-4o's descriptions of the attributes that show it to be fake or real.",
    homepage="https://huggingface.co/datasets/AnnaGao/MMFR-Dataset",
    licence="unknown",
    terms="The licence of the data is unverified. Photographs of LAION and of the evaluation sets, and the generated "
    "images of other data sets, stand under their owners' terms.",
    citation="""@article{gao2025fakereasoning,
  title={FakeReasoning: Towards Generalizable Forgery Detection and Reasoning},
  author={Gao, Yueying and Chang, Dongliang and Yu, Bingyao and Qin, Haotian and Chen, Lei and Liang, Kongming and
          Ma, Zhanyu},
  journal={arXiv preprint arXiv:2503.21210},
  year={2025}
}""",
    labels="`label`: images below `diffusiondb` and `1_fake` are fake (1), below `laion` and `0_real` real (0). The "
    "folder decides; conclusions that contradict it are counted. No masks: every pixel of a fake image is generated.",
    paper_counts=(
        PaperCount("train", "fake", 50_268, "arXiv 2503.21210 v1, section 3.3"),
        PaperCount("train", "real", 50_909, "arXiv 2503.21210 v1, section 3.3"),
        PaperCount("test", "fake", 10_000, "arXiv 2503.21210 v1, section 3.3"),
        PaperCount("test", "real", 10_000, "arXiv 2503.21210 v1, section 3.3"),
    ),
)


@dataclass
class MMFRConfig(CorpusConfig):
    """Options of MMFR.

    Args:
        preset: whose generators the evaluation sets must be: `v1` (the paper), `v2` (the release of August 2025), or
            `discovery` for those that are there.
        parts: numbers of the tar's parts to read; None for all that are there.
        max_per_class: images of each source and class at most, the first ones; None for all. The authors' script
            takes 10 unless told otherwise.
    """

    preset: Literal["discovery", "v1", "v2"] = "discovery"
    parts: tuple[int, ...] | None = None
    max_per_class: int | None = None


@dataclass(frozen=True)
class _Unnamed:
    """A piece without rows: counts the images of these sources that none of these files names."""

    texts: tuple[str, ...]
    sources: tuple[str, ...]


class MMFR(CorpusBuilder):
    """Rows: `image`, `label`, `mask` (None), `id` (path in the data set), `source`, `reasoning`, `question`, `answer`.

    `source` is `diffusiondb`, `laion` or the generator's folder. `cot` has `question` and `answer` as they are written
    (with `<image>` and the four blocks) and no `reasoning`; `annotations` has `reasoning`, sorted by attribute, and
    neither of the other two. Rows of both go together by `id`.
    """

    BUILDER_CONFIG_CLASS = MMFRConfig
    BUILDER_CONFIGS: ClassVar[list[datasets.BuilderConfig]] = [
        MMFRConfig(name="cot", description="The conversations of forgery_reasoning_cot.json: split train."),
        MMFRConfig(name="annotations", description="Attributes of every image: splits train and test."),
    ]
    DEFAULT_CONFIG_NAME = "cot"
    CARD = CARD
    EXPECTED = (
        "dataset.part1.tar to dataset.part86.tar (any of them; forgery_reasoning_cot.json lies in the first), or the "
        "unpacked tree with forgery_reasoning_cot.json or *_reasoning.json and the images"
    )

    def archive_patterns(self) -> tuple[str, ...]:
        """The chosen parts, or every archive."""
        if self.config.parts is None:
            return ARCHIVE_PATTERNS
        return tuple(f"*.part{number}.tar" for number in self.config.parts)

    def features(self) -> datasets.Features:
        """Columns, the same in both configurations."""
        text = datasets.Value("string")
        reasoning = datasets.List({"attribute": text, "text": text})
        return canonical_features(reasoning=reasoning, question=text, answer=text)

    def splits(self, notes: Notes) -> dict[str, list[Any]]:
        """Ranges of the text files, and last a piece that counts images without a text."""
        if self.config.preset not in ("discovery", *GENERATORS):
            raise ValueError(f"unknown preset {self.config.preset!r}: expected discovery, {', '.join(GENERATORS)}")
        if self.config.max_per_class is not None and self.config.max_per_class < 1:
            raise ValueError(f"max_per_class is {self.config.max_per_class}: expected at least 1, or None for all")
        self._note_missing_parts(notes)
        if not any(map(is_image_name, self.files.names())):
            raise FileNotFoundError(f"{self.config.data_dir} holds no images: expected {self.EXPECTED}")
        return self._cot_splits(notes) if self.config.name == "cot" else self._annotation_splits(notes)

    def _note_missing_parts(self, notes: Notes) -> None:
        root = Path(self.config.data_dir)
        present = map(PART_NAME.match, walk_names(root if root.is_dir() else root.parent) if self.config.parts else ())
        numbers = {int(match["number"]) for match in present if match}
        for number in sorted(set(self.config.parts or ()) - numbers):
            notes.add("chosen part that is not there", str(number))

    def _cot_splits(self, notes: Notes) -> dict[str, list[Any]]:
        found = self.files.match(COT.pattern)
        if not found:
            raise FileNotFoundError(
                f"{self.config.data_dir} has no forgery_reasoning_cot.json, which lies in dataset.part1.tar; "
                "config='annotations' reads images with *_reasoning.json alone"
            )
        for name in found[1:]:
            notes.add("further forgery_reasoning_cot.json, not read", name)
        return {"train": [*self._ranges(found[0], PIECES), _Unnamed((found[0],), tuple(TRAIN_LABELS))]}

    def _annotation_splits(self, notes: Notes) -> dict[str, list[Any]]:
        by_source: dict[str, str] = {}
        for name in self.files.match(REASONING.pattern):
            source = name.rpartition("/")[2].removesuffix("_reasoning.json")
            if by_source.setdefault(source, name) != name:
                notes.add("further text file of a source, not read", name)
        train = {source: name for source, name in by_source.items() if source in TRAIN_LABELS}
        test = {source: name for source, name in by_source.items() if source not in TRAIN_LABELS}
        wanted = GENERATORS.get(self.config.preset)
        if wanted is not None:
            for generator in sorted(set(wanted) - {plain_generator(source) for source in test}):
                notes.add("generator of the preset that is not there", generator)
            for source in [source for source in test if plain_generator(source) not in wanted]:
                notes.add("generator outside the preset, left out", source)
                del test[source]
        splits = {}
        for split, texts, pieces in (("train", train, PIECES // 2), ("test", test, EVALUATION_PIECES)):
            ranges = [part for _, name in sorted(texts.items()) for part in self._ranges(name, pieces)]
            unnamed = _Unnamed(tuple(texts.values()), tuple(texts))
            splits[split] = [*ranges, unnamed] if ranges else []
        return splits

    def _ranges(self, name: str, pieces: int) -> list[JsonRange]:
        """Ranges of a text file; one alone where images of the whole file must be counted."""
        return json_ranges(self.files, name, 1 if self.config.max_per_class else pieces)

    def rows(self, piece: JsonRange | _Unnamed, notes: Notes) -> Iterator[dict[str, Any]]:
        """Rows of a range, in the order of the text file."""
        if isinstance(piece, _Unnamed):
            self._count_unnamed(piece, notes)
            return
        finder = ImageFinder(self.files, piece.name)
        taken: Counter[tuple[str, str]] = Counter()
        for key, value in json_entries(self.files, piece):
            texts = cot_texts(value, notes) if key is None else annotation_texts(key, value, notes)
            if texts is None:
                continue
            row = self._row(texts, finder, taken, notes)
            if row is not None:
                yield row

    def _row(
        self, texts: dict[str, Any], finder: ImageFinder, taken: Counter[tuple[str, str]], notes: Notes
    ) -> dict[str, Any] | None:
        wanted = texts.pop("image")
        name = finder.find(wanted)
        if name is None:
            notes.add("text without its image", wanted)
            return None
        row_id, source, label = _place(name, finder.text_name)
        said = concluded_label(texts["answer"])
        if texts["answer"] is not None and said is None:
            notes.add("answer without a conclusion", row_id)
        if label is not None and said is not None and label != said:
            notes.add("conclusion that contradicts the folder, which is believed", row_id, f"{said} in {source}")
        label = label or said
        if label is None:
            notes.add("image whose label nothing tells, skipped", row_id)
            return None
        if self.config.max_per_class and taken[source, label] >= self.config.max_per_class:
            return None
        checked = checked_image(self.files, name, notes, self.config.verify_images)
        if checked is None:
            return None
        taken[source, label] += 1
        return {"image": checked[0], "label": label, "mask": None, "id": row_id, "source": source, **texts}

    def _count_unnamed(self, piece: _Unnamed, notes: Notes) -> None:
        named = set()
        for text in piece.texts:
            finder = ImageFinder(self.files, text)
            for part in json_ranges(self.files, text, 1):
                for key, value in json_entries(self.files, part):
                    image = key or (value.get("image") if isinstance(value, dict) else None)
                    named.add(finder.find(image) if isinstance(image, str) else None)
        folders = {text: text[: text.rfind("/") + 1] for text in piece.texts}
        for name in self.files.names():
            if not is_image_name(name) or name in named:
                continue
            places = [_place(name, text) for text, folder in folders.items() if name.startswith(folder)]
            if any(source in piece.sources for _, source, _ in places):
                notes.add("image without a text", places[0][0])


def _place(name: str, text_name: str) -> tuple[str, str, str | None]:
    """Id, source and label that an image's path gives; the name of its text file tells the source where it must."""
    match = PLACE.search(name)
    row_id = match[1] if match else name
    top = row_id.split("/")[0]
    if top in TRAIN_LABELS:
        return row_id, top, TRAIN_LABELS[top]
    folder = CLASS_FOLDER.search(name)
    text = REASONING.search(text_name)
    fallback = text["source"] if text else "unknown"
    if folder is None:
        return row_id, fallback, TRAIN_LABELS.get(fallback)
    return row_id, folder["source"] or fallback, LABELS[folder["label"]]


def plain_generator(generator: str) -> str:
    """Name of a generator as `GENERATORS` spells it, from the name of its folder."""
    plain = re.sub(r"[\s_-]", "", generator.lower())
    return SPELLINGS.get(plain, plain)


__all__ = ["CARD", "GENERATORS", "MMFR", "MMFRConfig", "plain_generator"]
