"""A model asked about photographs, several at a time: what fails is named, the others go on, a dead server ends it."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from .bounded_threads import finished_calls
from .chat_client import ServerError

# A server that failed so many photographs in a row, and at least one in each thread, is given up.
MOST_SERVER_ERRORS = 3
Item = TypeVar("Item")


class Asking(Generic[Item]):
    """One run of questions, and what became of them.

    Args:
        ask: row of an item; called in threads.
        photo_of: the photograph of an item.
        workers: items asked about at the same time.

    Attributes:
        made: items that were answered.
        failed: photograph -> why it could not be asked about.
        stopped: why the run ended early; None when it did not.
    """

    def __init__(self, ask: Callable[[Item], dict[str, Any]], photo_of: Callable[[Item], Path], workers: int):
        self._ask, self._photo_of, self._workers = ask, photo_of, workers
        self.made = 0
        self.failed: dict[str, str] = {}
        self.stopped: str | None = None

    def rows(self, items: Iterable[Item]) -> Iterator[dict[str, Any] | None]:
        """Row of each item, as they come; None for one that failed. What was begun at a stop is waited for."""
        errors_in_a_row = 0
        for item, call in finished_calls(self._ask, self._until_stopped(items), self._workers):
            photo, row = self._photo_of(item), None
            try:
                row = call.result()
            except ServerError as error:
                self.failed[str(photo)] = f"{photo}: {error}"
                errors_in_a_row += 1
                if errors_in_a_row == max(MOST_SERVER_ERRORS, self._workers):
                    self.stopped = str(error)
            except Exception as error:  # photographs and models fail in any way, and the others must go on
                self.failed[str(photo)] = reason_of(photo, error)
            else:
                errors_in_a_row = 0
                self.made += 1
            yield row

    def _until_stopped(self, items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            if self.stopped is not None:
                return
            yield item


def reason_of(photo: Path, error: Exception, expected: tuple[type[Exception], ...] = (ValueError, OSError)) -> str:
    """Say in one line why a photograph failed, with its name; errors that were not expected with their type too."""
    text = f"{error}" if isinstance(error, expected) else f"{type(error).__name__}: {error}"
    return text if str(photo) in text else f"{photo}: {text}"


__all__ = ["MOST_SERVER_ERRORS", "Asking", "reason_of"]
