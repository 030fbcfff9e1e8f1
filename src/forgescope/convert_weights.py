"""Checkpoint files read one tensor at a time, and written as shards, so that no model is ever whole in memory."""

import json
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, WEIGHTS_INDEX_NAME

MAX_SHARD_SIZE = "5GB"
FORMAT = {"format": "pt"}  # what from_pretrained expects of the metadata
# Where a folder keeps its weights, best form first.
WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin", "*.pth")


@dataclass(frozen=True)
class LazyTensor:
    """A tensor that is read when it is asked for.

    Args:
        shape: its shape, known before.
        load: reads or computes it.
        dtype: type that it keeps when it is written; None: the type of the checkpoint.
    """

    shape: tuple[int, ...]
    load: Callable[[], torch.Tensor]
    dtype: torch.dtype | None = None


def lazy(tensor: torch.Tensor, dtype: torch.dtype | None = None) -> LazyTensor:
    """Wrap a tensor that is in memory, mapped from a file or on the meta device."""
    return LazyTensor(tuple(tensor.shape), lambda: tensor, dtype)


def read_weights(place: Path) -> dict[str, LazyTensor]:
    """Find the tensors of a checkpoint without reading them.

    Args:
        place: a file (.safetensors, or what `torch.save` wrote), or a folder with `*.safetensors`, else with
            `pytorch_model*.bin`, else with `*.pth`. An adapter's files do not count as weights of a folder.

    Returns:
        Tensors by name.

    Raises:
        ValueError: no weights, a damaged file, a shard that is missing, or a name in two shards.
    """
    weights: dict[str, LazyTensor] = {}
    for file in [place] if place.is_file() else _weight_files(place):
        found = _safetensors(file) if file.suffix == ".safetensors" else _pickled(file)
        twice = sorted(weights.keys() & found)
        if twice:
            raise ValueError(f"{twice[0]} stands in {file} and in another file of {place}: keep one of them")
        weights |= found
    return weights


def has_weights(folder: Path) -> bool:
    """Whether a folder holds weights."""
    return any(_matching(folder, pattern) for pattern in WEIGHT_FILES)


def write_shards(
    tensors: Mapping[str, LazyTensor], folder: Path, dtype: torch.dtype, max_shard_size: int | str = MAX_SHARD_SIZE
) -> int:
    """Write tensors as `model.safetensors`, or as shards with an index; one shard is in memory at a time.

    Args:
        tensors: by name.
        folder: an existing folder.
        dtype: type of the tensors that have none of their own.
        max_shard_size: bytes, or such as "5GB".

    Returns:
        Bytes of the tensors.

    Raises:
        ValueError: too little room on the disk.
    """
    planned = {
        name: torch.empty(tensor.shape, dtype=tensor.dtype or dtype, device="meta") for name, tensor in tensors.items()
    }
    size = sum(tensor.nbytes for tensor in planned.values())
    free = shutil.disk_usage(folder).free
    if free < size:
        raise ValueError(f"the weights need {size / 1e9:.1f} GB, {folder} has {free / 1e9:.1f} GB free")
    split = split_torch_state_dict_into_shards(planned, max_shard_size=max_shard_size)
    for file, names in split.filename_to_tensors.items():
        # without a variable, which would hold a shard while the next one is made
        save_file({name: _written(tensors[name], planned[name].dtype) for name in names}, folder / file, FORMAT)
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        (folder / SAFE_WEIGHTS_INDEX_NAME).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")
    return size


def _written(tensor: LazyTensor, dtype: torch.dtype) -> torch.Tensor:
    """Values of a tensor in memory of their own, which a file may not share between tensors."""
    return tensor.load().to(dtype, copy=True).contiguous()


def _matching(folder: Path, pattern: str) -> list[Path]:
    return sorted(file for file in folder.glob(pattern) if not file.name.startswith("adapter_"))


def _weight_files(folder: Path) -> list[Path]:
    """Files of the best form that a folder has."""
    for pattern, index in zip(WEIGHT_FILES, (SAFE_WEIGHTS_INDEX_NAME, WEIGHTS_INDEX_NAME, None), strict=True):
        files = _matching(folder, pattern)
        if files:
            if index is not None and (folder / index).is_file():
                _check_complete(folder / index, files)
            return files
    raise ValueError(f"no weights in {folder}: expected {' or '.join(WEIGHT_FILES)}")


def _check_complete(index: Path, files: Iterable[Path]) -> None:
    """Refuse a folder that lacks shards which its index names."""
    try:
        named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{index} is no index of shards: expected JSON with a weight_map") from error
    absent = sorted(named - {file.name for file in files})
    if absent:
        raise ValueError(f"{len(absent)} of {len(named)} files that {index} names are missing, such as {absent[0]}")


def _safetensors(file: Path) -> dict[str, LazyTensor]:
    try:
        opened: Any = safe_open(file, framework="pt")
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged ({error}): get it again") from error
    shapes = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118 (no dict)
    return {name: LazyTensor(shape, partial(opened.get_tensor, name)) for name, shape in shapes.items()}


def _pickled(file: Path) -> dict[str, LazyTensor]:
    """Tensors of a file that `torch.save` wrote, mapped into memory unless it has the form of before torch 1.6."""
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except (RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        reason = str(error).split("\n")[0]
        raise ValueError(f"{file} is damaged, or holds more than tensors ({reason}): get it again") from error
    if not isinstance(loaded, Mapping) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise ValueError(f"{file} holds something else: expected tensors by name")
    return {str(name): lazy(tensor) for name, tensor in loaded.items()}


__all__ = ["MAX_SHARD_SIZE", "LazyTensor", "has_weights", "lazy", "read_weights", "write_shards"]
