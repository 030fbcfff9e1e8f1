import hashlib
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image


def make_photo(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Picture of (width, height) pixels with grain and things that stand out: coloured ellipses on a gradient."""
    rng = np.random.default_rng(seed)
    width, height = size
    ramp = np.linspace(60, 190, width)[None, :, None] + np.linspace(-30, 30, height)[:, None, None]
    picture = np.ascontiguousarray(np.clip(ramp + rng.normal(0, 6, (height, width, 3)), 0, 255).astype(np.uint8))
    for _ in range(6):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = (int(rng.integers(15, 45)), int(rng.integers(15, 45)))
        cv2.ellipse(picture, centre, axes, int(rng.integers(180)), 0, 360, rng.integers(0, 256, 3).tolist(), -1)
    texture = rng.normal(0, 8, picture.shape)
    return Image.fromarray(np.clip(picture + texture, 0, 255).astype(np.uint8))


def folder_digest(folder: Path) -> dict[str, str]:
    """Hash of every file below a folder, by name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="session")
def digest():
    return folder_digest


@pytest.fixture(scope="session")
def tiny_pipeline():
    from tiny_diffusion import tiny_inpainting_pipeline

    return tiny_inpainting_pipeline()


@pytest.fixture(scope="session")
def tiny_pipeline_folder(tiny_pipeline, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline") / "tiny-inpainting"
    tiny_pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    return make_photo(1)


@pytest.fixture(scope="session")
def donor() -> Image.Image:
    return make_photo(2, (300, 280))


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(5):
        make_photo(seed).save(folder / f"photo{seed}.jpg", quality=92)
    return folder


@pytest.fixture(scope="session")
def photographs(tmp_path_factory) -> list[Path]:
    """Twelve photographs: real ones where the shared folder is there, else generated ones."""
    shared = Path(os.environ.get("FORGESCOPE_DATA_DIR", Path(__file__).parents[3] / "shared" / "data"))
    found = sorted((shared / "photo_pool").glob("coco_*.jpg"))[:12]
    if len(found) == 12:
        return found
    folder = tmp_path_factory.mktemp("photographs")
    for seed in range(12):
        make_photo(seed).save(folder / f"photo{seed:02d}.png")
    return sorted(folder.iterdir())
