"""HTML pages from the templates of this package: one file, with style and script inside."""

import re
from importlib.resources import files

SLOT = re.compile(r"\$([a-z]+)")


def read_template(*names: str) -> str:
    """Read templates, one after the other."""
    return "".join((files("forgescope") / "templates" / name).read_text(encoding="utf-8") for name in names)


def fill_template(template: str, **parts: str) -> str:
    """Put markup together.

    Args:
        template: name of the HTML template; `$name` stands where a part comes.
        parts: markup by name. Texts from files and people must be escaped.

    Raises:
        KeyError: a part is missing.
    """
    return SLOT.sub(lambda slot: parts[slot[1]], read_template(template))


def fill_page(template: str, **parts: str) -> bytes:
    """Put a page together, see `fill_template`.

    Returns:
        The page, UTF-8; what is no character is written as its escape.
    """
    return fill_template(template, **parts).encode("utf-8", errors="backslashreplace")
