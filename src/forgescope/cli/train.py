"""`forgescope train`: fine-tune a model on a folder of images and masks."""

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
    summary = ", ".join(
        f"{name[5:]} {value:.4f}" for name, value in sorted(metrics.items()) if name.startswith("eval_")
    )
    typer.echo(f"saved {output}\nvalidation (pooled pixels, forged class): {summary}")
