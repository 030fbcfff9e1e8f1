"""Values that a builder works out once a process: parsed files, tables of names."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Result = TypeVar("Result")


class ProcessMemory:
    """Keeps values by key; goes into another process empty, so that no large table is sent along."""

    def __init__(self) -> None:
        self._values: dict[Hashable, Any] = {}

    def get(self, key: Hashable, make: Callable[[], Result]) -> Result:
        """The value of a key, made at the first call."""
        if key not in self._values:
            self._values[key] = make()
        return self._values[key]

    def __reduce__(self) -> tuple[Any, ...]:
        return ProcessMemory, ()


__all__ = ["ProcessMemory"]
