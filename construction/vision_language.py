"""Vision-language models as one call, `model(images, prompt) -> text`: on this machine, or behind a chat server.

`TransformersVisionLanguage` runs any image-text-to-text model of Transformers, `ServerVisionLanguage` asks any server
with OpenAI's chat interface. Both answer the same request alike whatever was asked before, as far as the model allows,
and count calls and tokens in `usage`. Any other function of this form will do as well.
"""

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from typing import Any, Protocol

from PIL import Image

from .chat_client import RefusedRequest, ServerError, ServerVisionLanguage
from .vision_language_usage import Usage, usage_of

# Images asked about at the same time, unless the user says otherwise: a server works on several, this machine on one.
SERVER_WORKERS = 8


class VisionLanguageModel(Protocol):
    """Answers a question about images."""

    def __call__(self, images: Sequence[Image.Image], prompt: str) -> str:
        """Return the reply to a prompt that follows the images (PIL RGB)."""


@dataclasses.dataclass(frozen=True)
class VisionLanguageSettings:
    """Which model, and how it is asked.

    Args:
        model: Hub id or folder; with `base_url` the name that the server knows.
        base_url: address of a server, such as `http://localhost:8000/v1`; None runs the model here.
        api_key_env: name of the environment variable that holds the server's key.
        device: `cpu`, `cuda`, ...; None for a GPU if there is one.
        dtype: `auto` (as stored), `float32`, `float16` or `bfloat16`.
        temperature: 0 takes the likeliest token each time.
        seed: of the sampling.
        max_new_tokens: longest reply.
        timeout: seconds that one request may take.
        retries: how often a request is sent again after a passing error.
        first_wait: seconds before the first repetition; doubled each time.
    """

    model: str
    base_url: str | None = None
    api_key_env: str | None = None
    device: str | None = None
    dtype: str = "auto"
    temperature: float = 0.0
    seed: int = 0
    max_new_tokens: int = 512
    timeout: float = 120.0
    retries: int = 5
    first_wait: float = 1.0

    def __post_init__(self):
        for name, least in (("temperature", 0), ("max_new_tokens", 1), ("retries", 0), ("first_wait", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.timeout <= 0:
            raise ValueError(f"timeout must be above 0 seconds, got {self.timeout}")

    def decisive(self) -> dict[str, Any]:
        """The settings that decide about replies, for a record."""
        names = ("model", "dtype", "temperature", "seed", "max_new_tokens")
        return {name: getattr(self, name) for name in names} | {"server": self.base_url is not None}

    def workers(self, wanted: int | None = None) -> int:
        """Images asked about at the same time.

        Args:
            wanted: how many; None for 8 with a server, else 1.

        Raises:
            ValueError: more than one for a model on this machine.
        """
        if wanted is not None and wanted > 1 and self.base_url is None:
            raise ValueError(f"{wanted} workers need a server (base_url): a model on this machine answers one by one")
        return wanted or (1 if self.base_url is None else SERVER_WORKERS)


class TransformersVisionLanguage:
    """An image-text-to-text model of Transformers.

    Args:
        model: the model.
        processor: its processor, with a chat template.
        temperature: 0 takes the likeliest token each time; above it the sampling is seeded by `seed` and the request.
        seed: see there.
        max_new_tokens: longest reply.
    """

    def __init__(self, model: Any, processor: Any, temperature: float = 0.0, seed: int = 0, max_new_tokens: int = 512):
        self.model, self.processor = model.eval(), processor
        self.temperature, self.seed, self.max_new_tokens = temperature, seed, max_new_tokens
        self.usage = Usage()

    def __call__(self, images: Sequence[Image.Image], prompt: str) -> str:
        """Answer a prompt about images."""
        import torch

        parts: list[dict[str, Any]] = [{"type": "image", "image": image} for image in images]
        inputs = self.processor.apply_chat_template(
            [{"role": "user", "content": [*parts, {"type": "text", "text": prompt}]}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(self.model.device, self.model.dtype)
        sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if self.temperature > 0:
            sampling = {"do_sample": True, "temperature": self.temperature}
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(_request_seed(self.seed, images, prompt))
            tokens = self.model.generate(**inputs, max_new_tokens=self.max_new_tokens, **sampling)
        reply = tokens[0, inputs["input_ids"].shape[1] :]
        self.usage.add(inputs["input_ids"].shape[1], len(reply))
        return self.processor.decode(reply, skip_special_tokens=True)


def load_vision_language(settings: VisionLanguageSettings) -> TransformersVisionLanguage | ServerVisionLanguage:
    """Load a model, or make the client of a server.

    Raises:
        ValueError: a wrong setting, or an environment variable without a key.
        OSError: no such model.
    """
    asked = {name: getattr(settings, name) for name in ("temperature", "seed", "max_new_tokens")}
    if settings.base_url is not None:
        key = None if settings.api_key_env is None else os.environ.get(settings.api_key_env)
        if settings.api_key_env is not None and not key:
            raise ValueError(f"the environment variable {settings.api_key_env} holds no key (api_key_env)")
        limits = {name: getattr(settings, name) for name in ("timeout", "retries", "first_wait")}
        return ServerVisionLanguage(settings.base_url, settings.model, api_key=key, **asked, **limits)
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    device = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
    model = AutoModelForImageTextToText.from_pretrained(settings.model, dtype=settings.dtype).to(device)
    return TransformersVisionLanguage(model, AutoProcessor.from_pretrained(settings.model), **asked)


def _request_seed(seed: int, images: Sequence[Image.Image], prompt: str) -> int:
    """A number of 32 bits that the seed and the request decide."""
    digest = hashlib.sha256(f"{seed} {prompt}".encode())
    for image in images:
        digest.update(image.tobytes())
    return int.from_bytes(digest.digest()[:4], "big")


__all__ = [
    "SERVER_WORKERS",
    "RefusedRequest",
    "ServerError",
    "ServerVisionLanguage",
    "TransformersVisionLanguage",
    "Usage",
    "VisionLanguageModel",
    "VisionLanguageSettings",
    "load_vision_language",
    "usage_of",
]
