"""A batch of pairs in, masks on disk and rows of metadata out; what every engine runs.

    OUT/<split>/edited/ID.png  original/ID.png  mask/ID.png  (and mask_full/ID.png)

Images are the aligned crops. An image that was neither moved nor cropped is copied byte for byte, so that the traces
of its compression stay.
"""

import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from forgescope.datasets_scripts.features import promptforge_split

from ..framing import encode_png
from ..manipulation_folder import write_atomically
from .align import Alignment, AlignmentConfig, Rejection, RejectReason, align, warp_and_crop
from .backbones import DEFAULT_BACKBONE, load_backbone
from .descriptors import ClassicalConfig
from .pairs import Pair
from .semantic import EditMask, MaskConfig, annotate_aligned

# Opens a file or the bytes of one as an upright RGB image; raises ValueError or OSError.
ReadImage = Callable[[Path | bytes], Image.Image]
STAGES = ("read", "align", "warp", "similarity", "write")
# Containers of JPEG, PNG and WebP bytes that are copied as they are.
COPIED = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}


@dataclass(frozen=True)
class AnnotationSettings:
    """What decides on the masks; a folder is only ever continued with the same settings.

    Args:
        backbone: `classical`, `timm/MODEL` or an AutoModel id (section 3.2: DINOv3 Large).
        backbone_size: side of a network's square input in pixels; not given in the paper.
        alignment: section 3.1.
        mask: section 3.2.
        classical: settings of the `classical` backbone.
        full_size_masks: also write masks at the size of the crop.
    """

    backbone: str = DEFAULT_BACKBONE
    backbone_size: int = 1024
    alignment: AlignmentConfig = field(default_factory=AlignmentConfig)
    mask: MaskConfig = field(default_factory=MaskConfig)
    classical: ClassicalConfig = field(default_factory=ClassicalConfig)
    full_size_masks: bool = False


@dataclass
class Outcome:
    """What became of a pair.

    Args:
        id: the pair's.
        split: `train` or `test`.
        row: line of metadata.jsonl, None for a rejected pair.
        reject: line of rejects.jsonl, None for an annotated pair.
        seconds: time spent, by stage.
    """

    id: str
    split: str
    row: dict[str, Any] | None = None
    reject: dict[str, Any] | None = None
    seconds: dict[str, float] = field(default_factory=dict)


class Annotator:
    """Callable that annotates batches; holds the backbone, so one is made in each process.

    Args:
        settings: what decides on the masks.
        out: folder of the corpus.
        read: opens an image.
        device: where a network runs.
        dtype: precision of a network, such as `float32` or `bfloat16`.
    """

    def __init__(
        self, settings: AnnotationSettings, out: Path, read: ReadImage, device: str = "cpu", dtype: str = "float32"
    ):
        self.settings, self.out, self.read = settings, out, read
        self.model = load_backbone(
            settings.backbone, settings.backbone_size, device, getattr(torch, dtype), classical=settings.classical
        )

    def __call__(self, pairs: list[Pair]) -> list[Outcome]:
        """Annotate pairs; a bad pair is rejected and never an error."""
        outcomes = [Outcome(pair.id, promptforge_split(pair.id)) for pair in pairs]
        prepared = [self._prepare(pair, outcome) for pair, outcome in zip(pairs, outcomes, strict=True)]
        ready = [index for index, item in enumerate(prepared) if item is not None]
        if not ready:
            return outcomes
        start = time.perf_counter()
        masks = annotate_aligned(
            [prepared[index][1] for index in ready],  # type: ignore[index]
            [prepared[index][2] for index in ready],  # type: ignore[index]
            self.model,
            self.settings.mask,
        )
        share = (time.perf_counter() - start) / len(ready)
        for index, mask in zip(ready, masks, strict=True):
            outcomes[index].seconds["similarity"] = share
            start = time.perf_counter()
            self._finish(pairs[index], prepared[index], mask, outcomes[index])
            outcomes[index].seconds["write"] = time.perf_counter() - start
        return outcomes

    def _prepare(self, pair: Pair, outcome: Outcome) -> tuple[Alignment, np.ndarray, np.ndarray] | None:
        """Read, align and warp one pair; a rejection is noted in its outcome."""
        start = time.perf_counter()
        try:
            original, edited = (np.asarray(self.read(image)) for image in (pair.original, pair.edited))
        except (ValueError, OSError) as error:
            _reject(outcome, Rejection(RejectReason.UNREADABLE, detail=str(error)))
            return None
        outcome.seconds["read"] = time.perf_counter() - start
        start = time.perf_counter()
        alignment = align(original, edited, self.settings.alignment)
        outcome.seconds["align"] = time.perf_counter() - start
        if isinstance(alignment, Rejection):
            _reject(outcome, alignment)
            return None
        start = time.perf_counter()
        first, second = warp_and_crop(original, edited, alignment)
        outcome.seconds["warp"] = time.perf_counter() - start
        return alignment, first, second

    def _finish(self, pair: Pair, prepared: Any, mask: EditMask, outcome: Outcome) -> None:
        """Write the files of one pair, and its row."""
        alignment, original, edited = prepared
        if not mask.mask.any():
            rejection = Rejection(
                RejectReason.NOT_EDITED,
                alignment.num_keypoints,
                alignment.num_matches,
                alignment.inlier_ratio,
                f"lowest similarity {mask.similarity.min():.3f}, threshold {mask.threshold:.3f}",
            )
            _reject(outcome, rejection)
            return
        folder = self.out / outcome.split
        left, top, right, bottom = alignment.crop
        row = {
            "file_name": self._save(folder, "edited", pair.id, pair.edited, edited),
            "original_file_name": self._save(folder, "original", pair.id, pair.original, original),
            "mask_file_name": f"mask/{pair.id}.png",
            "id": pair.id,
            "source": pair.source,
            "task": pair.task,
            "source_task": pair.source_task,
            "instruction": pair.instruction,
            "instruction_en": pair.instruction_en,
            "inlier_ratio": round(alignment.inlier_ratio, 4),
            "num_matches": alignment.num_matches,
            "reprojection_error": round(alignment.reprojection_error, 4),
            "affine": [round(float(value), 6) for value in alignment.affine.ravel()],
            "crop": [left, top, right, bottom],
            "edited_share": round(mask.edited_share, 5),
            "threshold": round(mask.threshold, 4),
            "separability": round(mask.separability, 4),
        }
        write_atomically(folder / "mask" / f"{pair.id}.png", encode_png(mask.mask * 255))
        if self.settings.full_size_masks:
            row["full_mask_file_name"] = f"mask_full/{pair.id}.png"
            full = mask.at_size(bottom - top, right - left)
            write_atomically(folder / "mask_full" / f"{pair.id}.png", encode_png(full * 255))
        outcome.row = row

    def _save(self, folder: Path, role: str, name: str, stored: Path | bytes, pixels: np.ndarray) -> str:
        """Write one image: its own bytes when they decode to these pixels, else a PNG; the name below the split."""
        data = stored if isinstance(stored, bytes) else stored.read_bytes()
        suffix = _copyable(data, pixels)
        if suffix is None:
            suffix, data = ".png", encode_png(pixels)
        write_atomically(folder / role / f"{name}{suffix}", data)
        return f"{role}/{name}{suffix}"


def _copyable(data: bytes, pixels: np.ndarray) -> str | None:
    """Suffix of a file whose bytes can be kept: RGB, upright, one frame, and the very pixels that are to be saved."""
    with Image.open(io.BytesIO(data)) as image:
        plain = image.mode == "RGB" and image.size == pixels.shape[1::-1] and getattr(image, "n_frames", 1) == 1
        if not plain or image.format not in COPIED:
            return None
        return COPIED[image.format] if np.array_equal(np.asarray(image), pixels) else None


def _reject(outcome: Outcome, rejection: Rejection) -> None:
    outcome.reject = {
        "id": outcome.id,
        "reason": rejection.reason.value,
        "num_keypoints": list(rejection.num_keypoints),
        "num_matches": rejection.num_matches,
        "inlier_ratio": round(rejection.inlier_ratio, 4),
        "detail": rejection.detail,
    }


def one_thread() -> None:
    """Let a process of several use one thread of OpenCV and PyTorch."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


__all__ = ["STAGES", "AnnotationSettings", "Annotator", "Outcome", "one_thread"]
