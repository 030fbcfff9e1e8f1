"""Make the images of this folder again: `python examples/make_examples.py [FOLDER]`.

The photographs come from installed packages (scikit-image and scikit-learn, both in the extra `test`); SOURCES.md
names their authors and licences. Bytes are the same with the library versions that SOURCES.md states.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from forgescope.construction.framing import encode_png
from forgescope.construction.manipulation import Manipulation, ManipulationConfig, manipulate
from forgescope.construction.manipulation_folder import write_atomically

CONFIG = ManipulationConfig(
    max_side=448,
    min_side_share=0.9,
    min_crop_share=0.6,
    area=(0.03, 0.2),
    fill_area=(0.03, 0.15),
    image_format="jpeg",
    jpeg_quality=(85, 95),
    resize_probability=0.0,
)
# Kind, host, donor, seed: each seed was chosen by eye among the first ones.
EXAMPLES = (
    ("copy_move", "chelsea.png", None, 14),
    ("copy_move", "flower.jpg", None, 14),
    ("splicing", "china.jpg", "rocket.jpg", 14),
    ("splicing", "coffee.png", "chelsea.png", 10),
    ("inpainting", "rocket.jpg", None, 10),
    ("inpainting_blended", "china.jpg", None, 4),
    ("authentic", "coffee.png", None, 1),
    ("authentic", "rocket.jpg", None, 2),
)


def photo_folders() -> list[Path]:
    """Folders of the two packages that hold photographs.

    Raises:
        ImportError: a package is missing.
    """
    try:
        import skimage
        import sklearn
    except ImportError as error:
        raise ImportError(f"{error}: install the photographs with `pip install scikit-image scikit-learn`") from error
    return [Path(skimage.__file__).parent / "data", Path(sklearn.__file__).parent / "datasets" / "images"]


def read_photo(name: str) -> Image.Image:
    """Read a photograph by its file name."""
    path = next(folder / name for folder in photo_folders() if (folder / name).is_file())
    with Image.open(path) as image:
        return image.convert("RGB")


def make_example(task: str, host: str, donor: str | None, seed: int) -> Manipulation:
    """Make one image of the list."""
    rng = np.random.default_rng(seed)
    return manipulate(read_photo(host), task, rng, CONFIG, read_photo(donor) if donor else None)


def make_examples(out: Path) -> None:
    """Write images, masks and metadata.jsonl into a folder."""
    rows = []
    for task, host, donor, seed in EXAMPLES:
        made = make_example(task, host, donor, seed)
        name = f"{task}_{Path(host).stem}"
        row = {
            "file_name": f"images/{name}{made.suffix}",
            "mask_file_name": f"masks/{name}.png",
            "label": made.label,
            "task": task,
            "id": name,
            "source": "examples",
            "photo": host,
            "donor": donor,
            "seed": seed,
        }
        write_atomically(out / row["file_name"], made.encoded)
        write_atomically(out / row["mask_file_name"], encode_png(made.mask * 255))
        rows.append(json.dumps(row))
    write_atomically(out / "metadata.jsonl", "".join(f"{row}\n" for row in rows).encode())


if __name__ == "__main__":
    make_examples(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
