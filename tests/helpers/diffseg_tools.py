"""Real tiny tools for the construction of edited images, and a vision-language model's answers for them.

from diffseg_tools import answer_diffseg, edit_tools
"""

import hashlib
import json

from chat_server import Request, Status
from PIL import Image
from tiny_diffusion import tiny_inpainting_pipeline
from tiny_grounding import tiny_grounding_dino, tiny_sam

from forgescope.construction.diffseg.editing import Tools
from forgescope.construction.diffseg.editors import Editor
from forgescope.construction.diffseg.grounding import GroundedSam
from forgescope.construction.vision_language import ServerVisionLanguage

EDITORS = ("sd2", "glide")
SMALL_SIZE = 32  # what the tiny Glide edits
THINGS = ("woman in a green coat", "dog", "red car", "bench", "man", "tree")
PEOPLE = ("woman in a green coat", "man")


def edit_tools(url: str, **settings) -> Tools:
    """Two tiny diffusion pipelines, Grounding DINO, SAM, and the client of a server."""
    return Tools(
        ServerVisionLanguage(url, "tiny", first_wait=0.0, timeout=60, **settings),
        GroundedSam(*tiny_grounding_dino(), *tiny_sam(), box_threshold=0.0),
        {
            "sd2": Editor(tiny_inpainting_pipeline(0), num_inference_steps=1),
            "glide": Editor(tiny_inpainting_pipeline(1), SMALL_SIZE, num_inference_steps=1),
        },
    )


def picture_number(image: Image.Image) -> int:
    """A number that the pixels decide."""
    return int.from_bytes(hashlib.sha256(image.tobytes()).digest()[:4], "big")


def answer_diffseg(request: Request) -> str | Status:
    """Answers that the request decides: most are of use, some are wrapped, some broken once, some for good."""
    number, again = picture_number(request.images[-1]), "could not be used" in request.prompt
    if request.digest % 5 == 0 and not request.seen:
        return Status(503)
    if request.digest % 4 == 1 and not again:
        return "Sure! Here is what you asked for."
    reply = _reply(request.prompt, number)
    return f"```json\n{reply}\n```" if request.digest % 3 == 0 else reply


def _reply(prompt: str, number: int) -> str:
    if '"objects"' in prompt:
        if number % 8 == 0:
            return '{"objects": []}'
        if number % 8 == 1:
            return '{"objects": "a dog"}'
        names = [THINGS[(number + place) % len(THINGS)] for place in range(3)]
        return json.dumps({"objects": [{"name": name, "person": name in PEOPLE} for name in names]})
    if '"score"' in prompt:
        return json.dumps({"score": number % 6, "reason": f"it looks like {number % 6}"})
    if '"object"' in prompt:
        return json.dumps({"object": "parrot", "prompt": f"a parrot, light {number % 9}"})
    return json.dumps({"prompt": f"a wall, light {number % 9}"})


__all__ = ["EDITORS", "SMALL_SIZE", "answer_diffseg", "edit_tools", "picture_number"]
