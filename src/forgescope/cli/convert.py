"""`forgescope convert`: turn authors' checkpoints into ours."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgescope.cli.output import Json, json_output

if TYPE_CHECKING:
    from forgescope.convert import ConversionReport

app = typer.Typer(help="Turn checkpoints in their authors' layout into ours.", no_args_is_help=True)


@app.callback()
def convert() -> None:
    """Turn checkpoints in their authors' layout into ours."""


@app.command(short_help="FakeReasoning, or a LLaVA-1.5 to train it from.")
def fakereasoning(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SRC",
            help="Folder: LLaVA-1.5 or MoF in the authors' layout, a LoRA run with adapter_config.json and "
            "non_lora_trainables.bin, or the published FakeReasoning.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="New folder to write.")],
    clip: Annotated[Path | None, typer.Option(help="Folder of CLIP, where SRC does not have it.")] = None,
    dino: Annotated[Path | None, typer.Option(help="DINOv2: the authors' .pth file, or a folder.")] = None,
    base: Annotated[Path | None, typer.Option(help="Folder of the model that a LoRA run started from.")] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Folder of the tokenizer, where neither SRC nor the base model has it.")
    ] = None,
    new_fusion: Annotated[
        bool, typer.Option("--new-fusion", help="Initialise the fusion that a base model lacks, to train it.")
    ] = False,
    dtype: Annotated[
        str | None,
        typer.Option(help="float32, bfloat16 or float16.", show_default="that of SRC"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Convert FakeReasoning, or a LLaVA-1.5 to train it from; every tensor is accounted for.

    Example: forgescope convert fakereasoning FakeReasoning --out ./fakereasoning
    """
    from forgescope.convert_fakereasoning import convert_fakereasoning

    with json_output(as_json) as answer:
        report = convert_fakereasoning(source, out, clip, dino, base, tokenizer, new_fusion, dtype)
        print_report(report, out)
        answer |= answer_of(report, out)


@app.command(short_help="LEGION, or a GLaMM to train it from.")
def legion(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="LEGION_DIR",
            help="Folder: LEGION or GLaMM in the authors' layout, what stage 2 saves, or the weights of a LoRA run.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="New folder to write.")],
    clip: Annotated[
        Path | None,
        typer.Option(help="Folder of openai/clip-vit-large-patch14-336, where LEGION_DIR does not have it."),
    ] = None,
    head: Annotated[
        Path | None, typer.Option(help="Stage-2 checkpoint, file or folder, of which the detection head is taken.")
    ] = None,
    sam: Annotated[
        Path | None,
        typer.Option(help="SAM, where LEGION_DIR does not have it: the authors' .pth file, or a folder with it."),
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option(help="Folder with config.json and tokenizer of the model that a LoRA run started from."),
    ] = None,
    lora_alpha: Annotated[float, typer.Option(help="Scaling factor of a LoRA run; the paper says 8.")] = 16.0,
    dtype: Annotated[
        str | None,
        typer.Option(help="float32, bfloat16 or float16.", show_default="that of the language model"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Convert LEGION, or a GLaMM to train it from; every tensor is accounted for.

    Example: forgescope convert legion LEGION --clip clip-vit-large-patch14-336 --out ./legion
    """
    from forgescope.convert_legion import convert_legion

    with json_output(as_json) as answer:
        report = convert_legion(source, out, clip, head, sam, base, lora_alpha, dtype)
        print_report(report, out)
        answer |= answer_of(report, out)


def answer_of(report: "ConversionReport", out: Path) -> dict[str, Any]:
    """What programs are told: the lines of the table, and where every tensor is named."""
    from forgescope.convert import REPORT_FILE

    names = ("status", "source", "tensors", "why")
    lines = [dict(zip(names, cells, strict=True)) | {"tensors": int(cells[2])} for cells in report.table()]
    return {"out": out, "report": out / REPORT_FILE, "tensors": lines, "notes": report.notes}


def print_report(report: "ConversionReport", out: Path) -> None:
    """Print what became of the tensors, equal lines counted together."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from forgescope.convert import REPORT_FILE

    table = Table()
    for name in ("", "from", "tensors", "part, or reason"):
        table.add_column(name, overflow="fold", justify="right" if name == "tensors" else "left")
    for cells in report.table():
        table.add_row(*(Text(cell) for cell in cells))
    Console().print(table)
    typer.echo(f"written to {out}; every tensor is named in {out / REPORT_FILE}")
    for note in report.notes:
        typer.echo(f"note: {note}", err=True)
