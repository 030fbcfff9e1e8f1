"""`forgescope construct mmfr`: images described by a vision-language model that is told their label."""

from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgescope.cli.output import Json, json_output

if TYPE_CHECKING:
    from forgescope.construction.mmfr import MMFRResult


class Label(str, Enum):
    """What an image is."""

    REAL = "real"
    FAKE = "fake"


class Conclusion(str, Enum):
    """Wording of the last stage, see `CONCLUSIONS` of processing/chain_of_thought.py."""

    THIS_IMAGE = "this_image"
    BASED_ON_ANALYSIS = "based_on_analysis"


def mmfr(
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGES", help="Folders with 0_real and 1_fake, or tables (CSV, JSON Lines) with path and label."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write; an interrupted run goes on where it stopped.")],
    label: Annotated[Label | None, typer.Option(help="Label of images whose folders tell none.")] = None,
    source: Annotated[
        str | None, typer.Option(help="Where all images are from; default: what folders and tables say.")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="YAML file with model and settings, see docs/construct_mmfr.md.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Vision-language model: Hub id or folder, or the name a server knows.")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="Chat server, such as http://localhost:8000/v1; default: the model runs here.")
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option(help="Name of the environment variable with the server's key.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU if there is one.")] = None,
    max_side: Annotated[int | None, typer.Option(min=1, help="Longest side of what the model is shown.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Images asked about at the same time; default: 8 with a server, else 1.")
    ] = None,
    conclusion: Annotated[Conclusion, typer.Option(help="Wording of the conclusion.")] = Conclusion.THIS_IMAGE,
    link: Annotated[bool, typer.Option("--link", help="Link to the images instead of copying them.")] = False,
    price_in: Annotated[float | None, typer.Option(min=0, help="Price of a million tokens asked.")] = None,
    price_out: Annotated[float | None, typer.Option(min=0, help="Price of a million tokens answered.")] = None,
    plots: Annotated[bool, typer.Option("--plots", help="Also draw attributes and lengths of texts.")] = False,
    as_json: Json = False,
) -> None:
    """Describe real and fake images by their attributes and in four stages, in the layout of MMFR.

    Exit status: 0 all images were asked about, 1 some failed (they are named), 2 wrong usage.

    Example: forgescope construct mmfr images --out corpus --model gpt-4o --base-url https://api.openai.com/v1
    --api-key-env OPENAI_API_KEY
    """
    from forgescope.cli.construct import read_photo
    from forgescope.construction.mmfr import MMFRJob, write_mmfr
    from forgescope.construction.mmfr_configuration import read_mmfr_configuration
    from forgescope.construction.mmfr_images import find_labelled_images
    from forgescope.construction.vision_language import load_vision_language
    from forgescope.processing.chain_of_thought import QUESTION, build_chain_of_thought

    given = {"model": model, "base_url": base_url, "api_key_env": api_key_env, "device": device}
    configuration = read_mmfr_configuration(settings, _given(given), _given({"max_side": max_side}))
    threads = configuration.vlm.workers(workers)
    found = find_labelled_images(images, None if label is None else label.value, source)
    with json_output(as_json) as answer:
        job = MMFRJob(
            images=found,
            out=out,
            model=load_vision_language(configuration.vlm),
            build_text=partial(build_chain_of_thought, conclusion=conclusion.value),
            question=QUESTION,
            settings=configuration.settings,
            description=configuration.describe(),
            workers=threads,
            link=link,
            read_photo=read_photo,
            plots=plots,
        )
        result = write_mmfr(job)
        _report(result, out, price_in, price_out)
        answer |= {"out": out, "images": len(result.rows), "made": result.made, "statistics": result.statistics}
        answer |= {"failed": list(result.failed.values()), "stopped": result.stopped or None}
        if result.failed or result.stopped:
            raise typer.Exit(1)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _report(result: "MMFRResult", out: Path, price_in: float | None, price_out: float | None) -> None:
    from forgescope.construction.mmfr_statistics import cost_of

    statistics = result.statistics
    counts, described = statistics["images"], statistics["annotations"]
    typer.echo(
        f"{len(result.rows)} images in {out} ({counts['real']} real, {counts['fake']} fake; {result.made} asked about "
        f"now), {described['real'] + described['fake']} descriptions"
    )
    for reason, count in statistics["rejected"].items():
        typer.echo(f"rejected: {count} x {reason} (see {out / 'rejects.jsonl'})")
    dropped = statistics["dropped_attributes"]
    if dropped:
        typer.echo(f"dropped: {sum(dropped.values())} descriptions of attributes outside the label's five")
    used = statistics["vision_language"]
    cost = ""
    if price_in is not None or price_out is not None:
        cost = f", cost {cost_of(used, price_in or 0.0, price_out or 0.0):.4f}"
    typer.echo(
        f"vision-language model: {used['calls']} calls, {used['prompt_tokens']} tokens asked, "
        f"{used['completion_tokens']} answered{cost}"
    )
    for reason in result.failed.values():
        typer.echo(f"failed: {reason}", err=True)
    if result.stopped:
        typer.echo(f"stopped: {result.stopped}; the same command goes on from here", err=True)
