"""A small folder of forged images, the tiny model, and a short recipe."""

import json

import numpy as np
import pytest
from PIL import Image

TINY = {
    "encoder_config": {
        "depths": [1, 1, 1, 1],
        "hidden_sizes": [8, 16, 24, 32],
        "num_attention_heads": [1, 2, 3, 4],
        "sr_ratios": [4, 2, 1, 1],
        "drop_path_rate": 0.0,
    },
    "head_hidden_sizes": [16, 16, 8, 8],
}
SHORT = {
    "optim": "adamw_torch",
    "learning_rate": 1e-3,
    "lr_scheduler_type": "constant",
    "per_device_train_batch_size": 4,
    "per_device_eval_batch_size": 4,
    "max_steps": 6,
    "logging_steps": 1,
    "save_strategy": "no",
    "eval_strategy": "no",
    "dataloader_num_workers": 0,
    "report_to": "none",
    "use_cpu": True,
    "seed": 3,
}


def write_folder(folder, count: int, size: int = 64) -> None:
    """Noise images; forged ones hold a flat square. Every fourth is authentic."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for index in range(count):
        pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
        mask = np.zeros((size, size), np.uint8)
        if index % 4:
            top, left = rng.integers(0, size // 2, 2)
            mask[top : top + size // 3, left : left + size // 3] = 255
            pixels[mask > 0] = 128
        Image.fromarray(pixels).save(folder / f"images/{index}.png")
        Image.fromarray(mask).save(folder / f"masks/{index}.png")
        rows.append(
            {
                "file_name": f"images/{index}.png",
                "mask_file_name": f"masks/{index}.png",
                "label": 0,
                "task": "splicing" if index % 4 else "authentic",
                "id": str(index),
                "source": "test",
            }
        )
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="session")
def forgery_folder(tmp_path_factory):
    """A folder with splits `train` (16 images) and `validation` (7 images) of 64 x 64 pixels."""
    folder = tmp_path_factory.mktemp("forgeries")
    write_folder(folder / "train", 16)
    write_folder(folder / "validation", 7)
    return folder


@pytest.fixture
def tiny_recipe():
    """A recipe for the tiny network at 64 x 64 pixels with random crops and JPEG."""
    from forgescope.trainers.augmentation import AugmentationConfig
    from forgescope.trainers.recipe import Recipe

    return Recipe(
        name="tiny",
        model=TINY,
        processor={"size": {"height": 64, "width": 64}},
        augmentation=AugmentationConfig(flip_probability=0.5),
        training=dict(SHORT),
    )
