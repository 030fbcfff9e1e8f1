"""Model cards: one template for every family, and the metadata that makes a checkpoint's numbers readable.

Rows of an evaluation become the card's table and its model-index, each number with its reduction, classes, empty-mask
rule and threshold.
"""

import math
import re
from importlib.resources import files
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from transformers import PreTrainedModel

from .card_citations import FORGESCOPE
from .card_families import COMMON_LIMITS, FAMILIES, family_origins

CARD_FILE = "README.md"
TEMPLATE = "model_card.md"
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
# Rows in the text; the metadata have all.
MAX_ROWS = 40
# Digits of a number in the text.
DIGITS = 4


def new_card(
    model: PreTrainedModel,
    title: str,
    place: str | None = None,
    rows: list[dict[str, Any]] | None = None,
    run: dict[str, Any] | None = None,
) -> ModelCard:
    """Fill the template; its metadata are empty still, see `update_metadata`.

    Args:
        model: the model; its configuration names the family.
        title: heading.
        place: repository of the checkpoint; None: the card lies in the checkpoint's folder.
        rows: rows of `forgescope evaluate --json`, or of `run_rows`.
        run: what is known of the training (`run_card.run_summary`), or None.

    Raises:
        ValueError: a row that lacks one of `ROW_KEYS`.
    """
    config, given = model.config, rows or []
    family = FAMILIES[config.model_type]
    check_rows(given)
    card = ModelCard.from_template(
        ModelCardData(),
        template_str=(files(__package__) / TEMPLATE).read_text(encoding="utf-8"),
        title=title,
        place=place or ".",
        published=place is not None,
        class_name=type(model).__name__,
        parameters=f"{model.num_parameters() / 1e6:.1f} million",
        config=config,
        family=family,
        task=family.pipeline_tag,
        run=run,
        rows=[_cells(row) for row in given[:MAX_ROWS]],
        more_rows=max(len(given) - MAX_ROWS, 0),
        limits=(*family.limits, *COMMON_LIMITS),
        origins=family_origins(config) if run is None else run["origins"],
        citation=FORGESCOPE,
    )
    card.text = f"{card.text.rstrip()}\n"
    return card


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
    check_rows(rows)
    results = []
    for row in rows:
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


def check_rows(rows: list[dict[str, Any]]) -> None:
    """Refuse rows that are none of an evaluation.

    Raises:
        ValueError: a row that is no object, lacks one of `ROW_KEYS`, or whose value is neither a number nor null.
    """
    for number, row in enumerate(rows, start=1):
        lacking = [key for key in ROW_KEYS if not isinstance(row, dict) or key not in row]
        wrong = f"lacks {', '.join(lacking)}" if lacking else ""
        if not lacking and not isinstance(row["value"], int | float | None):
            wrong = f"has the value {row['value']!r}, which is no number"
        if wrong:
            raise ValueError(
                f"metrics row {number} {wrong}: expected the rows that `forgescope evaluate --json` writes"
            )


def _cells(row: dict[str, Any]) -> dict[str, str]:
    """A row as cells of a table."""
    keys = (*ROW_KEYS, "n", "reduction", "classes", "empty_rule", "threshold")
    return {key: cell(row.get(key)) for key in keys}


def cell(value: Any) -> str:
    """A value as a cell of a Markdown table: one line, and no bar."""
    if value is None:
        return "none"
    text = f"{round(value, DIGITS)}" if isinstance(value, float) and abs(value) >= 10**-DIGITS else str(value)
    return " ".join(text.replace("|", "\\|").split())


__all__ = ["CARD_FILE", "cell", "check_rows", "eval_results", "new_card", "update_metadata"]
