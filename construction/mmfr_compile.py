"""From described images to the text files of MMFR.

    OUT/forgery_reasoning_cot.json            OUT/SOURCE/SOURCE_reasoning.json
    OUT/SOURCE/0_real/00000000.jpg            OUT/SOURCE/1_fake/00000001.png

`load_corpus("mmfr", OUT)` reads the first file, `config="annotations"` the others.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .line_log import write_json
from .mmfr_attributes import ATTRIBUTES

COT_FILE = "forgery_reasoning_cot.json"
IMAGE_TOKEN = "<image>"
REASONING = re.compile(r"<REASONING>(.*?)</REASONING>", re.DOTALL)

# (caption, low-level sentences, high-level sentences, label) -> the answer in four stages
BuildText = Callable[[str, str, str, Any], str]


def compile_answer(row: dict[str, Any], build_text: BuildText) -> str:
    """The answer about one image, its descriptions split into low and high level (section 3.2).

    Args:
        row: of metadata.jsonl, with `caption`, `attributes` and `label`.
        build_text: makes the text of caption, low-level and high-level sentences, and label.
    """
    texts = {entry["attribute"]: entry["text"] for entry in row["attributes"]}
    found = [attribute for attribute in ATTRIBUTES[row["label"]] if attribute.name in texts]
    low = [texts[attribute.name] for attribute in found if attribute.is_low_level]
    high = [texts[attribute.name] for attribute in found if not attribute.is_low_level]
    return build_text(row["caption"], " ".join(low), " ".join(high), row["label"])


def write_texts(out: Path, rows: list[dict[str, Any]], question: str, answers: list[str]) -> None:
    """Write all text files, each atomically.

    Args:
        out: the folder.
        rows: of metadata.jsonl.
        question: what the answers answer.
        answers: one a row.
    """
    conversations = [
        {
            "id": row["id"],
            "image": row["file_name"],
            "conversations": [
                {"from": "human", "value": f"{IMAGE_TOKEN}\n{question}"},
                {"from": "gpt", "value": answer},
            ],
        }
        for row, answer in zip(rows, answers, strict=True)
    ]
    write_json(out / COT_FILE, conversations)
    by_source: dict[str, dict[str, Any]] = {}
    for row in rows:
        texts = {entry["attribute"]: entry["text"] for entry in row["attributes"]}
        by_source.setdefault(row["source"], {})[row["file_name"]] = {
            attribute.name: texts.get(attribute.name) for attribute in ATTRIBUTES[row["label"]]
        }
    for source, entries in by_source.items():
        write_json(annotations_file(out, source), entries)


def annotations_file(out: Path, source: str) -> Path:
    """Where the descriptions of a source's images stand."""
    return out / source / f"{source}_reasoning.json"


def reasoning_of(answer: str) -> str:
    """The reasoning stage of an answer; "" without one."""
    match = REASONING.search(answer)
    return match[1].strip() if match else ""


__all__ = [
    "COT_FILE",
    "IMAGE_TOKEN",
    "BuildText",
    "annotations_file",
    "compile_answer",
    "reasoning_of",
    "write_texts",
]
