"""`forgescope train`: train a model on images and masks."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Train a model from a recipe.", no_args_is_help=True)


@app.callback()
def _train() -> None:
    """Train a model from a recipe."""


@app.command("iclnet")
def iclnet(
    data: Annotated[str, typer.Option(help="Folder with metadata.jsonl, images and masks.")],
    output: Annotated[str, typer.Option(help="Folder for checkpoints and the final model.")] = "runs/iclnet",
    recipe: Annotated[str, typer.Option(help="Packaged recipe or YAML file.")] = "iclnet",
    base: Annotated[
        str | None, typer.Option(help="Start from this: a SegFormer (nvidia/mit-b4), or an ICL-Net (iclnet-mini).")
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="section.key=value, e.g. training.max_steps=100; repeatable.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint in the output folder.")] = False,
) -> None:
    """Train ICL-Net and save the best checkpoint with its image processor.

    Several processes: torchrun --nproc_per_node 2 -m forgescope train iclnet --data DIR
    """
    from forgescope.hub import resolve_checkpoint
    from forgescope.trainers.train_iclnet import iclnet_recipe, train

    if base is not None:
        base = resolve_checkpoint(base, model_types=("iclnet", "segformer"))
    metrics = train(data, iclnet_recipe(recipe, override or ()), output, base=base, resume=resume)
    _report(output, metrics, "pooled pixels, forged class")


@app.command("gamma")
def gamma(
    data: Annotated[Path, typer.Option(help="Folder with metadata.jsonl, images and both masks, or a corpus.")],
    output: Annotated[str, typer.Option(help="Folder for checkpoints and the final model.")] = "runs/gamma",
    recipe: Annotated[str, typer.Option(help="Packaged recipe (gamma, gamma-mini) or YAML file.")] = "gamma",
    base: Annotated[
        str | None, typer.Option(help="Start from this: a SegFormer (nvidia/mit-b2), or a GAMMA checkpoint.")
    ] = None,
    corpus: Annotated[str | None, typer.Option(help="Read --data as this corpus, such as gamma_mix.")] = None,
    ablation: Annotated[
        str | None, typer.Option(help="A row of the paper's tables 4 to 8, such as table8-none.")
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="section.key=value, e.g. data.crop_size=256; repeatable.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint in the output folder.")] = False,
) -> None:
    """Train GAMMA and save the best checkpoint with its image processor.

    Several processes: torchrun --nproc_per_node 2 -m forgescope train gamma --data DIR
    """
    from forgescope.datasets_scripts.load import load_corpus
    from forgescope.hub import resolve_checkpoint
    from forgescope.trainers.train_gamma import gamma_recipe, load_splits, train

    run = gamma_recipe(recipe, override or (), ablation)
    if base is not None:
        base = resolve_checkpoint(base, model_types=("gamma", "segformer"))
    if corpus is None:
        splits = load_splits(data)
    else:
        splits = {split: load_corpus(corpus, data, split=split) for split in ("train", "validation")}
    _report(output, train(splits, run, output, base=base, resume=resume), "masks: pooled pixels, forged class")


def _report(output: str, metrics: dict[str, float], rule: str) -> None:
    """Print where a run is and how its model does on the validation images."""
    summary = ", ".join(
        f"{name[5:]} {value:.4f}" for name, value in sorted(metrics.items()) if name.startswith("eval_")
    )
    typer.echo(f"saved {output}\nvalidation ({rule}): {summary}")
