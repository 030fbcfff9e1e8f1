"""A vision-language model behind a chat server: `model(images, prompt) -> text` over OpenAI's interface."""

import base64
import io
import logging
from collections.abc import Sequence
from typing import Any

from PIL import Image

from .vision_language_usage import Usage

logger = logging.getLogger(__name__)

# HTTP statuses that pass: the request is sent again after a wait.
PASSING_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
# HTTP statuses that no other request would change: wrong key, wrong address or model name.
HOPELESS_STATUSES = frozenset({401, 403, 404})
# Sent where no key is given. Without it the client would send the user's own Hub token to the server.
NO_KEY = "none"
LONGEST_WAIT = 60.0  # seconds before a request is sent again


class ServerError(OSError):
    """The server cannot be used: it does not answer, or not to this key or model name."""


class RefusedRequest(ValueError):
    """The server refuses this one request, for instance for its length."""


class ServerVisionLanguage:
    """A server with OpenAI's chat interface, such as vLLM, SGLang, llama.cpp or a hosted one.

    Images go as PNG in data URLs. Timeouts and passing errors are tried again, each time after twice the wait.
    `HF_HUB_OFFLINE=1` also keeps this client from any server.

    Args:
        base_url: address, such as `http://localhost:8000/v1`.
        model: the name that the server knows.
        api_key: key of the server; the user's Hub token is never sent.
        temperature: 0 asks for the likeliest token each time.
        seed: sent along; not every server heeds it.
        max_new_tokens: longest reply.
        timeout: seconds that one request may take.
        retries: how often a request is sent again.
        first_wait: seconds before the first repetition.

    Raises:
        ValueError: the address does not begin with http.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str | None = None,
        temperature: float = 0.0,
        seed: int = 0,
        max_new_tokens: int = 512,
        timeout: float = 120.0,
        retries: int = 5,
        first_wait: float = 1.0,
    ):
        from huggingface_hub import InferenceClient

        if not base_url.startswith(("http://", "https://")):
            raise ValueError(f"base_url must begin with http:// or https://, got {base_url!r}")
        self.base_url, self.model = base_url, model
        self.client = InferenceClient(base_url=base_url, api_key=api_key or NO_KEY, timeout=timeout)
        self.arguments = {"temperature": temperature, "seed": seed, "max_tokens": max_new_tokens}
        self.retries, self.first_wait = retries, first_wait
        self.usage = Usage()

    def __call__(self, images: Sequence[Image.Image], prompt: str) -> str:
        """Answer a prompt about images; "" where the server returns no text.

        Raises:
            RefusedRequest: the server refuses this request.
            ServerError: the server does not answer, or refuses every request.
        """
        parts = [{"type": "image_url", "image_url": {"url": data_url(image)}} for image in images]
        reply = self._send([{"role": "user", "content": [*parts, {"type": "text", "text": prompt}]}])
        if reply.choices is None:
            raise ServerError(f"{self.base_url} does not answer as a chat server (no choices)")
        used = reply.usage
        self.usage.add(getattr(used, "prompt_tokens", None) or 0, getattr(used, "completion_tokens", None) or 0)
        return (reply.choices[0].message.content or "") if reply.choices else ""

    def _send(self, messages: list[dict[str, Any]]) -> Any:
        from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled
        from tenacity import Retrying, before_sleep_log, retry_if_exception, stop_after_attempt, wait_exponential

        attempts = Retrying(
            stop=stop_after_attempt(self.retries + 1),
            wait=wait_exponential(self.first_wait, max=LONGEST_WAIT),
            retry=retry_if_exception(_passes),
            before_sleep=before_sleep_log(logger, logging.WARNING),
            reraise=True,
        )
        try:
            return attempts(self.client.chat_completion, messages, model=self.model, **self.arguments)
        except HfHubHTTPError as error:
            status, text = error.response.status_code, " ".join(error.response.text.split())[:200]
            message = f"{self.base_url} answers {status} to model {self.model!r}: {text}"
            if status in HOPELESS_STATUSES | PASSING_STATUSES:
                raise ServerError(message) from error
            raise RefusedRequest(message) from error
        except OfflineModeIsEnabled as error:
            raise ServerError(f"HF_HUB_OFFLINE forbids all requests, that to {self.base_url} too: unset it") from error
        except (HTTPError, ValueError, TypeError, KeyError, AttributeError) as error:  # the last four: a strange body
            raise ServerError(f"{self.base_url} does not answer as a chat server ({error})") from error


def data_url(image: Image.Image) -> str:
    """An image as the address of a PNG that holds it."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _passes(error: BaseException) -> bool:
    """Whether an error may be gone at the next try: a timeout, a broken connection, a server that is busy."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in PASSING_STATUSES
    return isinstance(error, HTTPError)


__all__ = ["RefusedRequest", "ServerError", "ServerVisionLanguage", "data_url"]
