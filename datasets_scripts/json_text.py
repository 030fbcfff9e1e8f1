"""JSON files that are read at once, in whatever Unicode encoding they come."""

import json
from typing import Any

from .files import CorpusFiles


def read_json(files: CorpusFiles, name: str) -> Any:
    """Contents of a JSON file in UTF-8, UTF-16 or UTF-32, with a byte-order mark or without.

    Args:
        files: the corpus.
        name: file in it.

    Raises:
        ValueError: it is empty or no JSON; names the file and the line.
        OSError: it cannot be read.
    """
    data = files.read(name)
    if not data.strip():
        raise ValueError(f"{name} is empty: expected JSON")
    try:
        return json.loads(data)  # bytes: the encoding is told from the first of them
    except json.JSONDecodeError as error:
        raise ValueError(f"{name} line {error.lineno} is not JSON: {error.msg} at column {error.colno}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not text in {error.encoding}: byte {error.start} ({error.reason})") from error


def read_json_list(files: CorpusFiles, name: str) -> list[Any]:
    """As `read_json`, for a file that must hold a list.

    Raises:
        ValueError: as in `read_json`, or it holds something else.
        OSError: it cannot be read.
    """
    content = read_json(files, name)
    if not isinstance(content, list):
        raise ValueError(f"{name} holds a JSON {type(content).__name__}: expected a list")
    return content


__all__ = ["read_json", "read_json_list"]
