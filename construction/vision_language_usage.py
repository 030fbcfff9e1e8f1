"""How much a vision-language model was asked: calls and tokens."""

import copy
import dataclasses
from typing import Any


@dataclasses.dataclass
class Usage:
    """What was asked: answered calls, and tokens where the model or the server counts them."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Count one call."""
        self.calls += 1
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens

    def since(self, earlier: "Usage") -> dict[str, int]:
        """What was added to an earlier state."""
        before = dataclasses.asdict(earlier)
        return {name: value - before[name] for name, value in dataclasses.asdict(self).items()}


def usage_of(model: Any) -> Usage:
    """A copy of what a model has counted; nothing for a function that does not count."""
    return dataclasses.replace(getattr(model, "usage", Usage()))


def counting_alone(model: Any) -> Any:
    """The same model with a count of its own from 0 on, for one of several threads; the given one does not count then.

    A function that does not count is returned as it is.
    """
    if not hasattr(model, "usage"):
        return model
    alone = copy.copy(model)
    alone.usage = Usage()
    return alone


__all__ = ["Usage", "counting_alone", "usage_of"]
