"""Command line: one thin file per verb."""

import sys

import typer

from forgescope.cli import construct, detect, evaluate, push, train

app = typer.Typer(
    name="forgescope",
    help="Detect, localize, attribute and explain AI-made image forgeries.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("detect")(detect.detect)
app.add_typer(construct.app, name="construct")
app.add_typer(train.app, name="train")
app.command("evaluate")(evaluate.evaluate)
app.command("push")(push.push)


def main() -> None:
    """Run the command line; an expected error is one line on standard error and exit status 2."""
    try:
        app()
    except (ValueError, OSError, ImportError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
