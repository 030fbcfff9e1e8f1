"""`forgescope construct`: make training and test images."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forgescope.cli import construct_diffseg, construct_inpainting, construct_mmfr, construct_synthscars
from forgescope.cli.output import Json, json_output
from forgescope.cli.renamed import RenamedOptions

if TYPE_CHECKING:
    from PIL.Image import Image

app = typer.Typer(help="Make forged images with known masks.", no_args_is_help=True)


@app.callback()
def construct() -> None:
    """Make forged images with known masks."""


@app.command(short_help="Copy-move, splicing and classical inpainting.")
def manipulations(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTOS", help="Photographs, or folders of photographs.")],
    out: Annotated[Path, typer.Option(help="Folder to write; an interrupted run goes on where it stopped.")],
    count: Annotated[int, typer.Option(help="Number of images the folder shall hold.")],
    kinds: Annotated[
        str | None,
        typer.Option(
            help="Only these kinds, with commas: authentic, copy_move, splicing, inpainting, inpainting_blended."
        ),
    ] = None,
    authentic_fraction: Annotated[float | None, typer.Option(help="Share of authentic images, 0 to 1.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed and photographs, same bytes.")] = 0,
    max_side: Annotated[
        int | None, typer.Option(help="Longest side of the largest image, in pixels.", show_default="512")
    ] = None,
    image_format: Annotated[
        str | None, typer.Option("--format", help="png, jpeg or mixed.", show_default="mixed")
    ] = None,
    settings: Annotated[
        Path | None,
        typer.Option(help="YAML or JSON file with settings of the engine, such as settings.json of another folder."),
    ] = None,
    num_proc: Annotated[int, typer.Option(help="Processes.")] = 1,
    as_json: Json = False,
) -> None:
    """Make copy-move, splicing, inpainting and authentic images with masks from photographs.

    Exit status: 0 all made, 1 some photographs failed (they are named), 2 wrong usage.

    Example: forgescope construct manipulations photos --out forged --count 2000
    """
    from forgescope.construction.manipulation import ManipulationConfig
    from forgescope.construction.manipulation_folder import FolderJob, find_photos, write_manipulations
    from forgescope.construction.manipulation_settings import read_settings

    config = ManipulationConfig() if settings is None else read_settings(settings)
    config = replace(
        config,
        max_side=config.max_side if max_side is None else max_side,
        image_format=config.image_format if image_format is None else image_format,
    )
    config = config.with_tasks(
        None if kinds is None else [kind.strip() for kind in kinds.split(",")], authentic_fraction
    )
    job = FolderJob(find_photos(photos, out), out, seed, config, read_photo)
    with json_output(as_json) as answer:
        result = write_manipulations(job, count, num_proc)
        typer.echo(f"{len(result.rows)} images in {out} ({result.made} made now)")
        for reason in result.failed_photos.values():
            typer.echo(f"skipped {reason}", err=True)
        if result.missing:
            typer.echo(f"not made: {len(result.missing)} images, no usable photograph was found for them", err=True)
        answer |= {"out": out, "images": len(result.rows), "made": result.made}
        answer |= {"skipped": list(result.failed_photos.values()), "not_made": len(result.missing)}
        if result.failed_photos or result.missing:
            raise typer.Exit(1)


def read_photo(path: Path) -> "Image":
    """Read one photograph as PIL RGB (importable, so that several processes can use it)."""
    from forgescope.reading import read_image

    return read_image(path).image


app.command("inpainting", short_help="Regions filled by a diffusion model.")(construct_inpainting.inpainting)
app.command("diffseg", cls=RenamedOptions, short_help="Objects edited in turns, as DiffSeg30k.")(
    construct_diffseg.diffseg
)
app.command("mmfr", cls=RenamedOptions, short_help="Images described as real or fake, as MMFR.")(construct_mmfr.mmfr)
app.command("synthscars", cls=RenamedOptions, short_help="A balanced choice of images, as SynthScars.")(
    construct_synthscars.synthscars
)
