"""OpenAI-4o T2I human preference, by Rapidata: GPT-4o's images, each beside one of another generator.

Layout: Parquet files of comparisons with the columns `prompt`, `image1`, `image2`, `model1`, `model2` and the votes of
people. Both sides are generated, and GPT-4o may stand on either: `model1` and `model2` say whose image it is, and
GPT-4o's name there begins with `4o`. It meets every other generator with the same prompts, so that its images come
again and again: the first comparison of each prompt is taken unless told otherwise. That a generator made one image
for each prompt follows from the publisher's own addresses of them.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar, Literal, NamedTuple

import datasets

from .corpus import CorpusBuilder, CorpusCard, canonical_features, cut_into_pieces
from .format_alignment import AlignedConfig, aligned_rows
from .notes import Notes
from .parquet_rows import cell_bytes, parquet_columns, parquet_rows
from .pixels import checked_bytes

SIDES = ("1", "2")
COLUMNS = {"prompt", *(f"{kind}{side}" for kind in ("image", "model") for side in SIDES)}
GPT_4O = "4o"
EVERY_MODEL = "all"
REPEATS = ("first", "all")

CARD = CorpusCard(
    title="OpenAI-4o T2I human preference",
    description="Images that GPT-4o made from prompts, which people compared with images of other generators.",
    homepage="https://huggingface.co/datasets/Rapidata/OpenAI-4o_t2i_human_preference",
    licence="cdla-permissive-2.0",
    terms="CDLA-Permissive-2.0 on its publisher's page.",
    citation="""@misc{rapidata2025openai4o,
  title={OpenAI-4o T2I Human Preference},
  author={Rapidata},
  year={2025},
  howpublished={https://huggingface.co/datasets/Rapidata/OpenAI-4o_t2i_human_preference}
}""",
    labels="`label`: every image is fake (1), those of the other generators too. No masks.",
)


@dataclass
class OpenAI4oConfig(AlignedConfig):
    """Options of the comparisons.

    Args:
        model: only images of generators whose names begin so, in any case; "all" for every generator.
        repeats: "first": the first image of each generator and prompt; "all": that of every comparison.
    """

    model: str = GPT_4O
    repeats: Literal["first", "all"] = "first"


class _Side(NamedTuple):
    table: str
    row: int
    side: str
    model: str


class OpenAI4o(CorpusBuilder):
    """Rows: `image`, `label` (fake), `mask` (None), `id`, `source` (the generator's name as written), `prompt`.

    `id` is `<Parquet file>#<row>.<1 or 2>`.
    """

    BUILDER_CONFIG_CLASS = OpenAI4oConfig
    BUILDER_CONFIGS: ClassVar[list[datasets.BuilderConfig]] = [OpenAI4oConfig(name="default")]
    CARD = CARD
    EXPECTED = f"Parquet files with the columns {', '.join(sorted(COLUMNS))}"

    def features(self) -> datasets.Features:
        """The canonical columns and the prompt."""
        return canonical_features(prompt=datasets.Value("string"))

    def splits(self, notes: Notes) -> dict[str, list[Any]]:
        """`train`, as published: sides of comparisons, in their order.

        Raises:
            ValueError: unknown option, or no image of the wanted generator.
        """
        if self.config.repeats not in REPEATS:
            raise ValueError(f"unknown repeats {self.config.repeats!r}: expected {', '.join(REPEATS)}")
        wanted = "" if self.config.model == EVERY_MODEL else self.config.model.lower()
        sides, models, seen = [], Counter[str](), set()
        for table in self._tables(notes):
            for number, row in parquet_rows(self.files, table, ["prompt", *(f"model{side}" for side in SIDES)]):
                for side in SIDES:
                    model = row[f"model{side}"] or ""
                    models[model] += 1
                    if not model.lower().startswith(wanted):
                        continue
                    if self.config.repeats == "first" and (model, row["prompt"]) in seen:
                        notes.add("image of a generator and prompt that stood before, left out", f"{table}#{number}")
                        continue
                    seen.add((model, row["prompt"]))
                    sides.append(_Side(table, number, side, model))
        if models and not sides:
            raise ValueError(f"no generator's name begins with {self.config.model!r}: found {', '.join(models)}")
        return {"train": cut_into_pieces(sides)}

    def facts(self, item: _Side) -> dict[str, str]:
        """Id, label and source, from the columns of names."""
        own = item.table.rpartition("/")[2]
        return {"id": f"{own}#{item.row}.{item.side}", "label": "fake", "source": item.model}

    def rows(self, piece: list[_Side], notes: Notes) -> Iterator[dict[str, Any]]:
        """A row a side."""
        for table, group in groupby(piece, key=lambda item: item.table):
            items: dict[int, list[_Side]] = {}
            for item in group:
                items.setdefault(item.row, []).append(item)
            images = sorted({f"image{item.side}" for some in items.values() for item in some})
            for number, row in parquet_rows(self.files, table, ["prompt", *images], wanted=items):
                for item in items[number]:
                    facts = self.facts(item)
                    data = cell_bytes(row[f"image{item.side}"]) or b""
                    checked = checked_bytes(data, facts["id"], notes, self.config.verify_images)
                    if checked is not None:
                        found = {"image": checked[0], "mask": None, "prompt": row["prompt"], **facts}
                        yield from aligned_rows(found, self.config.align_format, notes)

    def _tables(self, notes: Notes) -> list[str]:
        """Parquet files that have the columns."""
        tables = []
        for name in self.files.match(r"\.parquet$"):
            try:
                columns = parquet_columns(self.files, name)
            except ValueError as error:
                notes.add("Parquet file that cannot be read", name, str(error))
                continue
            if set(columns) >= COLUMNS:
                tables.append(name)
            else:
                notes.add("Parquet file without comparisons", name, ", ".join(columns))
        return tables


__all__ = ["CARD", "OpenAI4o", "OpenAI4oConfig"]
