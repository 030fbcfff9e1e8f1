"""A small corpus in the published form of DiffSeg30k, and tiny checkpoints that give it every class."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tiny_models import tiny_model
from torch import nn

from forgescope.processing.image_processing_forgery import ForgeryImageProcessor

SIZE = (48, 40)
EDITORS = 8


def photo(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """Coarse colours with noise."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (5, 6, 3), dtype=np.uint8)).resize(size)
    noise = random.integers(-30, 31, (size[1], size[0], 3))
    return Image.fromarray(np.clip(np.asarray(coarse, dtype=int) + noise, 0, 255).astype(np.uint8))


def ids(number: int) -> np.ndarray:
    """Mask of two editors, `1 + number % 8` and `1 + (number + 4) % 8`; every fourth image has the first alone."""
    mask = np.zeros(SIZE[::-1], np.uint8)
    top = 4 + number % 16
    mask[top : top + 16, 6:24] = 1 + number % EDITORS
    if number % 4:
        mask[8:20, 28:44] = 1 + (number + 4) % EDITORS
    return mask


def write_corpus(root: Path, numbers: range, unedited: range = range(0), folder: str = "val") -> Path:
    """Write image and mask pairs of these numbers; those in `unedited` have an empty mask."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    for number in (*numbers, *unedited):
        mask = ids(number) if number in numbers else np.zeros(SIZE[::-1], np.uint8)
        photo(number).save(root / folder / f"{number:08d}.image.png")
        Image.fromarray(mask).save(root / folder / f"{number:08d}.mask.png")
    return root


def save_tiny_diffseg(folder: Path, task: str) -> Path:
    """Save a random SegFormer whose logits are balanced, so that every class is predicted somewhere."""
    model = tiny_model("diffseg", task=task)
    processor = ForgeryImageProcessor(size={"height": 64, "width": 64}, **model.config.processor_settings)
    head = [module for module in model.modules() if isinstance(module, nn.Conv2d)][-1]
    with torch.no_grad():
        logits = model(**processor([photo(number) for number in range(8)], return_tensors="pt")).logits
        mean, scale = logits.mean((0, 2, 3)), 1 / logits.std((0, 2, 3))
        head.weight.mul_(scale[:, None, None, None])
        head.bias.copy_((head.bias - mean) * scale)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
