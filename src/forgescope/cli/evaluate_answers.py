"""What evaluations have in common whose answers are kept in a file: where it is, and the encoder of texts."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forgescope.evaluation.text_scores import TextEmbedder

# Where answers are kept without --answers: beside the rows.
ANSWERS_SUFFIX = ".answers.jsonl"


def answers_file(answers: Path | None, json_file: Path | None, model: str | None) -> Path:
    """Choose the file of the answers.

    Args:
        answers: that of the user.
        json_file: that of the rows, beside which answers are kept else.
        model: checkpoint that is asked; None: none is.

    Raises:
        ValueError: there is nobody to ask and no file, or no place for answers.
    """
    if model is None and answers is None:
        raise ValueError("MODEL is missing: name a checkpoint, or --answers FILE with the answers of another system")
    file = answers or (json_file and json_file.with_suffix(ANSWERS_SUFFIX))
    if file is None:
        raise ValueError("give --answers FILE or --json FILE: the answers are kept there, and a stopped run goes on")
    return file


def load_embedder(name: str | None, device: str | None) -> "TextEmbedder | None":
    """Load the text encoder of CSS; None: no CSS is wanted.

    Raises:
        ValueError: there is no such encoder.
    """
    if name is None:
        return None
    from forgescope.evaluation.text_encoders import load_text_encoder

    return load_text_encoder(name, device)
