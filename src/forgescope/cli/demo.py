"""`forgescope demo`: a page in the browser that examines the photographs dropped on it."""

from pathlib import Path
from typing import Annotated

import typer

from .output import Json, print_json

# Images that the page offers where nothing else is given: those of a clone of the repository.
EXAMPLES = Path("examples/images")


def demo(
    model: Annotated[
        list[str] | None,
        typer.Option(help="Checkpoint folder or Hub id, several times for a choice; iclnet-mini is always offered."),
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen at; default: this computer alone, 0.0.0.0: every network.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Default: the first free one from 7860.")] = None,
    share: Annotated[
        bool, typer.Option("--share", help="Ask Gradio's servers for a public address for a while.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU if there is one.")] = None,
    examples: Annotated[
        Path | None, typer.Option(help=f"Folder of images that the page offers; default: {EXAMPLES}, if it is there.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Start a page in the browser: drop an image, see verdict, overlay, regions and how stable the verdict is.

    Ends with Ctrl+C. Exit status: 0 ended, 2 wrong usage.

    Example: forgescope demo --model runs/iclnet --port 8080
    """
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    from forgescope.demo import build_demo, launch_demo
    from forgescope.discovery import find_images

    disable_progress_bar()
    set_verbosity_error()
    if examples is not None and not examples.is_dir():
        raise ValueError(f"{examples} is no folder: --examples takes a folder of images")
    if examples is None and EXAMPLES.is_dir():
        examples = EXAMPLES
    offered = find_images([str(examples)], recursive=False) if examples is not None else []
    page = build_demo(model or (), device, offered)
    local, public = launch_demo(page, host, port, share, quiet=True, prevent_thread_lock=True)
    if as_json:
        print_json({"local": local, "public": public})
    typer.echo(f"forgescope demo: {local} (Ctrl+C ends it)", err=as_json)
    if public is not None:
        typer.echo(f"public address: {public}", err=as_json)
    elif share:
        typer.echo("no public address: Gradio's servers cannot be reached", err=True)
    page.block_thread()
