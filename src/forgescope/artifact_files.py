"""What `forgescope explain` keeps of artifacts: a picture, masks, and a file that `forgescope refine` reads.

OUT/NAME/picture.jpg      artifacts in their colours, with a legend
OUT/NAME/mask.png         all artifacts together, 0 or 255
OUT/NAME/1.png ...        each of them
OUT/NAME/artifacts.json   for `forgescope refine --artifacts`
"""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .artifact_explanation import ArtifactExplanation
from .artifact_picture import draw_artifacts
from .journal import write_whole
from .results import OVERLAY_QUALITY, picture_name

ARTIFACTS, PICTURE, MASK = "artifacts.json", "picture.jpg", "mask.png"
# Key of a row -> file.
FILES = {"picture": PICTURE, "mask": MASK, "artifacts": ARTIFACTS}
WHITE = 255


def save_artifacts(out: Path, found: ArtifactExplanation, title: str) -> dict[str, Any]:
    """Write the files of one photograph into a folder of its own.

    Args:
        out: where the folder is made; its name is that of the photograph.
        found: what the model said; has the image.
        title: first line of the picture's legend.

    Returns:
        What a row has besides: `picture`, `mask` and `artifacts`, relative to `out`, and `phrases` with the masks of
        those that have one.

    Raises:
        ValueError: an explanation without image.
        OSError: a file cannot be written; those before it are whole.
    """
    if found.image is None:
        raise ValueError("this explanation holds no image to draw on")
    name = picture_name(found.path or "image")
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    entries, rows = [], []
    for number, (one, row) in enumerate(zip(found.phrases, found.to_dict()["phrases"], strict=True), start=1):
        write_whole(folder / f"{number}.png", _png(one.mask))
        entries.append(
            {"phrase": one.phrase, "explanation": one.explanation, "mask": f"{number}.png", "score": one.score}
        )
        # a phrase without [SEG] has no mask; the file of artifacts knows empty ones alone
        rows.append(row | {"mask": None if one.score is None else f"{name}/{number}.png"})
    write_whole(folder / MASK, _png(found.mask))
    picture = io.BytesIO()
    drawn = draw_artifacts(found.image, found.phrases, title)
    drawn.save(picture, "JPEG", quality=OVERLAY_QUALITY, subsampling=0)  # texts in colour stay sharp
    write_whole(folder / PICTURE, picture.getvalue())
    text = json.dumps({"artifacts": entries}, indent=1, ensure_ascii=False)
    write_whole(folder / ARTIFACTS, text.encode("utf-8", errors="backslashreplace"))
    return {key: f"{name}/{file}" for key, file in FILES.items()} | {"phrases": rows}


def _png(mask: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(mask * np.uint8(WHITE)).save(content, "PNG")
    return content.getvalue()
