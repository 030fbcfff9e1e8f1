"""A checkpoint of the real classes with tiny random encoders, and photographs to show it."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from forgescope.modeling.configuration_iclnet import ICLNetConfig
from forgescope.modeling.modeling_iclnet import ICLNetForForgerySegmentation
from forgescope.processing.image_processing_forgery import ForgeryImageProcessor

TINY_ENCODER = {
    "depths": (1, 1, 1, 1),
    "hidden_sizes": (8, 16, 24, 32),
    "num_attention_heads": (1, 2, 3, 4),
    "sr_ratios": (4, 2, 1, 1),
    "drop_path_rate": 0.0,
}
# Far from 0.5 on purpose: random weights answer near 0.5, and a test that mixes thresholds up must fail.
RULE = {"mask_threshold": 0.5, "forged_threshold": 0.505, "authentic_threshold": 0.45, "score_top_fraction": 0.02}


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory) -> Path:
    """Folder of a checkpoint whose processor resizes to 128 x 128."""
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    torch.manual_seed(0)
    config = ICLNetConfig(encoder_config=TINY_ENCODER, head_hidden_sizes=(16, 16, 8, 8), **RULE)
    ICLNetForForgerySegmentation(config).save_pretrained(folder)
    ForgeryImageProcessor(size={"height": 128, "width": 128}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def native_checkpoint(tiny_checkpoint, tmp_path_factory) -> Path:
    """The same weights with a processor that keeps the photograph's pixels, tiles of 128 x 128."""
    folder = tmp_path_factory.mktemp("checkpoint") / "native"
    ICLNetForForgerySegmentation.from_pretrained(tiny_checkpoint).save_pretrained(folder)
    ForgeryImageProcessor(size={"height": 128, "width": 128}, do_resize=False).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def answering_checkpoint(tmp_path_factory) -> Path:
    """Folder of a tiny FakeReasoning that gives known answers about plain pictures."""
    from answering_fakereasoning import save_answering_checkpoint

    return save_answering_checkpoint(tmp_path_factory.mktemp("checkpoint") / "answering")


@pytest.fixture(scope="session")
def legion_checkpoint(tmp_path_factory) -> Path:
    """Folder of a tiny LEGION that gives known answers and verdicts about plain pictures."""
    from answering_legion import save_answering_legion

    return save_answering_legion(tmp_path_factory.mktemp("checkpoint") / "legion")


def make_photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth random colours with noise."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((width, height))
    noise = generator.integers(-20, 21, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(coarse, dtype=int) + noise, 0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def photos() -> list[Image.Image]:
    """Photographs of different sizes, two of one size."""
    sizes = [(150, 100), (100, 150), (150, 100), (300, 200), (90, 120), (64, 64)]
    return [make_photo(width, height, seed) for seed, (width, height) in enumerate(sizes)]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 kB, which is really full soon; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small file system is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
