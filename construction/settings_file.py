"""Settings of a construction as a YAML file of sections; an unknown key is refused, with the one that was meant."""

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

# YAML 1.1 reads 1e-4 as a text; people write it nevertheless.
SCIENTIFIC_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


def read_sections(path: Path, kinds: Mapping[str, type], lists: Iterable[str] = ()) -> dict[str, Any]:
    """Read a file and make a dataclass of each section.

    Args:
        path: the YAML file.
        kinds: names of the sections and their dataclasses.
        lists: sections that are lists, each entry of which becomes the dataclass.

    Returns:
        The sections that the file has.

    Raises:
        ValueError: broken YAML, an unknown section or key, or a value that the dataclass refuses.
        FileNotFoundError: no such file.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML file: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold sections: {', '.join(kinds)}")
    _refuse_unknown(path, "", content, kinds)
    sections: dict[str, Any] = {}
    for name, values in content.items():
        if name not in lists:
            sections[name] = _build(path, name, kinds[name], values)
            continue
        if not isinstance(values, list):
            raise ValueError(f"{path}: section {name} must be a list")
        sections[name] = [_build(path, f"{name}[{place}]", kinds[name], entry) for place, entry in enumerate(values)]
    return sections


def _build(path: Path, section: str, kind: type, values: Any) -> Any:
    if not isinstance(values, dict):
        raise ValueError(f"{path}: section {section} must hold `key: value` lines")
    fields = {entry.name: entry for entry in dataclasses.fields(kind)}
    _refuse_unknown(path, f"{section}.", values, fields)
    required = [name for name, entry in fields.items() if _is_required(entry)]
    missing = [name for name in required if name not in values]
    if missing:
        raise ValueError(f"{path}: section {section} needs {', '.join(missing)}")
    try:
        return kind(**{key: _plain(value) for key, value in values.items()})
    except (ValueError, TypeError) as error:  # TypeError: a text where a number is compared
        raise ValueError(f"{path}: section {section}: {error}") from error


def _is_required(entry: "dataclasses.Field[Any]") -> bool:
    return entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING


def _plain(value: Any) -> Any:
    """Lists as tuples, numbers as 1e-4 as numbers."""
    if isinstance(value, list):
        return tuple(value)
    return float(value) if isinstance(value, str) and SCIENTIFIC_NUMBER.fullmatch(value) else value


def _refuse_unknown(path: Path, prefix: str, given: Iterable[Any], known: Iterable[str]) -> None:
    for key in given:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {prefix}{close[0]}?" if close else f"; expected {', '.join(known)}"
            raise ValueError(f"{path}: unknown key {prefix}{key}{hint}")


__all__ = ["read_sections"]
