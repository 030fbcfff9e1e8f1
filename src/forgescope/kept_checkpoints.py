"""Checkpoints that `forgescope.analyze` keeps for its next call: those of the last one."""

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from .analyze import Analyzer
from .ensemble import Ensemble


def kept_checkpoints(
    model: str | os.PathLike | Sequence[str | os.PathLike] | None, **settings: Any
) -> Analyzer | Ensemble:
    """What examines photographs; loaded anew where others were asked last, or where files have changed.

    Args:
        model: embedded name, folder or Hub id (None: the embedded checkpoint), or several of them.
        **settings: arguments of `Analyzer`.

    Raises:
        ValueError: as `Analyzer` and `Ensemble`.
    """
    if model is None or isinstance(model, str | os.PathLike):
        name = None if model is None else os.fspath(model)
        return _loaded(name, _changed_at(name), **settings)
    names = tuple(os.fspath(one) for one in model)
    return _loaded(names, tuple(map(_changed_at, names)), **settings)


# one cache for both, so that no more models are held than were asked last
@lru_cache(maxsize=1)
def _loaded(
    model: str | tuple[str, ...] | None, changed_at: int | tuple[int, ...], **settings: Any
) -> Analyzer | Ensemble:
    return Ensemble(model, **settings) if isinstance(model, tuple) else Analyzer(model, **settings)


def _changed_at(model: str | None) -> int:
    """Time of the last change of a checkpoint folder's files, so that a retrained one is loaded again."""
    folder = Path(model).expanduser() if model else None
    if folder is None or not folder.is_dir():
        return 0
    return max((file.stat().st_mtime_ns for file in folder.iterdir()), default=0)


__all__ = ["kept_checkpoints"]
