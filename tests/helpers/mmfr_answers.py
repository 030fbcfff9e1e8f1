"""Answers of a vision-language model that describes real and fake images.

from mmfr_answers import answer_mmfr, mmfr_client, mmfr_image_folder, mmfr_job
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from chat_server import ChatServer, Request, Status
from PIL import Image

from forgescope.construction.mmfr import MMFRJob
from forgescope.construction.mmfr_attributes import ATTRIBUTES
from forgescope.construction.mmfr_images import LabelledImage
from forgescope.construction.vision_language import ServerVisionLanguage
from forgescope.processing.chain_of_thought import QUESTION, build_chain_of_thought

CAPTION = "A dog sleeps on a bench, number {number}"


def mmfr_image_folder(root: Path, real: int = 6, fake: int = 6, side: int = 24) -> Path:
    """A folder `pets` with noise pictures below 0_real and 1_fake; returns it."""
    rng = np.random.default_rng(0)
    for folder, count in (("0_real", real), ("1_fake", fake)):
        (root / "pets" / folder).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "pets" / folder / f"image{number}.png")
    return root / "pets"


def answer_mmfr(request: Request) -> str | Status:
    """Answers that picture and prompt decide: most are of use, some are wrapped, some broken once, some for good.

    By `picture_number` mod 12: 0 is undecided, 1 contradicts the label, 2 never answers in JSON, 3 names no known
    attribute, all others are described.
    """
    number, again = picture_number(request.images[0]), "could not be used" in request.prompt
    if request.digest % 5 == 0 and not request.seen:
        return Status(503)
    if request.digest % 4 == 1 and not again:
        return "Sure! Here is what you asked for."
    reply = reply_to(request.prompt, number)
    return f"```json\n{reply}\n```" if request.digest % 3 == 0 else reply


def reply_to(prompt: str, number: int) -> str:
    """Reply about the picture of a number."""
    if '"caption"' in prompt:
        return json.dumps({"caption": CAPTION.format(number=number % 100)})
    label = "fake" if '"answer": "fake"' in prompt else "real"
    if number % 12 == 0:
        return '{"answer": "Undecided."}'
    if number % 12 == 1:
        return json.dumps({"answer": "real" if label == "fake" else "fake", "attributes": {}})
    if number % 12 == 2:
        return "I cannot help with that."
    named = {"Mood": "It is gloomy"}
    if number % 12 != 3:
        chosen = [entry.name for place, entry in enumerate(ATTRIBUTES[label]) if number >> place & 1 or place == 2]
        named |= {name.lower(): f"See the {name.split()[0].lower()} part" for name in chosen}
    return json.dumps({"answer": label.title(), "attributes": named})


def plain_model(images: list[Image.Image], prompt: str) -> str:
    """A model that answers as the server does, without the replies that are broken once."""
    return reply_to(prompt, picture_number(images[0]))


def mmfr_client(server: ChatServer, **settings) -> ServerVisionLanguage:
    """Client of a server, which does not wait long."""
    return ServerVisionLanguage(server.url, "tiny", **{"first_wait": 0.0, "timeout": 30, **settings})


def mmfr_job(images: list[LabelledImage], out: Path, model: Any, **changes) -> MMFRJob:
    """A job that writes answers as FakeReasoning reads them."""
    return MMFRJob(images, out, model, build_chain_of_thought, QUESTION, **changes)


def lines(file: Path) -> list[dict[str, Any]]:
    """Rows of a JSON Lines file."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def picture_number(image: Image.Image) -> int:
    """A number that the pixels decide."""
    return int.from_bytes(hashlib.sha256(image.tobytes()).digest()[:4], "big")


__all__ = [
    "CAPTION",
    "answer_mmfr",
    "lines",
    "mmfr_client",
    "mmfr_image_folder",
    "mmfr_job",
    "picture_number",
    "plain_model",
    "reply_to",
]
