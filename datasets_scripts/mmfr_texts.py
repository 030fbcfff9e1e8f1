"""What the text files of MMFR say of an image: a conversation, or descriptions of attributes."""

import re
from typing import Any

from .notes import Notes

CONCLUSION = re.compile(r"<CONCLUSION>(.*?)(?:</CONCLUSION>|$)", re.DOTALL | re.IGNORECASE)
# The five attributes of fake images, and the five of photographs.
ATTRIBUTES = (
    "Inconsistent Lighting and Shadows",
    "Irregular Image Edges",
    "Anomalous Image Texture",
    "Low Image Quality",
    "Semantic Irrationality",
    "Consistent Lighting and Shadows",
    "Smooth and Natural Image Edges",
    "Natural and Consistent Image Texture",
    "High Image Quality",
    "Semantic Rationality",
)
# Characters of a broken entry shown in notes.
MAX_SHOWN = 80


def cot_texts(value: Any, notes: Notes) -> dict[str, Any] | None:
    """Image path, question and answer of an entry of forgery_reasoning_cot.json; None, with a note, without them."""
    turns = value.get("conversations") if isinstance(value, dict) else None
    image = value.get("image") if isinstance(value, dict) else None
    question, answer = _turn(turns, "human"), _turn(turns, "gpt")
    if not isinstance(image, str) or question is None or answer is None:
        notes.add("conversation without image, question or answer, skipped", str(image or value)[:MAX_SHOWN])
        return None
    return {"image": image, "reasoning": None, "question": question, "answer": answer}


def annotation_texts(key: str, value: Any, notes: Notes) -> dict[str, Any] | None:
    """Image path and attributes of an entry of *_reasoning.json, sorted as the authors' script joins them."""
    if value is not None and not isinstance(value, dict):
        notes.add("attributes that are no object, skipped", key, str(value)[:MAX_SHOWN])
        return None
    reasoning = []
    for attribute, text in sorted((value or {}).items()):
        if attribute not in ATTRIBUTES:
            notes.add("attribute outside the ten", key, attribute)
        if text is None:
            continue
        if isinstance(text, str):
            reasoning.append({"attribute": attribute, "text": text})
        else:
            notes.add("attribute whose value is no text, left out", key, f"{attribute}: {text}")
    if not reasoning:
        notes.add("image without any attribute", key)
    return {"image": key, "reasoning": reasoning, "question": None, "answer": None}


def _turn(turns: Any, speaker: str) -> str | None:
    """What a speaker says first in a conversation."""
    for turn in turns if isinstance(turns, list) else ():
        if isinstance(turn, dict) and turn.get("from") == speaker and isinstance(turn.get("value"), str):
            return turn["value"]
    return None


def concluded_label(answer: str | None) -> str | None:
    """Label that an answer's conclusion gives, by the authors' rule: `fake` where the word stands in it."""
    match = CONCLUSION.search(answer or "")
    if match is None:
        return None
    return "fake" if "fake" in match[1].lower() else "real"


__all__ = ["ATTRIBUTES", "annotation_texts", "concluded_label", "cot_texts"]
