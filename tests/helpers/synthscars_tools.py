"""A tiny feature network with its file of weights, and a vision-language model's labels, for the curation of images.

from synthscars_tools import TINY_NETWORK, answer_curation, save_tiny_weights
"""

import json
from pathlib import Path

import timm
import torch
from chat_server import Request, Status
from diffseg_tools import picture_number

TINY_NETWORK = "test_resnet"  # 96 features of 160 x 160 pixels
CRITERIA = ("clarity", "safety", "realism")


def save_tiny_weights(file: Path, seed: int = 0) -> Path:
    """Write random weights of the tiny network, its classifier included."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.save(timm.create_model(TINY_NETWORK).state_dict(), file)
    return file


def answer_curation(request: Request) -> str | Status:
    """Labels that the picture decides; some replies are wrapped, some broken once, some for good."""
    number, again = picture_number(request.images[0]), "could not be used" in request.prompt
    if number % 6 == 0 and not request.seen:
        return Status(503)
    if number % 9 == 4 or (number % 3 == 1 and not again):
        return "It is a fine picture."
    met = {name: number // place % 5 != 0 for name, place in zip(CRITERIA, (1, 5, 25), strict=True)}
    reply = json.dumps({**met, "reason": "" if all(met.values()) else f"number {number}"})
    return f"```json\n{reply}\n```" if number % 7 == 0 else reply


__all__ = ["CRITERIA", "TINY_NETWORK", "answer_curation", "save_tiny_weights"]
