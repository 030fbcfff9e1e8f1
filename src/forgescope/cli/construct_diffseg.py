"""`forgescope construct diffseg`: images edited turn by turn by several diffusion models."""

from pathlib import Path
from typing import Annotated

import typer

from forgescope.cli.output import Json, json_output


def diffseg(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES", help="Photographs, or folders of photographs.")],
    settings: Annotated[Path, typer.Option(help="YAML file that names the tools, see docs/construct_diffseg.md.")],
    out: Annotated[Path, typer.Option(help="Folder to write; an interrupted run goes on where it stopped.")],
    ai_images: Annotated[
        list[Path] | None, typer.Option(help="Generated images, or folders of them, that are edited as well.")
    ] = None,
    plots: Annotated[bool, typer.Option("--plots", help="Also draw an overview of each item.")] = False,
    as_json: Json = False,
) -> None:
    """Edit objects in photographs, in one to three turns, and write masks that name the editor of each pixel.

    Exit status: 0 all photographs were looked at, 1 some failed (they are named), 2 wrong usage.

    Example: forgescope construct diffseg photos --settings construct.yaml --out corpus
    """
    from forgescope.cli.construct import read_photo
    from forgescope.construction.diffseg.configuration import read_configuration
    from forgescope.construction.diffseg.edit_folder import EditJob, write_edits
    from forgescope.construction.image_folder import find_photos

    configuration = read_configuration(settings)
    real = find_photos(images, out)
    generated = find_photos(ai_images, out) if ai_images else []
    with json_output(as_json) as answer:
        job = EditJob(
            photos=[*real, *generated],
            bases=["real"] * len(real) + ["ai"] * len(generated),
            out=out,
            tools=configuration.load_tools(),
            settings=configuration.settings,
            description=configuration.describe(),
            read_photo=read_photo,
            plots=plots,
        )
        result = write_edits(job)
        typer.echo(f"{len(result.rows)} edited images in {out} ({result.made} photographs looked at now)")
        for reason, count in result.statistics["rejected"].items():
            typer.echo(f"rejected: {count} x {reason} (see {out / 'rejects.jsonl'})")
        used = result.statistics["vision_language"]
        typer.echo(
            f"vision-language model: {used['calls']} calls, {used['prompt_tokens']} tokens asked, "
            f"{used['completion_tokens']} answered"
        )
        for reason in result.failed.values():
            typer.echo(f"failed: {reason}", err=True)
        if result.stopped:
            typer.echo(f"stopped: {result.stopped}; the same command goes on from here", err=True)
        answer |= {"out": out, "images": len(result.rows), "made": result.made, "statistics": result.statistics}
        answer |= {"failed": list(result.failed.values()), "stopped": result.stopped or None}
        if result.failed or result.stopped:
            raise typer.Exit(1)
