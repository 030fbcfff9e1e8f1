"""The model card of a training run, beside its weights: what it started from, data, recipe, numbers and terms."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
from huggingface_hub import ModelCard
from transformers import PreTrainedModel, Trainer

from .card_families import FAMILIES, LLAMA_2, NVIDIA, family_origins
from .model_card import CARD_FILE, cell, new_card, update_metadata
from .recipe import Recipe, available_recipes
from .run_metrics import run_rows

HUB_DATASETS = "https://huggingface.co/datasets/"
NVIDIA_TERMS = {
    "license": "other",
    "license_name": "nvidia-segformer",
    "license_link": "https://github.com/NVlabs/SegFormer/blob/master/LICENSE",
}
LLAMA_TERMS = {"license": "llama2"}
# What a card takes over from that of the folder which training started from.
INHERITED = ("base_model", "license", "license_name", "license_link")


@dataclass(frozen=True)
class RunFacts:
    """What a training knows of itself beside its trainer.

    Args:
        recipe: The run's.
        base: Where the weights came from; None: random.
        data: Name of the corpus or folder.
        training: Fields of `TrainingArguments` that won over the recipe.
        hub_dataset: Hub id of the corpus, where its publisher has one.
    """

    recipe: Recipe
    base: str | None
    data: str
    training: dict[str, Any] = field(default_factory=dict)
    hub_dataset: str | None = None


def run_facts(
    recipe: Recipe, base: str | None, splits: Mapping[str, datasets.Dataset] | str | Path, training: dict[str, Any]
) -> RunFacts:
    """Facts of a run.

    Args:
        recipe: See `RunFacts`.
        base: See `RunFacts`.
        splits: The data, or the folder that they lie in; of it, the card gives the name alone.
        training: See `RunFacts`.
    """
    if isinstance(splits, (str, Path)):
        return RunFacts(recipe, base, f"folder {Path(splits).resolve().name}", training)
    info = splits["train"].info
    homepage = info.homepage or ""
    hub_dataset = homepage.removeprefix(HUB_DATASETS) if homepage.startswith(HUB_DATASETS) else None
    name = f"corpus {info.dataset_name}" if info.dataset_name else "a local folder"
    return RunFacts(recipe, base, name, training, hub_dataset)


def write_run_card(
    folder: str | Path, trainer: Trainer, model: PreTrainedModel, facts: RunFacts, metrics: dict[str, float]
) -> None:
    """Write README.md; call it only where there is none of somebody else's.

    Args:
        folder: Of the checkpoint.
        trainer: After training.
        model: The network, without wrappers.
        facts: Of the run.
        metrics: Of its last evaluation.
    """
    config, title = model.config, Path(folder).resolve().name
    tag = FAMILIES[config.model_type].pipeline_tag
    metadata = _base_metadata(config.model_type, facts.base)
    if facts.hub_dataset is not None:
        metadata["datasets"] = [facts.hub_dataset]
    rows = run_rows(metrics, config, facts.data, len(trainer.eval_dataset))
    card = new_card(model, title, rows=rows, run=run_summary(trainer, config, facts))
    update_metadata(card, title, config.model_type, tag, rows or None, metadata)
    (Path(folder) / CARD_FILE).write_text(str(card), encoding="utf-8")


def run_summary(trainer: Trainer, config: Any, facts: RunFacts) -> dict[str, Any]:
    """What the template says of a training."""
    packaged = facts.recipe.name in available_recipes()
    changes = facts.recipe.changes | {f"training.{key}": value for key, value in facts.training.items()}
    return {
        "start": _start(facts.base),
        "origins": _origins(config, facts.base),
        "data": cell(facts.data),
        "train": len(trainer.train_dataset),
        "validation": len(trainer.eval_dataset),
        "recipe": facts.recipe.name if packaged else Path(facts.recipe.name).name,
        "packaged": packaged,
        "changes": {name: _setting(value) for name, value in changes.items()},
        "steps": trainer.state.global_step,
        "seed": trainer.args.seed,
    }


def _setting(value: Any) -> str:
    """A value of a recipe; of a path, the last part, for folders of the machine are nobody's business."""
    is_path = isinstance(value, (str, Path)) and Path(value).is_absolute()
    return cell(Path(value).name if is_path else value)


def _is_hub_id(base: str) -> bool:
    return not Path(base).exists() and base.count("/") == 1 and not base.startswith((".", "/", "~"))


def _start(base: str | None) -> str:
    if base is None:
        return "random weights."
    if _is_hub_id(base):
        return f"`{base}`."
    if Path(base).exists():
        return f"weights in a local folder or file, `{Path(base).resolve().name}`."
    return f"`timm/{base}`."


def _base_metadata(model_type: str, base: str | None) -> dict[str, Any]:
    """`base_model` and licence that follow from what training started from; nothing where nothing is known."""
    if base is None:
        return {}
    metadata: dict[str, Any] = {}
    own_card = Path(base) / CARD_FILE
    if own_card.is_file():
        data = ModelCard.load(own_card, ignore_metadata_errors=True).data
        metadata = {key: data.get(key) for key in INHERITED if data.get(key)}
    elif _is_hub_id(base):
        metadata["base_model"] = base
    elif not Path(base).exists():
        metadata["base_model"] = f"timm/{base}"
    if base.startswith("nvidia/"):
        metadata |= NVIDIA_TERMS
    elif any(terms == LLAMA_2 for _, terms in FAMILIES[model_type].origins):
        metadata = LLAMA_TERMS | metadata
    return metadata


def _origins(config: Any, base: str | None) -> tuple[tuple[str, str], ...]:
    """What the weights derive from: nothing where they were random."""
    if base is None:
        return ()
    if base.startswith("nvidia/"):
        return ((f"`{base}`", NVIDIA),)
    own = (_start(base).rstrip("."), "those on its card, and of what it derives from")
    is_large = any(terms == LLAMA_2 for _, terms in FAMILIES[config.model_type].origins)
    return (own, *family_origins(config)) if is_large or _is_segformer(base) else (own,)


def _is_segformer(base: str) -> bool:
    """Whether a folder holds a SegFormer of transformers, which is NVIDIA's unless somebody trained it anew."""
    file = Path(base) / "config.json"
    return file.is_file() and json.loads(file.read_text(encoding="utf-8")).get("model_type") == "segformer"


__all__ = ["RunFacts", "run_facts", "run_summary", "write_run_card"]
