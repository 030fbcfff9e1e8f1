"""`forgescope refine`: make an image anew where a detector finds artifacts."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgescope.cli.output import Json, json_output

if TYPE_CHECKING:
    from PIL import Image

    from forgescope.refinement.artifacts import Explain
    from forgescope.refinement.records import Step
    from forgescope.refinement.stopping import StopRule

# Options that one way of refining alone knows, as the command line writes them.
INPAINTING_ONLY = ("--strength", "--size", "--context")
REGENERATION_ONLY = ("--reviser", "--reviser-url", "--reviser-key-env", "--show-images", "--from-prompt")


class Mode(str, Enum):
    """Which part of the image is made anew."""

    INPAINT = "inpaint"
    REGENERATE = "regenerate"


def refine(
    context: typer.Context,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="Image file.")],
    out: Annotated[Path, typer.Option(help="Folder to write; an interrupted run goes on where it stopped.")],
    mode: Annotated[
        Mode, typer.Option(help="Fill the regions of artifacts, or make the image anew with a better prompt.")
    ] = Mode.INPAINT,
    model: Annotated[
        str | None, typer.Option(help="LEGION checkpoint that finds artifacts: folder or Hub id.")
    ] = None,
    artifacts: Annotated[
        Path | None, typer.Option(help="JSON file of the image's artifacts, in place of --model: one round.")
    ] = None,
    pipeline: Annotated[
        str | None, typer.Option(help="Pipeline of diffusers: Hub id or folder; default: SDXL inpainting, or SD 3.5.")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="New images at most; default: 3 inpainted, 2 regenerated.")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(help="What the image shows; default to regenerate: the reviser describes it.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, image and models, same images.")] = 42,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Denoising steps; default: 25 to inpaint, else the pipeline's.")
    ] = None,
    guidance_scale: Annotated[
        float | None, typer.Option(help="How closely images follow texts; default: 8 to inpaint, else the pipeline's.")
    ] = None,
    strength: Annotated[
        float | None, typer.Option(help="To inpaint: how much of a region is replaced, 0 to 1; default: 0.84.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=8, help="To inpaint: longer side the pipeline is given; default: its own.")
    ] = None,
    crop_context: Annotated[
        float | None,
        typer.Option("--context", min=0, help="To inpaint: give it the region and this share around, not the image."),
    ] = None,
    reviser: Annotated[
        str | None, typer.Option(help="To regenerate: language model that revises prompts: Hub id or folder.")
    ] = None,
    reviser_url: Annotated[
        str | None, typer.Option(help="Chat server with that model, such as http://localhost:8000/v1.")
    ] = None,
    reviser_key_env: Annotated[
        str | None, typer.Option(help="Environment variable that holds the server's key.")
    ] = None,
    show_images: Annotated[bool, typer.Option("--show-images", help="Let the reviser see the images too.")] = False,
    from_prompt: Annotated[
        bool, typer.Option("--from-prompt", help="Begin with an image made of the prompt, as the paper's experiments.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU if there is one.")] = None,
    dtype: Annotated[str, typer.Option(help="float32, float16 or bfloat16.")] = "float32",
    offload: Annotated[bool, typer.Option("--offload", help="Keep idle parts of the pipeline off the GPU.")] = False,
    as_json: Json = False,
) -> None:
    """Refine an image under the feedback of a detector: every step, a strip of them, and the last image.

    Exit status: 0 all went well, 1 a round or a region failed (it is named), 2 wrong usage.

    Example: forgescope refine photo.png --model ./legion --out refined
    """
    from forgescope.refinement.stopping import PAPER_INPAINTING_ROUNDS, PAPER_REGENERATION_ROUNDS, StopRule

    # what the context holds is not converted yet
    options = {**context.params, "mode": mode, "out": out, "artifacts": artifacts}
    _check_usage(options)
    with json_output(as_json) as answer:
        photo, explain, origin = _read_inputs(image, model, artifacts, device)
        if mode is Mode.INPAINT:
            begin, rule = _inpaint, StopRule(rounds or PAPER_INPAINTING_ROUNDS, largest_clean_area=0.0)
        else:
            begin, rule = _regenerate, StopRule(rounds or PAPER_REGENERATION_ROUNDS)
        if artifacts is not None:
            rule = replace(rule, rounds=1)
        _run(begin(photo, explain, rule, origin, options), rule, out, answer)


def _check_usage(options: dict[str, Any]) -> None:
    if (options["model"] is None) == (options["artifacts"] is None):
        raise ValueError("give --model or --artifacts: one of them says where the artifacts are")
    if options["artifacts"] is not None and (options["rounds"] or 1) > 1:
        raise ValueError("--artifacts says what is wrong with this image alone: more --rounds need --model")
    other = REGENERATION_ONLY if options["mode"] is Mode.INPAINT else INPAINTING_ONLY
    names = {"--context": "crop_context"}
    given = [name for name in other if options[names.get(name, name[2:].replace("-", "_"))] not in (None, False)]
    if given:
        raise ValueError(f"--mode {options['mode'].value} takes no {', '.join(given)}")
    if options["mode"] is Mode.REGENERATE and options["reviser"] is None:
        raise ValueError("--mode regenerate needs --reviser: the language model that revises the prompt")


def _read_inputs(
    image: Path, model: str | None, artifacts: Path | None, device: str | None
) -> tuple["Image.Image", "Explain", dict[str, Any]]:
    """The image, what finds artifacts in it, and its name for the settings of the run."""
    from forgescope.construction.inpainting import name_of
    from forgescope.reading import read_image
    from forgescope.refine import load_explainer
    from forgescope.refinement.artifacts import check_artifacts, read_artifacts

    photo = read_image(image).image
    if artifacts is None:
        return photo, load_explainer(str(model), device), {"explainer": name_of(model)}
    found = check_artifacts(photo, read_artifacts(artifacts))
    return photo, lambda _: found, {"artifacts": hashlib.sha256(artifacts.read_bytes()).hexdigest()[:16]}


def _load(options: dict[str, Any], default: str, origin: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The pipeline, and the arguments of its calls that were given; both get into `origin`."""
    from forgescope.construction.inpainters import GUIDANCE_ARGUMENT, STEPS_ARGUMENT
    from forgescope.construction.inpainting import name_of
    from forgescope.refine import load_diffusion

    model = options["pipeline"] or default
    loading = {name: options[name] for name in ("device", "dtype", "offload")}
    pipeline = load_diffusion(model, options["mode"] is Mode.INPAINT, **loading)
    names = {STEPS_ARGUMENT: "steps", GUIDANCE_ARGUMENT: "guidance_scale", "strength": "strength"}
    arguments = {name: options[option] for name, option in names.items() if options[option] is not None}
    origin |= {"pipeline": name_of(model), "dtype": options["dtype"], "arguments": arguments}
    return pipeline, arguments


def _inpaint(
    photo: "Image.Image", explain: "Explain", rule: "StopRule", origin: dict[str, Any], options: dict[str, Any]
) -> "Iterator[Step]":
    from forgescope.refine import INPAINTING_MODEL, inpaint_function, native_side
    from forgescope.refinement.inpaint import InpaintingSettings, inpaint_steps

    pipeline, arguments = _load(options, INPAINTING_MODEL, origin)
    return inpaint_steps(
        photo,
        explain,
        inpaint_function(pipeline, **arguments),
        prompt=options["prompt"] or "",
        settings=InpaintingSettings(size=options["size"] or native_side(pipeline), context=options["crop_context"]),
        rule=rule,
        seed=options["seed"],
        explain_last=options["artifacts"] is None,
        folder=options["out"],
        origin=origin,
    )


def _regenerate(
    photo: "Image.Image", explain: "Explain", rule: "StopRule", origin: dict[str, Any], options: dict[str, Any]
) -> "Iterator[Step]":
    from forgescope.construction.inpainting import name_of
    from forgescope.refine import REGENERATION_MODEL, generate_function, load_language_model
    from forgescope.refinement.records import read_steps
    from forgescope.refinement.regenerate import regenerate_steps
    from forgescope.refinement.revisers import describe_image, language_model_reviser

    if options["from_prompt"] and options["artifacts"]:
        raise ValueError("--artifacts are those of IMAGE: with --from-prompt give --model")
    server = [options[name] for name in ("reviser_url", "reviser_key_env", "device")]
    ask = load_language_model(options["reviser"], *server)
    pipeline, arguments = _load(options, REGENERATION_MODEL, origin)
    kept = read_steps(options["out"])  # a model may describe the image in other words the next time
    prompt = options["prompt"] or (kept[0].prompt if kept else describe_image(ask, photo))
    origin |= {"reviser": name_of(options["reviser"]), "show_images": options["show_images"]}
    return regenerate_steps(
        prompt,
        explain,
        generate_function(pipeline, **arguments),
        language_model_reviser(ask, with_images=options["show_images"]),
        image=None if options["from_prompt"] else photo,
        rule=rule,
        seed=options["seed"],
        explain_last=options["artifacts"] is None,
        folder=options["out"],
        origin=origin,
    )


def _run(steps: "Iterator[Step]", rule: "StopRule", out: Path, answer: dict[str, Any]) -> None:
    """Make the steps, print each, and write the result; exit status 1 when something failed.

    Args:
        steps: of the run.
        rule: when it ends.
        out: folder of the result.
        answer: what programs are told is entered here.
    """
    from forgescope.refinement.records import write_picture, write_result
    from forgescope.refinement.stopping import best_step, why_stop
    from forgescope.refinement.strip import draw_strip

    made: list[Step] = []
    failed = False
    try:
        for step in steps:
            made.append(step)
            found = "not examined" if step.artifacts is None else f"{len(step.artifacts)} artifacts"
            typer.echo(f"step {step.number}: {found}")
            for edit in step.edits:
                if edit.error is not None:
                    failed = True
                    place = f"artifact {edit.artifact + 1} of step {step.number - 1}"
                    typer.echo(f"failed: {place}: {edit.error}", err=True)
    except (ValueError, OSError, RuntimeError) as error:
        if not made:
            raise
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        typer.echo(f"{len(made)} steps are kept in {out}; run again to go on from there", err=True)
        raise typer.Exit(1) from error
    write_result(out, made, best_step(made), why_stop(rule, made))
    write_picture(out / "strip.png", draw_strip(made))
    counts = [None if step.artifacts is None else len(step.artifacts) for step in made]
    errors = [edit.error for step in made for edit in step.edits if edit.error is not None]
    answer |= {"out": out, "refined": out / "refined.png", "strip": out / "strip.png"}
    answer |= {"artifacts": counts, "best_step": best_step(made).number, "stopped": why_stop(rule, made)}
    answer["failed"] = errors
    typer.echo(f"stopped: {why_stop(rule, made)}\nrefined: {out / 'refined.png'}\nsteps:   {out / 'strip.png'}")
    if failed:
        raise typer.Exit(1)
