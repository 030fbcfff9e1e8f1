"""`forgescope export`: turn a checkpoint into a network for ONNX Runtime or OpenVINO."""

import json
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from .output import Json, json_output


class Format(str, Enum):
    """Runtime that the network is for."""

    ONNX = "onnx"
    OPENVINO = "openvino"


class NetworkType(str, Enum):
    """Numbers of the network."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Checkpoint folder, Hub id, or iclnet-mini.")],
    to: Annotated[Format, typer.Option(help="ONNX Runtime or OpenVINO.")],
    out: Annotated[Path, typer.Option(help="New folder to write.")],
    size: Annotated[
        int | None,
        typer.Option(help="Pixels of a side; default: the processor's size where it resizes, else any size."),
    ] = None,
    dtype: Annotated[
        NetworkType,
        typer.Option(help="bfloat16 computes in it (OpenVINO); float16 halves the file and computes in float32."),
    ] = NetworkType.FLOAT32,
    dynamic_batch: Annotated[
        bool, typer.Option("--dynamic-batch", help="The network takes several images at once.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Export a model that marks pixels or classifies images; its outputs are compared with PyTorch's.

    The folder serves as --model of forgescope detect.

    Exit status: 0 written, 2 wrong usage, or outputs that differ: nothing is written then.

    Example: forgescope export iclnet-mini --to openvino --out iclnet-openvino
    """
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    from forgescope.export import TOLERANCES, export_checkpoint
    from forgescope.hub import EXPORT_FILE

    disable_progress_bar()
    set_verbosity_error()
    with json_output(as_json) as answer:
        differences = export_checkpoint(model, to.value, out, size, dtype.value, dynamic_batch)
        typer.echo(f"difference from PyTorch, of which {TOLERANCES[dtype.value]:.0e} is allowed in {dtype.value}:")
        for one in differences:
            typer.echo(f"  {one}")
        typer.echo(f"written to {out}; numbers and versions are in {out / EXPORT_FILE}")
        answer.update(json.loads((out / EXPORT_FILE).read_text(encoding="utf-8")), folder=str(out))
