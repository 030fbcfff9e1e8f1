"""`forgescope construct inpainting`: inpainted and blended pairs of photographs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from forgescope.cli.output import Json, json_output

DEFAULT_MAX_SIDE = 512


def inpainting(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTOS", help="Photographs, or folders of photographs.")],
    out: Annotated[Path, typer.Option(help="Folder to write; an interrupted run goes on where it stopped.")],
    model: Annotated[str, typer.Option(help="Inpainting pipeline of diffusers: Hub id or folder.")],
    count: Annotated[int | None, typer.Option(help="Regions to fill; default: one a photograph.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, photographs and pipeline, same images.")] = 0,
    prompt: Annotated[str | None, typer.Option(help="Text for all images; default: fill without text.")] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help="File of texts: one a line, drawn for each image; or .json, photograph names and texts."),
    ] = None,
    unguided_fraction: Annotated[
        float, typer.Option(help="Share of images filled without text although there are texts, 0 to 1.")
    ] = 0.0,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps; default: the pipeline's.")] = None,
    guidance_scale: Annotated[
        float | None, typer.Option(help="How closely images follow the text; default: the pipeline's.")
    ] = None,
    mask_kinds: Annotated[
        str | None,
        typer.Option(
            help="Shapes of regions, with commas: object, polygon, brush, blob, border; default: the first four."
        ),
    ] = None,
    max_side: Annotated[int, typer.Option(help="Longest side of an image, in pixels.")] = DEFAULT_MAX_SIDE,
    image_format: Annotated[str, typer.Option("--format", help="png, jpeg or mixed.")] = "mixed",
    quality: Annotated[
        int | None, typer.Option(help="JPEG quality; default: drawn for each photograph. The paper takes 96.")
    ] = None,
    feather: Annotated[
        float, typer.Option(min=0, help="Soft border of blended regions, standard deviation in pixels.")
    ] = 0.0,
    authentic: Annotated[bool, typer.Option(help="Write the photographs' own frames too.")] = True,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU if there is one.")] = None,
    dtype: Annotated[str, typer.Option(help="float32, float16 or bfloat16.")] = "float32",
    batch_size: Annotated[int, typer.Option(min=1, help="Frames filled in one call; those of one size.")] = 1,
    as_json: Json = False,
) -> None:
    """Fill regions of photographs with a generative model: inpainted, blended and authentic images with masks.

    Exit status: 0 all made, 1 some photographs failed (they are named), 2 wrong usage.

    Example: forgescope construct inpainting photos --model org/inpainting-pipeline --out filled
    """
    from forgescope.cli.construct import read_photo
    from forgescope.construction.image_folder import find_photos
    from forgescope.construction.inpainters import GUIDANCE_ARGUMENT, STEPS_ARGUMENT, load_pipeline
    from forgescope.construction.inpainting import inpainting_config, unchanged_outside, write_inpainting
    from forgescope.construction.inpainting_prompts import read_prompts

    if prompt is not None and prompts is not None:
        raise ValueError("give --prompt or --prompts, not both")
    changes: dict[str, Any] = {"max_side": max_side, "image_format": image_format}
    if quality is not None:
        changes["jpeg_quality"] = (quality, quality)
    if mask_kinds is not None:
        changes["fill_mask_weights"] = {kind.strip(): 1.0 for kind in mask_kinds.split(",")}
    if feather:
        changes.update(feather_probability=1.0, feather=(feather, feather))
    arguments = {STEPS_ARGUMENT: steps, GUIDANCE_ARGUMENT: guidance_scale}
    config, found = inpainting_config(**changes), find_photos(photos, out)
    texts = prompt if prompts is None else read_prompts(prompts)
    with json_output(as_json) as answer:
        result = write_inpainting(
            found,
            load_pipeline(model, device, dtype),
            out,
            count=count,
            seed=seed,
            config=config,
            prompts=texts,
            unguided_fraction=unguided_fraction,
            authentic=authentic,
            batch_size=batch_size,
            model=model,
            read_photo=read_photo,
            **{name: value for name, value in arguments.items() if value is not None},
        )
        typer.echo(f"{len(result.rows)} images in {out} ({result.made} made now)")
        for reason in result.failed_photos.values():
            typer.echo(f"skipped {reason}", err=True)
        intact = unchanged_outside(result.rows)
        if intact:
            typer.echo(
                f"{len(intact)} inpainted images equal their photograph outside the mask (the first is {intact[0]}): "
                "the pipeline pastes it back, so their AI mask, the whole frame, is wrong",
                err=True,
            )
        answer |= {"out": out, "images": len(result.rows), "made": result.made}
        answer |= {"skipped": list(result.failed_photos.values()), "not_made": len(result.missing)}
        if result.missing:
            typer.echo(f"not made: {len(result.missing)} images", err=True)
            raise typer.Exit(1)
