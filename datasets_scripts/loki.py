"""LOKI, its image part: explained artifacts in boxes, and questions that tell real from fake.

Layout: the annotations of the repository, `data_json/image/open_ended_vqa.json` and `true_or_false.json`, and the
images of the published zip, `media_data/image/*`. Both are looked for anywhere below `data_dir`; images are found by
`image_path`, else by its last part.

`open_ended_vqa.json` (229 images, the set that LEGION evaluates on) is UTF-16 with a byte-order mark: a list of
`{"image_path", "problems": {"regional": [{"region": [x, y, width, height], "desc"}], "global": [{"desc"}]}}`. Regions
are boxes, so masks are rectangles. That all its images are fake, and that boxes are in pixels of the image, follows
from how others use it.

`true_or_false.json` asks two questions of opposite sense about each image. `question_type`, such as
`image_tf_image_real_ask_fake_doc`, holds the truth, what is asked and the category; the answer must agree with it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import datasets

from .corpus import CorpusBuilder, CorpusCard, CorpusConfig, PaperCount, canonical_features, cut_into_pieces
from .json_text import read_json_list
from .notes import Notes
from .pixels import checked_image, is_image_name, stored_mask
from .polygons import fill_boxes, usable_box
from .process_memory import ProcessMemory

ANNOTATIONS = {"open_ended": "open_ended_vqa.json", "true_or_false": "true_or_false.json"}
# The other modalities of LOKI have files of the same names.
OTHER_MODALITIES = re.compile(r"(?:^|/)(?:video|3d|audio|text)/[^/]+$", re.IGNORECASE)
QUESTION_TYPE = re.compile(r"^image_tf_image_(?P<truth>real|fake)_ask_(?P<asked>real|fake)_(?P<category>\w+)$")
ANSWERS = {"yes": True, "no": False}
OPPOSITE = {"real": "fake", "fake": "real"}
MISSPELT_CATEGORIES = {"sence": "scene"}
QUESTION_FIELDS = ("id", "question", "question_type", "answer")
SPLIT = "test"
SOURCE = "loki"

CARD = CorpusCard(
    title="LOKI",
    description=(
        "The images of a benchmark for large multimodal models: generated images whose artifacts people marked by "
        "boxes and described, and questions whether an image is real."
    ),
    homepage="https://huggingface.co/datasets/bczhou/LOKI",
    licence="unknown",
    terms="See the card of the publisher; not verified here.",
    citation="""@article{ye2024loki,
  title={LOKI: A Comprehensive Synthetic Data Detection Benchmark using Large Multimodal Models},
  author={Ye, Junyan and Zhou, Baichuan and Huang, Zilong and Zhang, Junan and Bai, Tianyi and Kang, Hengrui and
    He, Jun and Lin, Honglin and Wang, Zihao and Wu, Tong and others},
  journal={arXiv preprint arXiv:2410.09732},
  year={2024}
}""",
    labels="`label`: real (0), fake (1). `mask`: 1 = a box around an artifact; None in `true_or_false`.",
    paper_counts=(PaperCount(SPLIT, "rows", 229, "LEGION, Table 1"),),
)
TRUE_OR_FALSE_COUNTS = (
    PaperCount(SPLIT, "real", 900, "count of the released true_or_false.json"),
    PaperCount(SPLIT, "fake", 1_317, "count of the released true_or_false.json"),
)


@dataclass
class LokiConfig(CorpusConfig):
    """Options of LOKI.

    Args:
        questions: add the questions themselves to the rows of `true_or_false`.
    """

    questions: bool = False


@dataclass(frozen=True)
class Part:
    """Some images of an annotation file, by their numbers."""

    annotations: str
    places: list[int]


class Loki(CorpusBuilder):
    """Rows: the canonical columns, then by configuration.

    - `open_ended`: `mask` of the boxes; `regions`, each `explanation` and `bbox` (`[x, y, width, height]`, pixels);
      `global_explanations`, texts on the whole image. Several entries of one image give several rows.
    - `true_or_false`: a row an image; `category`; with `questions=True` also `questions`.

    `id` is `image_path` as written.
    """

    BUILDER_CONFIG_CLASS = LokiConfig
    BUILDER_CONFIGS: ClassVar[list[datasets.BuilderConfig]] = [LokiConfig(name=name) for name in ANNOTATIONS]
    DEFAULT_CONFIG_NAME = "open_ended"
    CARD = CARD
    EXPECTED = "open_ended_vqa.json or true_or_false.json of LOKI's data_json/image, and media_data/image or its zip"

    def __init__(self, *args: Any, **kwargs: Any):
        self._memory = ProcessMemory()
        super().__init__(*args, **kwargs)
        if self.config.name == "true_or_false":
            self.__dict__["CARD"] = replace(CARD, paper_counts=TRUE_OR_FALSE_COUNTS)

    def features(self) -> datasets.Features:
        """Columns of the configuration."""
        text = datasets.Value("string")
        if self.config.name == "open_ended":
            region = {"explanation": text, "bbox": datasets.List(datasets.Value("float64"))}
            return canonical_features(regions=datasets.List(region), global_explanations=datasets.List(text))
        questions = {"questions": datasets.List(dict.fromkeys(QUESTION_FIELDS, text))} if self.config.questions else {}
        return canonical_features(category=text, **questions)

    def splits(self, notes: Notes) -> dict[str, list[Any]]:
        """`test`: numbers of images.

        Raises:
            ValueError: the JSON file is damaged or no list.
        """
        wanted = ANNOTATIONS[self.config.name]
        names = self.files.match(rf"(?:^|/){re.escape(wanted)}$")
        names = sorted((name for name in names if not OTHER_MODALITIES.search(name)), key=lambda name: len(name))
        if not names:
            return {}
        for name in names[1:]:
            notes.add("further annotations, left out", name)
        return {SPLIT: [Part(names[0], some) for some in cut_into_pieces(list(range(len(self._images(names[0])))))]}

    def rows(self, piece: Part, notes: Notes) -> Iterator[dict[str, Any]]:
        """A row an image."""
        images = self._images(piece.annotations)
        for place in piece.places:
            path, entries = images[place]
            if not path:
                notes.add("entry without image_path", f"{piece.annotations} entry {entries[0]}")
                continue
            values = self._judged(path, entries, notes) if self.config.name == "true_or_false" else {}
            if values is None:
                continue
            checked = checked_image(self.files, self._find(path), notes, self.config.verify_images)
            if checked is None:
                continue
            image, size = checked
            if self.config.name == "open_ended":
                values = self._explained(path, entries[0], size, notes)
            yield {"image": image, "id": path, "source": SOURCE, **values}

    def _explained(self, path: str, entry: dict[str, Any], size: tuple[int, int], notes: Notes) -> dict[str, Any]:
        """Mask, regions and texts of an image of `open_ended`."""
        problems = entry.get("problems")
        if not isinstance(problems, dict):
            notes.add("entry without problems", path)
            problems = {}
        regions: list[dict[str, Any]] = []
        for number, region in enumerate(_objects(problems.get("regional"), f"{path} regional", notes)):
            item = f"{path}:{number}"
            box = usable_box(region.get("region"), size, item, notes)
            if box is None:
                notes.add("region without a usable box, left out", item)
                continue
            if not (region.get("desc") or "").strip():
                notes.add("empty desc", item)
            regions.append({"explanation": region.get("desc") or "", "bbox": box})
        if not regions:
            notes.add("image without a usable region", path)
        texts = [one.get("desc") or "" for one in _objects(problems.get("global"), f"{path} global", notes)]
        mask = stored_mask(fill_boxes([region["bbox"] for region in regions], size)) if regions else None
        return {"label": "fake", "mask": mask, "regions": regions, "global_explanations": texts}

    def _judged(self, path: str, entries: list[dict[str, Any]], notes: Notes) -> dict[str, Any] | None:
        """Label and category of an image of `true_or_false`; None where its questions do not tell."""
        truths, categories = [], []
        for entry in entries:
            written = str(entry.get("question_type"))
            match = QUESTION_TYPE.match(written)
            answer = ANSWERS.get(str(entry.get("answer")).strip().rstrip(".").lower())
            if match is None or answer is None:
                kind = "question type that cannot be read" if match is None else "answer that is neither yes nor no"
                notes.add(kind, path, written if match is None else str(entry.get("answer"))[:60])
                continue
            if (match["asked"] if answer else OPPOSITE[match["asked"]]) != match["truth"]:
                notes.add("answer that contradicts its question type", path, f"{written}: {entry.get('answer')}")
                continue
            truths.append(match["truth"])
            categories.append(match["category"])
        if len(set(truths)) != 1:
            kind = "image whose questions contradict each other" if truths else "image without a usable question"
            notes.add(f"{kind}, left out", path)
            return None
        category = categories[0]
        if category in MISSPELT_CATEGORIES:
            notes.add(f"category {category} read as {MISSPELT_CATEGORIES[category]}", path)
        row = {"label": truths[0], "mask": None, "category": MISSPELT_CATEGORIES.get(category, category)}
        if self.config.questions:
            row["questions"] = [{name: _text(entry.get(name)) for name in QUESTION_FIELDS} for entry in entries]
        return row

    def _images(self, name: str) -> list[tuple[str, list[Any]]]:
        """Path and entries of every image of an annotation file; entries without a path each stand alone."""

        def group() -> list[tuple[str, list[Any]]]:
            images: list[tuple[str, list[Any]]] = []
            seen: dict[str, list[Any]] = {}
            for number, entry in enumerate(read_json_list(self.files, name)):
                path = entry.get("image_path") if isinstance(entry, dict) else None
                if not isinstance(path, str) or not path:
                    images.append(("", [number]))
                elif path in seen and self.config.name == "true_or_false":
                    seen[path].append(entry)
                else:
                    seen[path] = [entry]
                    images.append((path, seen[path]))
            return images

        return self._memory.get(name, group)

    def _find(self, path: str) -> str:
        """Name in the corpus of the image of a path."""
        if path in self.files:
            return path

        def table() -> dict[str, str]:
            return {_last_part(name): name for name in reversed(self.files.names()) if is_image_name(name)}

        return self._memory.get("files", table).get(_last_part(path), path)


def _objects(values: Any, where: str, notes: Notes) -> list[dict[str, Any]]:
    """The objects of a list; what else is there is counted."""
    found = values if isinstance(values, list) else [] if values is None else [values]
    for value in found:
        if not isinstance(value, dict):
            notes.add("problem that is no object", where, str(value)[:60])
    return [value for value in found if isinstance(value, dict)]


def _last_part(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


__all__ = ["CARD", "Loki", "LokiConfig"]
