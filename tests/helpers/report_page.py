"""What the page of `forgescope detect` holds for its script."""

import json
import re
from pathlib import Path
from typing import Any


def page_data(page: Path | str) -> dict[str, Any]:
    """Read the rows of a page, a path or its text, and of each row the pictures that the page holds.

    Returns:
        `with` (columns that not every run has), `thresholds` and `rows`.
    """
    text = page.read_text(encoding="utf-8") if isinstance(page, Path) else page
    elements = dict(re.findall(r'<script type="application/json" id="([\w-]+)">(.*?)</script>', text, re.DOTALL))
    data = json.loads(elements.pop("report"))
    for name, content in elements.items():
        data["rows"][int(name.removeprefix("pictures-"))]["pictures"] = json.loads(content)
    return data


def entries(page: Path | str) -> dict[str, dict[str, Any]]:
    """Rows of a page by the name of their file."""
    return {row["path"].split("/")[-1]: row for row in page_data(page)["rows"]}
