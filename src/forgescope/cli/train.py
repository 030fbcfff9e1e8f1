"""`forgescope train`: train a model on images and masks."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from forgescope.cli.completion import complete_corpus, complete_recipe
from forgescope.cli.output import Json, json_output
from forgescope.cli.renamed import RenamedOptions

app = typer.Typer(help="Train a model from a recipe.", no_args_is_help=True)

# Ends of what the Trainer reports beside the metrics of an evaluation.
SPEEDS = ("_runtime", "_per_second")
OUT = typer.Option(help="Folder for checkpoints and the final model.")
RESUME = typer.Option("--resume", help="Go on from the last checkpoint in the folder of --out.")
# a name in a shell is completed
RECIPE = partial(typer.Option, autocompletion=complete_recipe)
CORPUS = partial(typer.Option, autocompletion=complete_corpus)


@app.callback()
def _train() -> None:
    """Train a model from a recipe."""


@app.command("iclnet", cls=RenamedOptions, short_help="ICL-Net: forged pixels.")
def iclnet(
    data: Annotated[Path, typer.Option(help="Folder with metadata.jsonl, images and masks.")],
    out: Annotated[Path, OUT] = Path("runs/iclnet"),
    recipe: Annotated[str, RECIPE(help="iclnet (the paper), iclnet-mini, or YAML file.")] = "iclnet",
    base: Annotated[
        str | None, typer.Option(help="Start from this: a SegFormer (nvidia/mit-b4), or an ICL-Net (iclnet-mini).")
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="section.key=value, e.g. training.max_steps=100; repeatable.")
    ] = None,
    resume: Annotated[bool, RESUME] = False,
    as_json: Json = False,
) -> None:
    """Train ICL-Net and save the best checkpoint, with a mini recipe the last, and its image processor.

    Several processes: torchrun --nproc_per_node 2 -m forgescope train iclnet --data DIR

    Example: forgescope train iclnet --data forged --recipe iclnet-mini --base iclnet-mini
    """
    from forgescope.hub import resolve_checkpoint
    from forgescope.trainers.train_iclnet import iclnet_recipe, train

    with json_output(as_json) as answer, _intact_weights(base):
        if base is not None:
            base = resolve_checkpoint(base, model_types=("iclnet", "segformer"))
        metrics = train(str(data), iclnet_recipe(recipe, override or ()), str(out), base=base, resume=resume)
        answer |= _report(out, metrics, "pooled pixels, forged class")


@app.command("gamma", cls=RenamedOptions, short_help="GAMMA: real or fake, altered and AI-made pixels.")
def gamma(
    data: Annotated[Path, typer.Option(help="Folder with metadata.jsonl, images and both masks, or a corpus.")],
    out: Annotated[Path, OUT] = Path("runs/gamma"),
    recipe: Annotated[str, RECIPE(help="gamma (the paper), gamma-mini, or YAML file.")] = "gamma",
    base: Annotated[
        str | None, typer.Option(help="Start from this: a SegFormer (nvidia/mit-b2), or a GAMMA checkpoint.")
    ] = None,
    corpus: Annotated[str | None, CORPUS(help="Read --data as this corpus, such as gamma_mix.")] = None,
    ablation: Annotated[
        str | None, typer.Option(help="A row of the paper's tables 4 to 8, such as table8-none.")
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="section.key=value, e.g. data.crop_size=256; repeatable.")
    ] = None,
    resume: Annotated[bool, RESUME] = False,
    as_json: Json = False,
) -> None:
    """Train GAMMA and save the best checkpoint, with a mini recipe the last, and its image processor.

    Several processes: torchrun --nproc_per_node 2 -m forgescope train gamma --data DIR

    Example: forgescope train gamma --data forged --base nvidia/mit-b2
    """
    from forgescope.datasets_scripts.load import load_corpus
    from forgescope.hub import resolve_checkpoint
    from forgescope.trainers.train_gamma import gamma_recipe, train
    from forgescope.trainers.training_run import load_splits

    with json_output(as_json) as answer, _intact_weights(base):
        run = gamma_recipe(recipe, override or (), ablation)
        if base is not None:
            base = resolve_checkpoint(base, model_types=("gamma", "segformer"))
        if corpus is None:
            splits = load_splits(data)
        else:
            splits = {split: load_corpus(corpus, data, split=split) for split in ("train", "validation")}
        answer |= _report(
            out, train(splits, run, str(out), base=base, resume=resume), "masks: pooled pixels, forged class"
        )


@app.command("diffseg", cls=RenamedOptions, short_help="Baselines of DiffSeg30k: edited pixels and their editor.")
def diffseg(
    data: Annotated[Path, typer.Option(help="Folder with metadata.jsonl, images and masks, or a corpus.")],
    architecture: Annotated[
        str | None, typer.Option(help="segformer, deeplabv3plus or fcn8s.", show_default="segformer")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="semantic (which editor) or binary (edited or not).", show_default="semantic")
    ] = None,
    negatives: Annotated[
        Path | None, typer.Option(help="Folder of untouched photographs; the recipe says how many are added.")
    ] = None,
    out: Annotated[Path, OUT] = Path("runs/diffseg"),
    recipe: Annotated[
        str, RECIPE(help="diffseg or diffseg-mini, each with one recipe an architecture; or one recipe or file.")
    ] = "diffseg",
    base: Annotated[
        str | None,
        typer.Option(
            help="Start from this: a SegFormer (nvidia/mit-b2); for the others a timm model (resnet50.a1_in1k) or a "
            "file of its weights; or a checkpoint of a baseline."
        ),
    ] = None,
    corpus: Annotated[str | None, CORPUS(help="Read --data as this corpus, such as diffseg30k.")] = None,
    ablation: Annotated[
        str | None, typer.Option(help="A row of the paper's table 4, such as table4-flux-hunyuan.")
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="section.key=value, e.g. data.negatives=0; repeatable.")
    ] = None,
    resume: Annotated[bool, RESUME] = False,
    as_json: Json = False,
) -> None:
    """Train a DiffSeg30k baseline and save the best checkpoint, with a mini recipe the last, and its image processor.

    Several processes: torchrun --nproc_per_node 2 -m forgescope train diffseg --data DIR

    Example: forgescope train diffseg --data DiffSeg30k --corpus diffseg30k --base nvidia/mit-b2
    """
    from forgescope.construction.image_folder import find_photos
    from forgescope.datasets_scripts.load import load_corpus
    from forgescope.hub import resolve_checkpoint
    from forgescope.trainers.train_diffseg import diffseg_recipe, model_config, names_timm_model, train
    from forgescope.trainers.training_run import load_splits

    with json_output(as_json) as answer, _intact_weights(base):
        run = diffseg_recipe(recipe, override or (), ablation, architecture, task)
        if base is not None and not names_timm_model(base, run.model.get("architecture", "segformer")):
            base = resolve_checkpoint(base, model_types=("diffseg", "segformer"))
        editors = tuple(model_config(run, base).id2editor)
        photographs = [] if negatives is None else find_photos([negatives])
        if corpus is None:
            splits = load_splits(data)
        else:
            options: dict[str, Any] = {"id2editor": editors} if corpus == "diffseg30k" else {}
            splits = {split: load_corpus(corpus, data, split=split, **options) for split in ("train", "validation")}
        metrics = train(splits, run, str(out), base=base, resume=resume, photographs=photographs)
        answer |= _report(out, metrics, "pooled pixels, mean IoU of the editors")


@app.command("fakereasoning", cls=RenamedOptions, short_help="FakeReasoning: a verdict with reasons in words.")
def fakereasoning(
    data: Annotated[Path, typer.Option(help="Folder with metadata.jsonl (file_name, answer, label), or a corpus.")],
    out: Annotated[Path, OUT] = Path("runs/fakereasoning"),
    recipe: Annotated[
        str, RECIPE(help="fakereasoning (the paper), fakereasoning-published, fakereasoning-mini, or YAML file.")
    ] = "fakereasoning",
    base: Annotated[
        str | None,
        typer.Option(help="Start from this: a LLaVA-1.5 (llava-hf/llava-1.5-13b-hf), or a FakeReasoning checkpoint."),
    ] = None,
    corpus: Annotated[str | None, CORPUS(help="Read --data as this corpus, such as mmfr.")] = None,
    ablation: Annotated[
        str | None, typer.Option(help="A row of the paper's tables 4 to 6, such as table5-lm.")
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="section.key=value, e.g. tuning.save=merged; repeatable.")
    ] = None,
    resume: Annotated[bool, RESUME] = False,
    as_json: Json = False,
) -> None:
    """Train FakeReasoning and save its adapters, or the whole model, with the processor.

    Several processes: torchrun --nproc_per_node 2 -m forgescope train fakereasoning --data DIR

    Example: forgescope train fakereasoning --data MMFR --corpus mmfr --base llava-hf/llava-1.5-13b-hf
    """
    from forgescope.datasets_scripts.load import load_corpus
    from forgescope.hub import resolve_checkpoint
    from forgescope.trainers.answer_folder import load_answer_folder
    from forgescope.trainers.train_fakereasoning import fakereasoning_recipe, train

    with json_output(as_json) as answer, _intact_weights(base):
        run = fakereasoning_recipe(recipe, override or (), ablation)
        if base is not None:
            base = resolve_checkpoint(base, model_types=("fakereasoning", "llava"))
        splits: Any = load_answer_folder(data) if corpus is None else load_corpus(corpus, data)
        metrics = train(splits, run, str(out), base=base, resume=resume)
        answer |= _report(out, metrics, "verdicts on given answers")


@app.command("legion", cls=RenamedOptions, short_help="LEGION, stage 1: artifacts outlined and explained.")
def legion(
    data: Annotated[Path, typer.Option(help="SynthScars: its archive, its folder, or a folder in its layout.")],
    out: Annotated[Path, OUT] = Path("runs/legion"),
    recipe: Annotated[str, RECIPE(help="legion (the paper), legion-published, legion-mini, or YAML file.")] = "legion",
    base: Annotated[
        str | None,
        typer.Option(help="Start from this: a LEGION checkpoint, such as a GLaMM after `forgescope convert legion`."),
    ] = None,
    rasterizer: Annotated[
        str, typer.Option(help="How polygons become masks: fillpoly, or coco (needs pycocotools) as published.")
    ] = "fillpoly",
    override: Annotated[
        list[str] | None, typer.Option("--set", help="section.key=value, e.g. tuning.save=merged; repeatable.")
    ] = None,
    resume: Annotated[bool, RESUME] = False,
    as_json: Json = False,
) -> None:
    """Train LEGION to explain and outline (stage 1), and save its adapters, or the whole model, with the processor.

    Several processes: torchrun --nproc_per_node 2 -m forgescope train legion --data DIR

    Example: forgescope train legion --data SynthScars.zip --base ./glamm
    """
    from forgescope.datasets_scripts.load import load_corpus
    from forgescope.hub import resolve_checkpoint
    from forgescope.trainers.train_legion import legion_recipe, train

    with json_output(as_json) as answer, _intact_weights(base):
        run = legion_recipe(recipe, override or ())
        if base is not None:
            base = resolve_checkpoint(base, model_types=("legion",))
        # the test split stays unseen: rows of train are held out
        train_rows: Any = load_corpus("synthscars", data, config="grounded", split="train", rasterizer=rasterizer)
        metrics = train({"train": train_rows}, run, str(out), base=base, resume=resume)
        answer |= _report(out, metrics, "masks on given texts, means over images")


@app.command("legion-detection", cls=RenamedOptions, short_help="LEGION, stage 2: its detection head.")
def legion_detection(
    data: Annotated[Path, typer.Option(help="The corpus that --corpus names.")],
    base: Annotated[str, typer.Option(help="LEGION checkpoint whose detection head is trained.")],
    corpus: Annotated[
        str, CORPUS(help="progan_train (the paper), or another corpus of labelled images, such as genimage.")
    ] = "progan_train",
    out: Annotated[Path, OUT] = Path("runs/legion-detection"),
    recipe: Annotated[str, RECIPE(help="legion-detection (the paper), or YAML file.")] = "legion-detection",
    cache: Annotated[
        Path | None, typer.Option(help="Folder of class tokens, which runs may share.", show_default="in --out")
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="section.key=value, e.g. data.batch_size=256; repeatable.")
    ] = None,
    resume: Annotated[bool, RESUME] = False,
    as_json: Json = False,
) -> None:
    """Train LEGION's detection head (stage 2) on CLIP's class tokens, and save the whole model with it.

    Several processes: torchrun --nproc_per_node 2 -m forgescope train legion-detection --data DIR --base DIR

    Example: forgescope train legion-detection --data CNNDetection --base runs/legion
    """
    from forgescope.datasets_scripts.load import load_corpus
    from forgescope.hub import resolve_checkpoint
    from forgescope.trainers.train_legion_detection import detection_recipe, train

    with json_output(as_json) as answer, _intact_weights(base):
        run = detection_recipe(recipe, override or ())
        base = resolve_checkpoint(base, model_types=("legion",))
        name, config = ("cnnspot", corpus) if corpus == "progan_train" else (corpus, None)
        splits: Any = load_corpus(name, data, config=config)
        answer |= _report(out, train(splits, run, str(out), base, resume=resume, cache=cache), "verdicts at 0.5")


@contextmanager
def _intact_weights(base: str | None) -> Iterator[None]:
    """Say in one sentence that the weights of --base are damaged."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise ValueError(f"the weights of --base {base} are damaged ({error}): get them again") from error


def _report(out: Path, metrics: dict[str, float], rule: str) -> dict[str, Any]:
    """Print where a run is and how its model does on the validation images; the same for programs."""
    values = {
        name[5:]: value
        for name, value in sorted(metrics.items())
        if name.startswith("eval_") and not name.endswith(SPEEDS)
    }
    summary = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
    typer.echo(f"saved {out}\nvalidation ({rule}): {summary}")
    return {"out": out, "validation": values, "rule": rule}
