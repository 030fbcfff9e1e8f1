"""Model cards: whose text is used, and the metadata that makes a checkpoint easy to find and its numbers readable.

The text of an existing card is never changed. `forgescope evaluate --json` rows become the card's model-index, each
number with its reduction, classes, empty-mask rule and threshold.
"""

import math
import os
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.errors import EntryNotFoundError
from transformers import PreTrainedModel

from .auto import MODELS

CARD_FILE = "README.md"
TAGS = ("forgescope", "image-forensics", "forgery-localization")
ROW_KEYS = ("protocol", "source", "metric", "value")
# how a number was made; part of the model-index, so that two numbers are compared only when these agree
CONDITION_KEYS = (
    "reduction",
    "classes",
    "empty_rule",
    "threshold",
    "polarity",
    "border_ignore",
    "perturbation",
    "tolerance",
    "n",
)


def find_card(
    model: PreTrainedModel, repo_id: str, file: str | os.PathLike | None = None, token: str | None = None
) -> ModelCard:
    """Find the card to publish: `file`, else the repository's own, else the checkpoint folder's, else the template.

    Args:
        model: the model; `model.name_or_path` is the checkpoint it was loaded from.
        repo_id: an existing Hub repository.
        file: Markdown file with or without metadata.
        token: access token for the repository.

    Raises:
        ValueError: `file` does not exist.
    """
    if file is not None:
        if not Path(file).is_file():
            raise ValueError(f"no card file '{file}'")
        return ModelCard.load(Path(file))
    try:
        return ModelCard.load(repo_id, token=token)
    except EntryNotFoundError:
        own = Path(model.name_or_path) / CARD_FILE
        return ModelCard.load(own) if own.is_file() else _template_card(model, repo_id)


def update_metadata(
    card: ModelCard,
    repo_id: str,
    model_type: str,
    pipeline_tag: str,
    metrics: list[dict[str, Any]] | None = None,
    metadata: dict[str, Any] | None = None,
) -> None:
    """Complete the metadata of a card in place.

    Args:
        card: the card; entries it has stay, unless `metadata` names them.
        repo_id: the repository; its name is the model's in the model-index of a card that gives none.
        model_type: becomes a tag.
        pipeline_tag: the task, such as "image-segmentation".
        metrics: rows of `forgescope evaluate --json`; they replace the card's model-index. None keeps it.
        metadata: entries to set, such as `license`, `base_model` or `datasets`.

    Raises:
        ValueError: a row that lacks one of `ROW_KEYS`.
    """
    data = card.data
    for key, value in (metadata or {}).items():
        data[key] = value
    data["library_name"] = data.get("library_name", "transformers")
    data["pipeline_tag"] = data.get("pipeline_tag", pipeline_tag)
    tags = list(data.get("tags", []))
    data["tags"] = tags + [tag for tag in (*TAGS, model_type) if tag not in tags]
    if metrics is not None:
        data["model_name"] = data.get("model_name", repo_id.rpartition("/")[2])
        data["eval_results"] = eval_results(metrics, pipeline_tag)
        data["metrics"] = sorted({result.metric_type for result in data["eval_results"]})


def eval_results(rows: list[dict[str, Any]], task_type: str) -> list[EvalResult]:
    """Turn rows of `forgescope evaluate --json` into entries of a model-index; undefined values are left out.

    Args:
        rows: objects with at least `protocol`, `source`, `metric` and `value`; see docs/hub.md.
        task_type: the task, such as "image-segmentation".

    Raises:
        ValueError: a row that is no object or lacks a required key.
    """
    results = []
    for number, row in enumerate(rows, start=1):
        lacking = [key for key in ROW_KEYS if not isinstance(row, dict) or key not in row]
        if lacking:
            raise ValueError(
                f"metrics row {number} lacks {', '.join(lacking)}: expected the rows that "
                "`forgescope evaluate --json` writes"
            )
        if row["value"] is None or not math.isfinite(row["value"]):
            continue
        results.append(
            EvalResult(
                task_type=task_type,
                dataset_type=_identifier(row["source"]),
                dataset_name=row["source"],
                dataset_config=row["protocol"],
                metric_type=row["metric"],
                metric_value=row["value"],
                metric_name=_metric_name(row),
                metric_args={key: row[key] for key in CONDITION_KEYS if row.get(key) is not None},
            )
        )
    return results


def _metric_name(row: dict[str, Any]) -> str:
    conditions = [str(row[key]) for key in ("reduction", "classes") if row.get(key) is not None]
    return f"{row['metric']} ({', '.join(conditions)})" if conditions else row["metric"]


def _identifier(name: str) -> str:
    """Letters, digits, dot, dash and underscore, which is what the Hub accepts as a dataset type."""
    return re.sub(r"[^\w.-]+", "-", name.strip().lower(), flags=re.ASCII).strip("-") or "unnamed"


def _template_card(model: PreTrainedModel, repo_id: str) -> ModelCard:
    template = files("forgescope") / "templates" / "model_card.md"
    return ModelCard.from_template(
        ModelCardData(),
        template_str=template.read_text(encoding="utf-8"),
        repo_id=repo_id,
        class_name=type(model).__name__,
        parameters=f"{model.num_parameters() / 1e6:.1f} million",
        config=model.config,
        task=MODELS[model.config.model_type].pipeline_tag,
    )
