"""The card of an exported corpus: metadata that makes plain `load_dataset` work, and what people must know.

The text stands between two marks, so that a later export replaces it and leaves what others wrote around it alone.
"""

import json
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import datasets
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard, DatasetCardData

from .corpus import CorpusBuilder
from .features import LABEL_NAMES
from .notes import Notes

CARD_FILE = "README.md"
SHARD_FOLDER = "data"
TAGS = ("forgescope", "image-forensics")
TEMPLATE = "dataset_card.md"
BEGIN = "<!-- written by forgescope, replaced by the next export; fingerprint {} -->"
END = "<!-- end of what forgescope wrote -->"
SECTION = re.compile(f"{BEGIN.format(r'(?P<fingerprint>[0-9a-f]+)')}.*?{END}", re.DOTALL)
# Replaced by an export; every other entry of an existing card stays.
OWN_METADATA = ("configs", "dataset_info")
# Sources listed in the card; a corpus with more is not a list of sources.
MAX_SOURCES = 50


@dataclass(frozen=True)
class ExportFacts:
    """What a card says of the shards.

    Args:
        rows: split -> rows.
        labels: split -> label -> rows.
        sources: source -> rows.
        notes: what the readers met.
        options: options that the corpus was read with, `config` among them where it was named.
        rows_per_group: rows of a row group.
        fingerprint: of the files and options.
    """

    rows: dict[str, int]
    labels: dict[str, dict[str, int]]
    sources: dict[str, int]
    notes: Notes
    options: dict[str, Any]
    rows_per_group: int
    fingerprint: str


def export_card(builder: CorpusBuilder, facts: ExportFacts, place: str) -> DatasetCard:
    """Card of an export.

    Args:
        builder: builder that was prepared.
        facts: what was written.
        place: what `load_dataset` is called with: a folder or a Hub id.
    """
    card = DatasetCard.from_template(
        _metadata(builder, facts),
        template_str=(files(__package__) / TEMPLATE).read_text(encoding="utf-8"),
        begin=BEGIN.format(facts.fingerprint),
        end=END,
        card=builder.CARD,
        place=place,
        call=_call(builder.dataset_name, facts.options),
        rows_per_group=facts.rows_per_group,
        label_names=LABEL_NAMES,
        mask_ids=builder.mask_ids(),
        columns={name: _in_words(feature) for name, feature in builder.info.features.items()},
        rows=facts.rows,
        labels=facts.labels,
        sources=facts.sources if len(facts.sources) <= MAX_SOURCES else {},
        notes=_note_cells(facts.notes, builder.config.data_dir),
    )
    card.text = f"{card.text.rstrip()}\n"
    return card


def merge_card(card: DatasetCard, existing: DatasetCard | None) -> DatasetCard:
    """The new card within an existing one: foreign text and metadata stay.

    Args:
        card: card of the export.
        existing: card that is there already.
    """
    if existing is None:
        return card
    data = existing.data
    for key in OWN_METADATA:
        data[key] = card.data[key]
    for key in ("license", "pretty_name"):
        data[key] = data.get(key) or card.data.get(key)
    tags = list(data.get("tags") or [])
    data["tags"] = tags + [tag for tag in TAGS if tag not in tags]
    section = card.text.strip()
    if SECTION.search(existing.text):
        existing.text = SECTION.sub(lambda _: section, existing.text, count=1)
    else:
        existing.text = f"{existing.text.rstrip()}\n\n{section}\n".lstrip("\n")
    return existing


def read_fingerprint(folder: Path) -> str | None:
    """Fingerprint of the export in a folder; None where there is none of ours."""
    card = folder / CARD_FILE
    found = SECTION.search(card.read_text(encoding="utf-8", errors="replace")) if card.is_file() else None
    return found["fingerprint"] if found else None


def _metadata(builder: CorpusBuilder, facts: ExportFacts) -> DatasetCardData:
    card, config = builder.CARD, builder.config.name
    data_files = [{"split": split, "path": f"{SHARD_FOLDER}/{split}-*"} for split in facts.rows]
    data = DatasetCardData(
        license=card.licence,
        pretty_name=card.title,
        tags=list(TAGS),
        configs=[{"config_name": config, "data_files": data_files}],
    )
    DatasetInfosDict({config: builder.info}).to_dataset_card_data(data)
    return data


def _call(name: str, options: dict[str, Any]) -> str:
    """Arguments of the call of `load_corpus` that gives the same rows."""
    given = [f"{key}={json.dumps(value) if isinstance(value, str) else repr(value)}" for key, value in options.items()]
    return ", ".join([json.dumps(name), "data_dir=...", *given])


def _in_words(feature: Any) -> str:
    """Type of a column as a reader of the card understands it."""
    if isinstance(feature, datasets.Image):
        kind = "image" if feature.mode is None else f"image of mode {feature.mode}"
        return kind if feature.decode else f"{kind}, as the bytes of its file"
    if isinstance(feature, datasets.ClassLabel):
        return "class: " + ", ".join(f"{number} = {name}" for number, name in enumerate(feature.names))
    if isinstance(feature, datasets.Value):
        return feature.dtype
    if isinstance(feature, dict):
        return "; ".join(f"`{name}`: {_in_words(inner)}" for name, inner in feature.items())
    inner = getattr(feature, "feature", None)
    return type(feature).__name__ if inner is None else f"list of ({_in_words(inner)})"


def _note_cells(notes: Notes, data_dir: str) -> dict[str, dict[str, Any]]:
    """Notes as cells of a table: one line each, and no path of this machine."""
    cells = {}
    for kind, found in notes.to_dict().items():
        example = found["examples"][0].replace(data_dir.rstrip("/") + "/", "")
        cells[kind] = {"count": found["count"], "example": " ".join(example.replace("|", "\\|").split())}
    return cells


__all__ = ["CARD_FILE", "SHARD_FOLDER", "ExportFacts", "export_card", "merge_card", "read_fingerprint"]
