"""CLIP's class tokens of images, computed once and kept in files: stage 2 of LEGION trains a head on them alone.

CLIP is frozen, so the class token of an image never changes. A folder holds one folder a CLIP, with parts of up to
`PART_IMAGES` images. A part is written whole or not at all, so a run that was killed goes on behind the last part, and
a second run, or data with more images, computes only what is new.
"""

import hashlib
import io
import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import datasets
import torch
from accelerate import PartialState
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers import ProcessorMixin

from forgescope.modeling.modeling_legion import LegionForGroundedExplanation

logger = logging.getLogger(__name__)

PART_IMAGES = 1024
KEY_CHARACTERS = 32
# What PIL raises for files that are no image or break off (SyntaxError: broken PNG chunks).
IMAGE_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
StoredImage = dict[str, Any]


class ClassTokenCache:
    """Class tokens of one CLIP in a folder.

    Args:
        folder: Of this and other CLIPs; made where it is missing.
        model: Its CLIP, whose weights and precision name the folder within.
        processor: A `LegionProcessor`, whose view for CLIP names it likewise.
    """

    def __init__(self, folder: str | Path, model: LegionForGroundedExplanation, processor: ProcessorMixin):
        self.folder = Path(folder) / clip_key(model, processor)
        self.model, self.processor = model, processor
        self.folder.mkdir(parents=True, exist_ok=True)

    def tokens(self, images: Sequence[Any], batch_size: int = 64, workers: int = 0) -> list[torch.Tensor | None]:
        """Class token (C_v,) of every image in the model's precision; None for one that cannot be read.

        What is not in the folder is computed by CLIP and written there; several processes share the work.

        Args:
            images: Values of an image column that is not decoded: `path` or `bytes`; None where there is none.
            batch_size: Images that CLIP sees at a time.
            workers: Processes that read images.

        Raises:
            ValueError: If a part in the folder cannot be read.
        """
        keys = [image_key(image) for image in images]
        known = self._read()
        wanted = {key: index for index, key in enumerate(keys) if key is not None and key not in known}
        state = PartialState()
        state.wait_for_everyone()  # all have read the same parts, so that they share the same work
        own = list(wanted.items())[state.process_index :: state.num_processes]
        if own:
            logger.info("computing class tokens of %d images", len(own))
        for first in range(0, len(own), PART_IMAGES):
            part = own[first : first + PART_IMAGES]
            # read again, since all bytes of a large corpus at once would fill the memory
            found = self._compute([images[index] for _, index in part], batch_size, workers)
            self._write({key: token for (key, _), token in zip(part, found, strict=True) if token is not None})
        state.wait_for_everyone()
        known = self._read() if wanted else known
        return [None if key is None else known.get(key) for key in keys]

    def _compute(self, images: list[Any], batch_size: int, workers: int) -> Iterator[torch.Tensor | None]:
        """Class token of every image."""
        loader = torch.utils.data.DataLoader(
            ImageViews(images, self.processor), batch_size, num_workers=workers, collate_fn=list
        )
        device = self.model.model.vision_tower.device
        for views in loader:
            readable = [view for view in views if view is not None]
            with torch.no_grad():
                tokens = iter(self.model.class_tokens(torch.stack(readable).to(device)).cpu() if readable else ())
            yield from (None if view is None else next(tokens) for view in views)

    def _write(self, tokens: dict[str, torch.Tensor]) -> None:
        """Add a part."""
        if not tokens:
            return
        path = self.folder / f"{next(iter(tokens))}.safetensors"
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        save_file({"tokens": torch.stack(list(tokens.values()))}, unfinished, {"images": json.dumps(list(tokens))})
        os.replace(unfinished, path)

    def _read(self) -> dict[str, torch.Tensor]:
        """All class tokens of the folder."""
        known: dict[str, torch.Tensor] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            try:
                with safe_open(path, "pt") as part:
                    keys = json.loads(part.metadata()["images"])
                    known |= zip(keys, part.get_tensor("tokens"), strict=True)
            except SafetensorError as error:
                raise ValueError(
                    f"{path} is damaged ({error}): delete it, and its images are computed again"
                ) from error
        return known


class ImageViews(torch.utils.data.Dataset):
    """What CLIP sees of images.

    Args:
        images: As `ClassTokenCache.tokens`.
        processor: A `LegionProcessor`.
    """

    def __init__(self, images: list[Any], processor: ProcessorMixin):
        self.images = images
        self.processor = processor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor | None:
        """(3, H, W) float32; None for an image that cannot be read."""
        stored = self.images[index]
        try:
            with Image.open(stored["path"] if stored["bytes"] is None else io.BytesIO(stored["bytes"])) as image:
                return self.processor.detection_inputs([image])["pixel_values"][0]
        except IMAGE_ERRORS:
            return None


def stored_images(rows: datasets.Dataset) -> datasets.Column:
    """The images of rows as they are stored: `path` or `bytes`."""
    return rows.cast_column("image", datasets.Image(decode=False))["image"]


def image_key(stored: StoredImage | None) -> str | None:
    """Name of an image: by its bytes, or by path, size and time of its file; None for one that is missing."""
    if stored is None:
        return None
    if stored["bytes"] is not None:
        return hashlib.sha256(stored["bytes"]).hexdigest()[:KEY_CHARACTERS]
    try:
        status = os.stat(stored["path"])
    except OSError:
        return None
    text = f"{os.path.abspath(stored['path'])} {status.st_size} {status.st_mtime_ns}"
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_CHARACTERS]


def clip_key(model: LegionForGroundedExplanation, processor: ProcessorMixin) -> str:
    """Name of a CLIP: by its weights and their precision, the layer that is read, and the view of the image."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.model.vision_tower.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    digest.update(str(model.config.vision_feature_layer).encode())
    digest.update(processor.image_processor.to_json_string().encode())
    return digest.hexdigest()[:KEY_CHARACTERS]
