"""Command line: one thin file per verb."""

import os
import sys
import warnings
from typing import Annotated

import typer

from forgescope import __version__
from forgescope.cli import annotate, construct, convert, data, detect, evaluate, explain, push, refine, train

app = typer.Typer(
    name="forgescope",
    help="Detect, localize, attribute and explain AI-made image forgeries.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("detect")(detect.detect)
app.command("explain")(explain.explain)
app.add_typer(annotate.app, name="annotate")
app.add_typer(construct.app, name="construct")
app.add_typer(convert.app, name="convert")
app.add_typer(data.app, name="data")
app.add_typer(train.app, name="train")
app.command("evaluate")(evaluate.evaluate)
app.command("refine")(refine.refine)
app.command("push")(push.push)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"forgescope {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Detect, localize, attribute and explain AI-made image forgeries."""


def main() -> None:
    """Run the command line; an expected error is one line on standard error and exit status 2."""
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # progress bars are for terminals; read when tqdm is imported
    # of libraries with each other; a user of the command line can do nothing about them
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    try:
        app()
    except (ValueError, OSError, ImportError) as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        sys.exit(2)
