"""Folders of a conversion: what may be given, and the checkpoint that is written."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import GenerationConfig, PreTrainedConfig, ProcessorMixin

from forgescope.convert import ConversionReport
from forgescope.convert_lora import ADAPTER_CONFIG
from forgescope.convert_weights import LazyTensor, write_shards

DTYPES = ("float32", "bfloat16", "float16")
README_FILE = "README.md"


def check_folders(source: Path, out: Path, base: Path | None, dtype: str | None) -> None:
    """Refuse what nothing can come of, before anything is read.

    Args:
        source: folder to convert.
        out: folder to write.
        base: model that training started from, or None.
        dtype: name of a type, or None.

    Raises:
        ValueError: what is wrong, and what to do.
    """
    for folder in (source,) if base is None else (source, base):
        if not folder.is_dir():
            raise ValueError(f"no folder {folder}: give one with a checkpoint in the authors' layout")
    if out.resolve() == source.resolve():
        raise ValueError(f"--out is the source {source}: give another folder")
    if out.exists():
        raise ValueError(f"{out} exists: give a new folder for --out, or remove it")
    if dtype is not None and dtype not in DTYPES:
        raise ValueError(f"unknown dtype '{dtype}': expected {', '.join(DTYPES)}")


def check_adapter(source: Path, base: Path | None) -> None:
    """Refuse an adapter without its base model, and a base model without an adapter.

    Raises:
        ValueError: what is missing.
    """
    is_adapter = (source / ADAPTER_CONFIG).is_file()
    if is_adapter and base is None:
        raise ValueError(f"{source} holds an adapter: give --base, the folder of the model that it was trained on")
    if base is not None and not is_adapter:
        raise ValueError(f"--base is for adapters, and {source} has no {ADAPTER_CONFIG}")


def write_checkpoint(
    out: Path,
    tensors: Mapping[str, LazyTensor],
    config: PreTrainedConfig,
    processor: ProcessorMixin | None,
    report: ConversionReport,
    dtype: torch.dtype,
    readme: str | None = None,
) -> None:
    """Write weights, configuration, generation settings, processor and report; the folder appears when all is there.

    Args:
        out: folder to write, which does not exist.
        tensors: all tensors of the model.
        config: of a model with a `text_config`.
        processor: None: none is written.
        report: checked.
        dtype: type of the tensors that have none of their own.
        readme: text of a README.md, or None.

    Raises:
        ValueError: too little room on the disk.
    """
    config.dtype = dtype
    text = config.text_config
    # ids alone: answers are greedy unless `generate` is told otherwise
    generation = GenerationConfig(
        bos_token_id=text.bos_token_id, eos_token_id=text.eos_token_id, pad_token_id=text.pad_token_id
    )
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        write_shards(tensors, partial, dtype)
        config.save_pretrained(partial)
        generation.save_pretrained(partial)
        if processor is not None:
            processor.save_pretrained(partial)
        report.write(partial)
        if readme is not None:
            (partial / README_FILE).write_text(readme, encoding="utf-8")
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


__all__ = ["DTYPES", "README_FILE", "check_adapter", "check_folders", "write_checkpoint"]
