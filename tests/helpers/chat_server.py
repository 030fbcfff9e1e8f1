"""A local HTTP server with OpenAI's chat interface, whose replies a function gives.

from chat_server import ChatServer, Status
"""

import base64
import hashlib
import io
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image


@dataclass(frozen=True)
class Status:
    """An answer that is an error: HTTP status, and the seconds before it is given."""

    code: int = 500
    delay: float = 0.0
    body: str = "no"


@dataclass(frozen=True)
class Request:
    """What was asked.

    Args:
        prompt: the text.
        images: decoded images.
        seen: how often the same body came before.
        digest: of the body.
    """

    prompt: str
    images: list[Image.Image]
    seen: int
    digest: int


class QuietServer(ThreadingHTTPServer):
    """Says nothing of clients that did not wait for the answer."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing."""


class ChatServer:
    """Runs while it is a context; `url` is what a client needs.

    Args:
        answer: returns the reply's text, a `Status`, or a dict that is sent as it is.
    """

    def __init__(self, answer: Callable[[Request], Any]):
        self.answer = answer
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.seen: Counter[bytes] = Counter()
        chat = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                chat.paths.append(self.path)
                chat.headers.append({name.lower(): value for name, value in self.headers.items()})
                code, content, kind = chat.respond(raw)
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments):
                pass

        self.server = QuietServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def __enter__(self) -> "ChatServer":
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def respond(self, raw: bytes) -> tuple[int, bytes, str]:
        """Status, body and content type of a request."""
        body = json.loads(raw)
        self.bodies.append(body)
        parts = body["messages"][0]["content"]
        prompt = "\n".join(part["text"] for part in parts if part["type"] == "text")
        images = [_decoded(part["image_url"]["url"]) for part in parts if part["type"] == "image_url"]
        digest = int.from_bytes(hashlib.sha256(raw).digest()[:8], "big")
        answer = self.answer(Request(prompt, images, self.seen[raw], digest))
        self.seen[raw] += 1
        if isinstance(answer, Status):
            time.sleep(answer.delay)
            return answer.code, answer.body.encode(), "text/plain"
        if isinstance(answer, str):
            answer = completion(answer, prompt)
        return 200, json.dumps(answer).encode(), "application/json"


def completion(text: str, prompt: str) -> dict[str, Any]:
    """A reply as such servers send it; a word counts as a token."""
    used = {"prompt_tokens": len(prompt.split()), "completion_tokens": len(text.split())}
    return {
        "id": "one",
        "object": "chat.completion",
        "created": 0,
        "model": "tiny",
        "system_fingerprint": "",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": used | {"total_tokens": sum(used.values())},
    }


def _decoded(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,")))).convert("RGB")


__all__ = ["ChatServer", "Request", "Status", "completion"]
