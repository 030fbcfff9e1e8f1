"""What an edited image was before: a photograph, or made by a model (DiffSeg30k, section 9)."""

import csv
import json
from pathlib import Path
from typing import Any

BASES = ("real", "ai")
METADATA = "metadata.jsonl"


def read_bases(corpus: Path, file: Path | None) -> dict[str, str]:
    """Read which base the images have, a photograph or an AI-made image.

    Args:
        corpus: folder; its metadata.jsonl, as `forgescope construct diffseg` writes it, is read if there is no file.
        file: CSV with the columns `id` and `base`.

    Returns:
        Id -> `real` or `ai`.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: nothing says it, or a base is neither `real` nor `ai`.
    """
    metadata = corpus / METADATA
    if file is None and not metadata.is_file():
        raise ValueError(
            "the base of each image must be known, a photograph or an AI-made image, and the published corpus does "
            "not say it: give --bases FILE, a CSV with the columns id and base (real or ai), or --data with the "
            f"{METADATA} that forgescope construct diffseg writes; {metadata} does not exist"
        )
    if file is not None:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            rows: list[dict[str, Any]] = list(csv.DictReader(stream))
    else:
        try:
            # bytes end a line at \n alone; text would also be cut at U+2028 within a prompt
            rows = [json.loads(line) for line in metadata.read_bytes().splitlines() if line.strip()]
        except ValueError as error:
            raise ValueError(f"{metadata} holds a line that is not JSON ({error}): give --bases FILE") from error
    where = file or metadata
    bases = {}
    for number, row in enumerate(rows, start=1):
        if not row.get("id") or row.get("base") not in BASES:
            raise ValueError(f"row {number} of {where}: expected an id and a base, real or ai, got {row}")
        bases[str(row["id"])] = row["base"]
    if not bases:
        raise ValueError(f"{where} is empty: expected the columns id and base")
    return bases
