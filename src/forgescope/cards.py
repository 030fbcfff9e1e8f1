"""Which card a checkpoint is published with. The text of an existing card is never changed."""

import os
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard
from huggingface_hub.errors import EntryNotFoundError
from transformers import PreTrainedModel

from forgescope.trainers.model_card import CARD_FILE, check_rows, eval_results, new_card, update_metadata


def check_given(file: str | os.PathLike | None, metrics: list[dict[str, Any]] | None) -> None:
    """Refuse what no card can be made of.

    Args:
        file: Markdown file with or without metadata.
        metrics: rows as `forgescope evaluate --json` writes them.

    Raises:
        ValueError: `file` does not exist, or a row of `metrics` is incomplete or has no number.
    """
    if file is not None and not Path(file).is_file():
        raise ValueError(f"no card file '{file}'")
    check_rows(metrics or [])


def find_card(
    model: PreTrainedModel,
    repo_id: str,
    file: str | os.PathLike | None = None,
    token: str | None = None,
    metrics: list[dict[str, Any]] | None = None,
) -> ModelCard:
    """Find the card to publish: `file`, else the repository's own, else the checkpoint folder's, else the template.

    Args:
        model: the model; `model.name_or_path` is the checkpoint it was loaded from.
        repo_id: an existing Hub repository.
        file: Markdown file with or without metadata.
        token: access token for the repository.
        metrics: rows that the template shows.

    Raises:
        ValueError: `file` does not exist, or a row of `metrics` is incomplete.
    """
    check_given(file, metrics)
    if file is not None:
        return ModelCard.load(Path(file))
    try:
        return ModelCard.load(repo_id, token=token)
    except EntryNotFoundError:
        own = Path(model.name_or_path) / CARD_FILE
        return ModelCard.load(own) if own.is_file() else new_card(model, repo_id, place=repo_id, rows=metrics)


__all__ = ["CARD_FILE", "check_given", "eval_results", "find_card", "update_metadata"]
