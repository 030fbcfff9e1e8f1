"""A few synthetic pairs whose edits are known."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

SIZE = (200, 260)
# x, y and radius of what was edited in each pair
EDITS = {"a": (70, 60, 25), "b": (180, 120, 40), "c": (130, 100, 18)}


def draw_scene(seed: int) -> np.ndarray:
    """A scene with corners at all scales: (200, 260, 3)."""
    rng = np.random.default_rng(seed)
    image = np.full((*SIZE, 3), 128, np.uint8)
    for _ in range(160):
        x, y, side = int(rng.integers(SIZE[1])), int(rng.integers(SIZE[0])), int(rng.integers(5, 40))
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        cv2.rectangle(image, (x, y), (x + side, y + side // 2), colour, -1)
    return cv2.GaussianBlur(image, (0, 0), 0.7)


@pytest.fixture
def pair_table(tmp_path: Path) -> Path:
    """A CSV of three good pairs and four bad ones: unrelated, flat, identical, and a file that is no image."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    lines = []
    for number, (name, (x, y, radius)) in enumerate(EDITS.items()):
        original = draw_scene(number)
        edited = cv2.circle(original.copy(), (x, y), radius, (250, 20, 30), -1)
        Image.fromarray(original).save(folder / f"{name}_o.png")
        Image.fromarray(edited).save(folder / f"{name}_e.png")
        lines.append((f"{name}_o.png", f"{name}_e.png", name, "subject_addition", f"add a ball, {name}"))
    Image.fromarray(draw_scene(77)).save(folder / "other.png")
    Image.fromarray(np.full((*SIZE, 3), 90, np.uint8)).save(folder / "flat.png")
    (folder / "text.png").write_text("no image")
    lines += [
        ("a_o.png", "other.png", "unrelated", "", ""),
        ("flat.png", "a_e.png", "flat", "", ""),
        ("a_o.png", "a_o.png", "identical", "", ""),
        ("a_o.png", "text.png", "broken", "", ""),
    ]
    table = folder / "pairs.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("original", "edited", "id", "task", "instruction"), *lines])
    return table
