"""Tiny SynthScars, LOKI, RichHF-18K and UniversalFakeDetect, and someone who finds their artifacts.

from artifact_corpora import Finder, write_synthscars
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from archives_layout import encoded, image_bytes, mask_bytes, write_tree
from PIL import Image
from tfrecord_layout import example_bytes, record_bytes

SIZE = (24, 16)  # width, height
# (left, top, right, bottom), corners included, of each image's artifacts
BOXES = (((1, 1, 6, 5), (10, 4, 15, 12)), ((3, 2, 20, 9),), ((0, 0, 4, 4), (8, 8, 12, 12), (2, 2, 10, 10)))
PHRASES = ("left hand", "right eye", "roof")


def box_mask(*boxes) -> np.ndarray:
    mask = np.zeros(SIZE[::-1], np.uint8)
    for left, top, right, bottom in boxes:
        mask[top : bottom + 1, left : right + 1] = 1
    return mask


def polygon(left, top, right, bottom) -> list[float]:
    return [float(one) for one in (left, top, right, top, right, bottom, left, bottom)]


def caption(number: int) -> str:
    parts = "".join(f"{PHRASES[place]}:odd in {number}." for place in range(len(BOXES[number])))
    return f"I have found: artifacts\nTo elaborate, {parts}"


def write_synthscars(root: Path, broken: bool = False) -> Path:
    """Three test images with one to three artifacts; a fourth without any, a fifth that cannot be read if `broken`."""
    refs = [
        [
            {"sentence": PHRASES[place], "segmentation": [polygon(*box)], "bbox": None, "explanation": "odd"}
            for place, box in enumerate(boxes)
        ]
        for boxes in BOXES
    ]
    entries = [
        {str(number): {"img_file_name": f"im{number}.png", "caption": caption(number), "refs": own}}
        for number, own in enumerate(refs)
    ]
    entries.append({"3": {"img_file_name": "im3.png", "caption": "nothing", "refs": []}})
    files = {f"test/images/im{number}.png": image_bytes(number, SIZE) for number in range(4)}
    if broken:
        entries.append({"4": {"img_file_name": "im4.png", "caption": "", "refs": []}})
        files["test/images/im4.png"] = b""
    files["test/annotations/test.json"] = json.dumps(entries).encode()
    return write_tree(root, files)


def write_loki(root: Path) -> Path:
    entries = [
        {
            "image_path": f"media_data/image/im{number}.png",
            "problems": {
                "regional": [
                    {"region": [left, top, right - left, bottom - top], "desc": f"region {place}"}
                    for place, (left, top, right, bottom) in enumerate(boxes)
                ],
                "global": [{"desc": f"too smooth {number}"}],
            },
        }
        for number, boxes in enumerate(BOXES)
    ]
    files = {f"media_data/image/im{number}.png": image_bytes(number, SIZE) for number in range(3)}
    files["data_json/image/open_ended_vqa.json"] = json.dumps(entries).encode("utf-16")
    return write_tree(root, files)


def write_richhf(root: Path) -> Path:
    scores = {f"{name}_score": [0.5] for name in ("aesthetics", "artifact", "misalignment", "overall")}
    examples = [
        {
            "filename": [f"test/im{number}.png".encode()],
            **scores,
            "artifact_map": [mask_bytes(box_mask(*boxes) * 99)],
            "misalignment_map": [mask_bytes(box_mask())],
            "prompt_misalignment_label": [b"1"],
        }
        for number, boxes in enumerate(BOXES)
    ]
    files = {f"images/im{number}.png": image_bytes(number, SIZE) for number in range(3)}
    files["test.tfrecord"] = b"".join(record_bytes(example_bytes(one)) for one in examples)
    return write_tree(root, files)


def shade_bytes(level: int, seed: int) -> bytes:
    """A nearly flat picture of a brightness."""
    noise = np.random.default_rng(seed).integers(0, 5, (*SIZE[::-1], 3))
    return encoded(Image.fromarray((level + noise).astype(np.uint8)))


def write_universal(root: Path, families: dict[str, tuple[str, ...]], per_class: int = 2) -> Path:
    """Fakes of every generator are bright, its real images dark."""
    shared = {"guided": "imagenet"}
    files = {}
    for generator in (name for members in families.values() for name in members):
        is_diffusion = generator in families["Diffusion"]
        place = f"diffusion_datasets/{generator}" if is_diffusion else generator
        photos = f"diffusion_datasets/{shared.get(generator, 'laion')}" if is_diffusion else generator
        for number in range(per_class):
            files[f"test/{place}/1_fake/{number}.png"] = shade_bytes(200, number)
            files[f"test/{photos}/0_real/{number}.png"] = shade_bytes(40, number)
    return write_tree(root, files)


@dataclass
class Phrase:
    phrase: str
    explanation: str
    mask: np.ndarray
    score: float | None = 1.0


@dataclass
class Found:
    text: str
    phrases: list[Phrase]
    fake_probability: float | None = 0.75


@dataclass
class Finder:
    """Marks the bright pixels of each half of an image, so that what it finds changes with the pixels."""

    asked: list[int] = field(default_factory=list)
    broken: bool = False

    def grounded(self, images):
        self.asked.append(len(images))
        if self.broken:
            raise RuntimeError("out of memory")
        return [self.find(image) for image in images]

    def find(self, image) -> Found:
        bright = (np.asarray(image.convert("L")) > 140).astype(np.uint8)
        halves = [bright.copy(), bright.copy()]
        halves[0][:, image.width // 2 :] = 0
        halves[1][:, : image.width // 2] = 0
        phrases = [Phrase(name, "odd", mask) for name, mask in zip(PHRASES, halves, strict=False)]
        phrases.append(Phrase("no mask", "odd", np.zeros_like(bright), None))
        return Found("<p> left hand </p> [SEG]: odd\n<p> right eye </p> [SEG]: odd", phrases)


__all__ = [
    "BOXES",
    "PHRASES",
    "SIZE",
    "Finder",
    "Found",
    "Phrase",
    "box_mask",
    "caption",
    "write_loki",
    "write_richhf",
    "write_synthscars",
    "write_universal",
]
