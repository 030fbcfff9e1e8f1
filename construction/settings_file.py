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
    content = read_mapping(path, f"sections: {', '.join(kinds)}")
    _refuse_unknown(path, "", content, kinds)
    sections: dict[str, Any] = {}
    for name, values in content.items():
        if name not in lists:
            sections[name] = build_settings(path, name, kinds[name], values)
            continue
        if not isinstance(values, list):
            raise ValueError(f"{path}: section {name} must be a list")
        sections[name] = [
            build_settings(path, f"{name}[{place}]", kinds[name], entry) for place, entry in enumerate(values)
        ]
    return sections


def read_mapping(path: Path, content: str) -> dict[str, Any]:
    """Read a YAML (or JSON) file of keys and values; an empty one is an empty mapping.

    Args:
        path: the file.
        content: what it must hold, for the error.

    Raises:
        ValueError: broken YAML, or something else than keys and values.
        FileNotFoundError: no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: expected a YAML file with {content}")
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML file: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} must hold {content}")
    return found


def build_settings(path: Path, section: str, kind: type, values: Any) -> Any:
    """Make a dataclass of one section of a file.

    Args:
        path: the file, for errors.
        section: name of the section; "" where the file has none.
        kind: the dataclass.
        values: its fields.

    Raises:
        ValueError: no mapping, an unknown or missing key, or a value that the dataclass refuses.
    """
    place = f"{path}: section {section}" if section else str(path)
    if not isinstance(values, dict):
        raise ValueError(f"{place} must hold `key: value` lines")
    fields = {entry.name: entry for entry in dataclasses.fields(kind)}
    _refuse_unknown(path, f"{section}." if section else "", values, fields)
    missing = [name for name, entry in fields.items() if _is_required(entry) and name not in values]
    if missing:
        raise ValueError(f"{place} needs {', '.join(missing)}")
    try:
        return kind(**{key: _plain(value) for key, value in values.items()})
    except (ValueError, TypeError) as error:  # TypeError: a text where a number is compared
        raise ValueError(f"{place}: {error}") from error


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


__all__ = ["build_settings", "read_mapping", "read_sections"]
