"""Settings of the manipulation engine as a file: a folder of images can be made again from its settings.json."""

import dataclasses
import difflib
from pathlib import Path
from typing import Any

import yaml

from .manipulation_config import ManipulationConfig

# Under this key settings.json of a finished folder holds its settings; other keys there describe the run.
CONFIG_KEY = "config"


def read_settings(path: Path) -> ManipulationConfig:
    """Read settings of the engine.

    Args:
        path: YAML or JSON file with fields of `ManipulationConfig`; fields that it leaves out keep their defaults.
            The settings.json of a folder that the engine wrote is such a file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no YAML, an unknown field, or a value that `ManipulationConfig` refuses.

    Example:
        >>> read_settings(Path("forged/settings.json")).max_side
        512
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give a YAML or JSON file with settings of the engine")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML or JSON file: {error}") from error
    if isinstance(content, dict) and isinstance(content.get(CONFIG_KEY), dict):
        content = content[CONFIG_KEY]
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold `field: value` lines, got {type(content).__name__}")
    known = [field.name for field in dataclasses.fields(ManipulationConfig)]
    for name in content:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            raise ValueError(f"{path}: unknown field {name}{f'; did you mean {close[0]}?' if close else ''}")
    try:
        return ManipulationConfig(**{name: _as_field(value) for name, value in content.items()})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _as_field(value: Any) -> Any:
    """Lists of a file are pairs of the settings."""
    return tuple(value) if isinstance(value, list) else value


__all__ = ["read_settings"]
