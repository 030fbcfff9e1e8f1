"""Checkpoints as networks for ONNX Runtime and OpenVINO, compared with PyTorch before they are kept."""

import importlib.metadata
import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from forgescope.processing.image_processing_forgery import ForgeryImageProcessor

from .export_comparison import Difference, compare
from .export_graph import filters_outside, to_onnx
from .exported import ARITHMETIC, HIGH_FREQUENCIES, OUTPUTS, PIXELS, NetworkForm
from .hub import EMBEDDED_CHECKPOINTS, EXPORT_FILE, load_checkpoint
from .network_runtimes import INSTALL, NETWORK_FILES, import_openvino

# Differences that are accepted, see `Difference.accepted`: a hundred times what float32 showed on any family, and
# three times what the others did.
TOLERANCES = {"float32": 1e-4, "bfloat16": 5e-2, "float16": 1e-2}
PACKAGES = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime", "openvino", "forgescope")


def export_checkpoint(
    model: str | os.PathLike | None,
    to: str,
    out: str | os.PathLike,
    size: int | None = None,
    dtype: str = "float32",
    dynamic_batch: bool = False,
) -> list[Difference]:
    """Write a checkpoint as a network that `forgescope detect --model` and `forgescope.analyze` take.

    The folder gets network, configuration, processor and `export_report.json`. It appears when all is there and the
    outputs agree with PyTorch's.

    Args:
        model: embedded name, folder or Hub id of a family in `OUTPUTS`; None: the embedded checkpoint.
        to: "onnx" or "openvino".
        out: new folder.
        size: height and width of the images, pixels; None: the processor's size where it resizes, else any.
        dtype: "float32"; "bfloat16" (OpenVINO only), whose high-pass filter stays outside the network, in float32; or
            "float16", weights in half precision and arithmetic in float32.
        dynamic_batch: whether the network takes several images at once; else it takes one.

    Returns:
        Differences from PyTorch, for each output and size that was compared.

    Raises:
        ImportError: a package of the extra `export` is not installed.
        ValueError: what is wrong with the arguments or the checkpoint, or outputs that differ by more than
            `TOLERANCES` allow.
    """
    folder = Path(out).expanduser()
    _check_arguments(to, folder, dtype)
    loaded, processor = load_checkpoint(model, tuple(OUTPUTS), dtype=torch.float32)
    if size is not None:
        processor = _resized(processor, size)
    form = _form(loaded, processor, to, dtype, size, dynamic_batch)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        _write_network(loaded, form, partial)
        loaded.config.save_pretrained(partial)
        processor.save_pretrained(partial)
        report: dict[str, Any] = {"model": str(model or EMBEDDED_CHECKPOINTS[0]), "network": form.to_dict()}
        _write_report(report, partial)
        differences = list(compare(loaded, partial, processor))
        _check_differences(differences, form)
        report |= {"tolerance": TOLERANCES[dtype], "differences": [asdict(one) for one in differences]}
        _write_report(report | {"versions": _versions()}, partial)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return differences


def _check_arguments(to: str, folder: Path, dtype: str) -> None:
    """Refuse what nothing can come of, before a checkpoint is loaded."""
    if to not in NETWORK_FILES:
        raise ValueError(f"unknown format '{to}': expected {' or '.join(NETWORK_FILES)}")
    if dtype not in ARITHMETIC:
        raise ValueError(f"unknown dtype '{dtype}': expected {', '.join(ARITHMETIC)}")
    if to == "onnx" and dtype == "bfloat16":
        raise ValueError(
            "ONNX Runtime has no bfloat16 convolution for CPUs: export to openvino, or with dtype float16, which "
            "halves the file"
        )
    if folder.exists():
        raise ValueError(f"{folder} exists: give a new folder, or remove it")
    if to == "openvino":
        import_openvino()
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if not _version(name)]
    if missing:
        raise ImportError(f"{', '.join(missing)} not found: {INSTALL}")


def _resized(processor: ForgeryImageProcessor, size: int) -> ForgeryImageProcessor:
    """The processor for images, or tiles, of `size` x `size` pixels."""
    if size < 1 or size % processor.size_divisor:
        raise ValueError(f"expected a size that is a positive multiple of {processor.size_divisor}, got {size}")
    settings = processor.to_dict() | {"size": {"height": size, "width": size}}
    return type(processor).from_dict(settings)


def _form(
    model: PreTrainedModel,
    processor: ForgeryImageProcessor,
    to: str,
    dtype: str,
    size: int | None,
    dynamic_batch: bool,
) -> NetworkForm:
    """What the network will take and give."""
    any_size = size is None and not processor.do_resize
    inputs = (PIXELS, HIGH_FREQUENCIES) if filters_outside(model, dtype) else (PIXELS,)
    outputs = ["logits"]
    if model.config.model_type == "gamma":
        outputs += [f"{name}_logits" for name in ("manipulation", "ai") if name in model.decoders]
    return NetworkForm(
        to=to,
        dtype=dtype,
        height=None if any_size else processor.size["height"],
        width=None if any_size else processor.size["width"],
        batch=None if dynamic_batch else 1,
        inputs=inputs,
        outputs=tuple(outputs),
    )


def _write_network(model: PreTrainedModel, form: NetworkForm, folder: Path) -> None:
    program = to_onnx(model, form)
    onnx_file = folder / NETWORK_FILES["onnx"]
    program.save(str(onnx_file))
    if form.to == "openvino":
        openvino = import_openvino()
        # the reader of `openvino.convert_model`, without the telemetry that comes with that function
        network = openvino.Core().read_model(str(onnx_file))
        file = folder / NETWORK_FILES["openvino"]
        openvino.save_model(network, str(file), compress_to_fp16=False)
        for part in folder.glob(f"{onnx_file.name}*"):
            part.unlink()


def _check_differences(differences: list[Difference], form: NetworkForm) -> None:
    tolerance = TOLERANCES[form.dtype]
    failed = [one for one in differences if not one.accepted(tolerance)]
    if failed:
        raise ValueError(
            f"the exported network differs from PyTorch by more than {tolerance:.0e}, which is allowed in "
            f"{form.dtype}: {'; '.join(map(str, failed))}. Nothing was written"
        )


def _write_report(report: dict[str, Any], folder: Path) -> None:
    (folder / EXPORT_FILE).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _versions() -> dict[str, str]:
    return {name: version for name in PACKAGES if (version := _version(name))}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
