"""What a file says of its own origin, beside the pixels: content credentials and metadata of generators.

Both are statements of whoever wrote the file. They never enter the score, and nothing follows from their absence:
metadata is lost whenever an image is uploaded, sent or screenshotted, and anybody can write any.
"""

import os
from dataclasses import asdict, dataclass, field
from typing import Any

from .content_credentials import ContentCredential, read_content_credentials
from .image_metadata import read_metadata
from .reading import DEFAULT_MAX_PIXELS, open_image

# Who writes PNG texts of these names; others can write them too.
KNOWN_WRITERS = {
    "PNG parameters": "Stable Diffusion web UI",
    "PNG prompt": "ComfyUI",
    "PNG workflow": "ComfyUI",
    "PNG invokeai_metadata": "InvokeAI",
    "PNG invokeai_graph": "InvokeAI",
    "PNG invokeai_workflow": "InvokeAI",
    "PNG sd-metadata": "InvokeAI",
    "PNG Dream": "InvokeAI",
}
# In the one-line summary: longer values are named and not shown, and no more than these are named.
LONGEST_SHOWN = 60
MOST_SHOWN = 4


@dataclass(frozen=True)
class Provenance:
    """What a file says of its origin.

    Args:
        c2pa: signed claims, the newest first; empty: none; None: not looked for, because the library is missing.
        generator_metadata: texts by place and name, such as `PNG parameters`, `EXIF Software` or `XMP CreatorTool`.
        notes: sentences on what was cut, is damaged, or was not looked at.
        c2pa_error: why content credentials that the file may hold cannot be read.
    """

    c2pa: list[ContentCredential] | None = None
    generator_metadata: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    c2pa_error: str | None = None

    def describe(self) -> str:
        """Say in one line what was found; empty when nothing was."""
        parts = [self._credentials(), self._metadata()]
        return "".join(sign if sign.isprintable() else " " for sign in "; ".join(part for part in parts if part))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, with the line of `describe` as `summary`."""
        return {"summary": self.describe()} | asdict(self)

    def _credentials(self) -> str:
        if self.c2pa_error is not None:
            return f"content credentials cannot be read ({self.c2pa_error})"
        if not self.c2pa:
            return ""
        newest = self.c2pa[0]
        codes = [problem.partition(":")[0] for problem in newest.problems]
        state = ", ".join([newest.validation_state or "not validated", *codes])
        types = dict.fromkeys(name for claim in self.c2pa for name in claim.source_types)
        said = [f"signed as {newest.issuer or newest.signer or 'nobody'}", newest.generator, *types]
        return f"content credentials ({state}): {', '.join(part for part in said if part)}"

    def _metadata(self) -> str:
        shown = [_shown(name, text) for name, text in list(self.generator_metadata.items())[:MOST_SHOWN]]
        more = len(self.generator_metadata) - len(shown)
        return ", ".join([*shown, f"{more} more"] if more else shown)


def read_provenance(path: str | os.PathLike, max_pixels: int = DEFAULT_MAX_PIXELS) -> Provenance:
    """Read what a file says of its origin, offline.

    Args:
        path: image file.
        max_pixels: see `read_image`.

    Returns:
        Statements as they are written; damaged ones are named in `notes` or `c2pa_error` and raise nothing.

    Raises:
        ImageReadError: missing, or no image.
    """
    with open_image(path, max_pixels) as image:
        metadata, notes = read_metadata(image)
        credentials = read_content_credentials(path, image.format)
    if credentials.note is not None:
        notes.append(credentials.note)
    return Provenance(credentials.claims, metadata, notes, credentials.error)


def _shown(name: str, text: str) -> str:
    if name in KNOWN_WRITERS:
        return f"{name} (as {KNOWN_WRITERS[name]} writes)"
    return f'{name} "{text}"' if len(text) <= LONGEST_SHOWN else name
