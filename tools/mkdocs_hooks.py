"""Hook of mkdocs: files of the repository that pages link to, such as recipes, become part of the site as they are."""

import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File

LINK = re.compile(r"(?<=\]\()(?:\.\./)+([^)#\s]+)")
FOLDER = "repository"
# mkdocs would take these for pages
PAGE_ENDINGS = (".md", ".markdown")


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Point links that leave docs/ to copies within the site; one to a folder, or to nothing, stays and is told."""
    root = Path(config.docs_dir).parent

    def inside(found: re.Match) -> str:
        source = root / found[1]
        if not source.is_file():
            return found[0]
        name = f"{FOLDER}/{found[1]}" + (".txt" if source.suffix in PAGE_ENDINGS else "")
        if files.get_file_from_path(name) is None:
            files.append(File.generated(config, name, abs_src_path=str(source)))
        return "../" * len(PurePosixPath(page.file.src_uri).parent.parts) + name

    return LINK.sub(inside, markdown)
