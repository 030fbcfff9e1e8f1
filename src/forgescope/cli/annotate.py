"""`forgescope annotate`: masks for pairs of originals and edits (PromptForge-350k, sections 3 and 4)."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from forgescope.cli import annotate_review
from forgescope.cli.output import Json, json_output

if TYPE_CHECKING:
    from PIL.Image import Image

    from forgescope.construction.promptforge.pairs import Pair

CORPUS_FORMATS = ("x2edit", "pico_banana")
FORMATS = ("auto", *CORPUS_FORMATS)
ENGINES = ("local", "ray")


DEFAULT_COMMAND = "run"


class AnnotateGroup(TyperGroup):
    """`forgescope annotate PAIRS --out DIR` beside `forgescope annotate review DIR`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Name the command that was meant when the first word is none."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [DEFAULT_COMMAND, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=AnnotateGroup,
    help="Find what was edited in pairs of images: PAIRS --out DIR. Options: forgescope annotate run --help.",
    no_args_is_help=True,
)
app.command("review", short_help="A page on which people rate masks.")(annotate_review.review)
app.command("tally", short_help="Count what they said.")(annotate_review.tally)


@app.command(DEFAULT_COMMAND, short_help="Find what was edited; may be left out.")
def annotate(
    pairs: Annotated[
        Path,
        typer.Argument(metavar="PAIRS", help="A folder of pairs, a CSV or JSONL table, X2Edit tars or Pico JSONL."),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write; an interrupted run goes on where it stopped.")],
    pair_format: Annotated[
        str, typer.Option("--format", help="auto (folder or table), x2edit or pico_banana.")
    ] = "auto",
    backbone: Annotated[
        str, typer.Option(help="classical (no weights), timm/MODEL or an AutoModel id.")
    ] = "timm/vit_large_patch16_dinov3.lvd1689m",
    size: Annotated[int, typer.Option(help="Side of a network's square input in pixels.")] = 1024,
    colour_cue: Annotated[
        bool, typer.Option("--colour-cue", help="Count a change of colour alone as an edit too.")
    ] = False,
    full_size_masks: Annotated[
        bool, typer.Option("--full-size-masks", help="Also write masks at the size of the image.")
    ] = False,
    plots: Annotated[bool, typer.Option("--plots", help="Also draw charts of tasks, rejects and time.")] = False,
    engine: Annotated[str, typer.Option(help="local (processes) or ray (a cluster).")] = "local",
    address: Annotated[str | None, typer.Option(help="Address of a Ray cluster; default: RAY_ADDRESS.")] = None,
    num_proc: Annotated[int, typer.Option(help="Processes, or actors of Ray.")] = 1,
    batch_size: Annotated[int, typer.Option(help="Pairs a batch.")] = 8,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, ...; default: a GPU if there is one, with ray the CPU.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="Precision of a network: float32, bfloat16 or float16.")] = "float32",
    as_json: Json = False,
) -> None:
    """Find what was edited in pairs of images and write a corpus with masks.

    Example: forgescope annotate pairs.csv --out corpus --backbone classical
    """
    from forgescope.construction.promptforge.align import RejectReason
    from forgescope.construction.promptforge.annotator import AnnotationSettings
    from forgescope.construction.promptforge.backbones import CLASSICAL, default_device
    from forgescope.construction.promptforge.corpus_folder import CorpusFolder
    from forgescope.construction.promptforge.engines import AnnotationJob, run_local, run_ray
    from forgescope.construction.promptforge.plots import save_plots
    from forgescope.construction.promptforge.semantic import MaskConfig

    for value, allowed, name in ((pair_format, FORMATS, "--format"), (engine, ENGINES, "--engine")):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value}")
    # the bound on Otsu's threshold was measured for the classical backbone alone
    mask = MaskConfig(colour_cue=colour_cue)
    if backbone != CLASSICAL:
        mask = MaskConfig(colour_cue=colour_cue, highest_threshold=None)
    settings = AnnotationSettings(backbone=backbone, backbone_size=size, mask=mask, full_size_masks=full_size_masks)
    found = _pairs(pairs, pair_format)
    folder = CorpusFolder(out, settings)
    wanted = (pair for pair in found if pair.id not in folder.done)
    total = sum(pair.id not in folder.done for pair in found) if isinstance(found, list) else None
    # every actor of Ray would take a GPU of its own, and wait where there are fewer
    device = device or ("cpu" if engine == "ray" else default_device(backbone))
    job = AnnotationJob(settings, out, read_pair_image, num_proc, batch_size, device, dtype)
    with json_output(as_json) as answer:
        outcomes = run_ray(wanted, job, address) if engine == "ray" else run_local(wanted, job)
        result = folder.write(outcomes, total)
        typer.echo(f"{result.annotated} pairs with masks in {out} ({result.made} pairs looked at now)")
        for reason, count in result.rejected.items():
            typer.echo(f"rejected: {count} x {reason} (see {out / 'rejects.jsonl'})")
        charts = save_plots(result.statistics, out / "plots") if plots else []
        for file in charts:
            typer.echo(f"chart: {file}")
        answer |= {"out": out, "annotated": result.annotated, "made": result.made}
        answer |= {"rejected": dict(result.rejected), "charts": list(charts)}
        if result.rejected.get(RejectReason.UNREADABLE.value):
            raise typer.Exit(1)


def read_pair_image(image: "Path | bytes") -> "Image":
    """Open a file, or the bytes of one, as an upright RGB image (importable, so that processes can use it)."""
    import io

    from PIL import Image

    from forgescope.processing.image_conversion import to_upright_rgb
    from forgescope.reading import read_image

    if isinstance(image, Path):
        return read_image(image).image
    try:
        with Image.open(io.BytesIO(image)) as opened:
            return to_upright_rgb(opened)
    except (SyntaxError, Image.DecompressionBombError) as error:  # broken PNG chunks; billions of pixels
        raise ValueError(f"an image of {len(image):,} bytes cannot be decoded: {error}") from error


def _pairs(path: Path, pair_format: str) -> "list[Pair] | Iterator[Pair]":
    """Pairs with one of the eight tasks where the publisher's own name is known; global edits are left out."""
    from dataclasses import replace

    from forgescope.construction.promptforge.pairs import read_pairs
    from forgescope.datasets_scripts.task_taxonomy import read_task

    if pair_format in CORPUS_FORMATS:
        return _corpus_pairs(path, pair_format)
    local, left_out = [], 0
    for pair in read_pairs(path):
        reading = read_task(pair.source_task, pair.instruction)
        if reading.scope in ("global", "ambiguous"):
            left_out += 1
        else:
            local.append(replace(pair, task=reading.task))
    if left_out:
        typer.echo(f"left out: {left_out} pairs whose task is no local edit", err=True)
    return local


def _corpus_pairs(path: Path, pair_format: str) -> "Iterator[Pair]":
    """Pairs of X2Edit tars or Pico-Banana JSON Lines, one by one."""
    import datasets

    from forgescope.construction.promptforge.pairs import Pair, safe_id
    from forgescope.datasets_scripts.load import load_corpus

    rows = load_corpus("promptforge", path, config=pair_format, split="train", streaming=True)
    for column in ("image", "original"):
        rows = rows.cast_column(column, datasets.Image(decode=False))
    for row in rows:
        original, edited = (
            row[column]["bytes"] if row[column]["bytes"] is not None else Path(row[column]["path"])
            for column in ("original", "image")
        )
        text = {name: row[name] for name in ("source", "task", "source_task", "instruction", "instruction_en")}
        yield Pair(safe_id(row["id"]), original, edited, **text)
