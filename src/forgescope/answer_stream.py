"""An answer shown while it is generated."""

from collections.abc import Callable
from functools import partial

import torch
from transformers import PreTrainedTokenizerBase
from transformers.generation.streamers import BaseStreamer


class AnswerStream(BaseStreamer):
    """Hand on the text of one answer word by word; together it is the text of the whole answer.

    transformers' `TextStreamer` decodes every line on its own, where Llama's tokenizer drops a leading blank.

    Args:
        tokenizer: of the model.
        write: is called with every piece of text.
        decode: text of ids; None: the tokenizer's, without special tokens.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        write: Callable[[str], object],
        decode: Callable[[list[int]], str] | None = None,
    ):
        self.decode = partial(tokenizer.decode, skip_special_tokens=True) if decode is None else decode
        self.write = write
        self.ids: list[int] = []
        self.written = 0

    def put(self, value: torch.Tensor) -> None:
        """Take the prompt (1, L), then each new token (1,)."""
        if value.dim() > 1:
            self.ids, self.written = [], 0
            return
        self.ids += value.reshape(-1).tolist()
        # the last word may go on, and a blank behind it may be the last of the answer
        finished, *last = self._text().rsplit(maxsplit=1) or [""]
        self._write(finished if last else "")

    def end(self) -> None:
        """Write the rest."""
        self._write(self._text().rstrip())

    def _text(self) -> str:
        return self.decode(self.ids).lstrip()

    def _write(self, text: str) -> None:
        if len(text) > self.written:
            self.write(text[self.written :])
            self.written = len(text)
