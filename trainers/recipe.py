"""Recipes: the hyper-parameters of a paper as one YAML file, refused when a key is unknown.

A paper's ablations are named changes to its recipe, all in one file `<family>_ablations.yaml`.
"""

import copy
import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from transformers import TrainingArguments

from .augmentation import AugmentationConfig

RECIPE_FOLDER = Path(__file__).parent / "recipes"
ABLATIONS_SUFFIX = "_ablations"
Sections = dict[str, dict[str, Any]]
# YAML 1.1 reads 1e-4 as a text, and the strategy `no` as false; people write both nevertheless.
SCIENTIFIC_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
TRAINING_KEYS = frozenset(entry.name for entry in dataclasses.fields(TrainingArguments) if entry.init)
# transformers before 5.23 has the second name alone, later ones will lose it; recipes have the first
CHECKPOINTING_NAMES = ("activation_checkpointing", "gradient_checkpointing")
CHECKPOINTING = next(name for name in CHECKPOINTING_NAMES if name in TRAINING_KEYS)


@dataclass(frozen=True)
class Recipe:
    """One training run.

    Args:
        name: Name or file of the recipe.
        model: Fields of the model's configuration.
        processor: Attributes of the image processor.
        augmentation: What happens to training images: `AugmentationConfig`, or the class that the model's trainer has.
        training: Fields of `transformers.TrainingArguments`.
        data: Which images, crops and labels, where the model's trainer has such settings.
        early_stopping: When to stop, likewise.
        optimizer: What the optimizer has beyond `training`, likewise.
        start: How weights that are not loaded begin, likewise.
        tuning: Which parts of a large model are trained, likewise.
        changes: `section.key` -> value, where it is not the packaged recipe's; of a file, all of its values.
    """

    name: str
    model: dict[str, Any] = field(default_factory=dict)
    processor: dict[str, Any] = field(default_factory=dict)
    augmentation: Any = field(default_factory=AugmentationConfig)
    training: dict[str, Any] = field(default_factory=dict)
    data: Any = None
    early_stopping: Any = None
    optimizer: Any = None
    start: Any = None
    tuning: Any = None
    changes: dict[str, Any] = field(default_factory=dict)


def available_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in RECIPE_FOLDER.glob("*.yaml") if not path.stem.endswith(ABLATIONS_SUFFIX))


def available_ablations(family: str) -> dict[str, Sections]:
    """Ablations of a paper: their names, in the order of its tables, and the values that each of them changes.

    Args:
        family: Model type, such as `gamma`.
    """
    text = (RECIPE_FOLDER / f"{family}{ABLATIONS_SUFFIX}.yaml").read_text(encoding="utf-8")
    return {name: _with_numbers(sections) for name, sections in yaml.safe_load(text).items()}


def ablation_changes(family: str, name: str | None) -> Sections | None:
    """What an ablation changes in a recipe.

    Args:
        family: Model type, such as `gamma`.
        name: One of its ablations; None for none.

    Raises:
        ValueError: For an unknown ablation.
    """
    if name is None:
        return None
    ablations = available_ablations(family)
    if name not in ablations:
        raise ValueError(f"no ablation {name!r}: expected one of {', '.join(ablations)}")
    return ablations[name]


def load_recipe(
    name_or_path: str,
    model_keys: Iterable[str],
    processor_keys: Iterable[str],
    overrides: Iterable[str] = (),
    settings: Mapping[str, type] = MappingProxyType({"augmentation": AugmentationConfig}),
    changes: Sections | None = None,
) -> Recipe:
    """Read a recipe and check every key.

    Args:
        name_or_path: A packaged name (`iclnet`) or a YAML file with the sections of `Recipe`.
        model_keys: Fields that the model's configuration knows.
        processor_keys: Attributes that the image processor knows.
        overrides: `section.key=value` texts that replace single values; the value is YAML.
        settings: Sections that become a dataclass, and which.
        changes: Values that replace those of the recipe before the overrides do, such as those of an ablation.

    Returns:
        The recipe.

    Raises:
        ValueError: For a missing recipe, broken YAML, an unknown section or key, a malformed override, or a value
            that its section refuses.
    """
    sections = _read_sections(name_or_path)
    packaged = copy.deepcopy(sections) if name_or_path in available_recipes() else {}
    for section, values in (changes or {}).items():
        sections[section] = sections.get(section, {}) | values
    for override in overrides:
        _apply_override(sections, override)
    for one in (sections, packaged):
        _name_checkpointing(one.get("training", {}))
    training = sections.get("training", {})
    training |= {key: "no" for key, value in training.items() if key.endswith("_strategy") and value is False}
    known = {
        "model": set(model_keys),
        "processor": set(processor_keys),
        "training": TRAINING_KEYS,
        **{section: {entry.name for entry in dataclasses.fields(kind)} for section, kind in settings.items()},
    }
    _refuse_unknown(name_or_path, "", sections, known)
    for section, values in sections.items():
        _refuse_unknown(name_or_path, f"{section}.", values, known[section])
    _refuse_texts(name_or_path, training)
    changed = _changes(packaged, sections)
    built = {name: _build(name_or_path, name, kind, sections.pop(name, {})) for name, kind in settings.items()}
    return Recipe(name=name_or_path, changes=changed, **sections, **built)


def _changes(packaged: Sections, sections: Sections) -> dict[str, Any]:
    """Values that a packaged recipe does not have."""
    return {
        f"{section}.{key}": value
        for section, values in sections.items()
        for key, value in values.items()
        if key not in packaged.get(section, {}) or packaged[section][key] != value
    }


def _read_sections(name_or_path: str) -> Sections:
    path = RECIPE_FOLDER / f"{name_or_path}.yaml"
    if not path.is_file():
        path = Path(name_or_path)
    if not path.is_file():
        raise ValueError(f"no recipe {name_or_path!r}: give a YAML file or one of {', '.join(available_recipes())}")
    try:
        sections = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"recipe {path} is no YAML file: {error}") from error
    if not isinstance(sections, dict) or not all(isinstance(values, dict) for values in sections.values()):
        raise ValueError(f"recipe {path} must hold sections of `key: value` lines (model, processor, ...)")
    return _with_numbers(sections)


def _with_numbers(sections: Sections) -> Sections:
    return {section: {key: _number(value) for key, value in values.items()} for section, values in sections.items()}


def _build(recipe: str, section: str, kind: type, values: dict[str, Any]) -> Any:
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    try:
        return kind(**values)
    except TypeError as error:  # a text where a number is compared
        raise ValueError(f"recipe {recipe}: a value of section {section} has the wrong type ({error})") from error


def _apply_override(sections: Sections, override: str) -> None:
    key, separator, text = override.partition("=")
    section, dot, name = key.partition(".")
    if not separator or not dot:
        raise ValueError(f"expected section.key=value, such as training.max_steps=100, got {override!r}")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"the value of {key} is no YAML: {' '.join(str(error).split())}") from error
    sections.setdefault(section, {})[name] = _number(value)


def _name_checkpointing(training: dict[str, Any]) -> None:
    """Call it what the installed transformers calls it, in place."""
    wanted = CHECKPOINTING_NAMES[0]
    if wanted in training and wanted != CHECKPOINTING:
        training[CHECKPOINTING] = training.pop(wanted)


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, str) and SCIENTIFIC_NUMBER.fullmatch(value) else value


def _refuse_unknown(recipe: str, prefix: str, given: Iterable[str], known: Iterable[str]) -> None:
    for key in given:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {prefix}{close[0]}?" if close else ""
            raise ValueError(f"recipe {recipe}: unknown key {prefix}{key}{hint}")


def _refuse_texts(recipe: str, training: Mapping[str, Any]) -> None:
    """Refuse words where `TrainingArguments` has a number or a switch: it fails on them far from here, or never."""
    for entry in dataclasses.fields(TrainingArguments):
        value = training.get(entry.name)
        if isinstance(value, str) and isinstance(entry.default, bool | int | float):
            wanted = "true or false" if isinstance(entry.default, bool) else "a number"
            raise ValueError(f"recipe {recipe}: training.{entry.name} must be {wanted}, got {value!r}")
