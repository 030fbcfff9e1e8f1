"""Command line: one thin file per verb."""

import os
import sys
import warnings
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from forgescope import __version__
from forgescope.cli import (
    annotate,
    construct,
    convert,
    data,
    demo,
    detect,
    env,
    evaluate,
    explain,
    export,
    protocols,
    push,
    refine,
    train,
)

# The verbs in the order of the work, and what the list of them says of each.
VERBS = {
    "detect": "Verdict, mask and overlay of photographs.",
    "explain": "Verdict on photographs and the reasons for it, in words.",
    "demo": "A page in the browser to try photographs on.",
    "annotate": "Masks of what was edited between two images: PAIRS --out DIR.",
    "data": "Read, check and export the corpora.",
    "construct": "Make forged images with known masks, and corpora.",
    "train": "Train a model from a recipe.",
    "evaluate": "Measure a checkpoint, also by the table of a paper.",
    "protocols": "List the tables of the papers, and what they need.",
    "refine": "Make an image anew where a detector finds artifacts.",
    "convert": "Turn authors' checkpoints into ours.",
    "export": "Write a model as ONNX or OpenVINO.",
    "push": "Publish a checkpoint with its code and card on the Hub.",
    "env": "Versions and hardware, for reports of faults.",
}


class Verbs(TyperGroup):
    """Lists the verbs in their order; typer would list those with verbs of their own last."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the verbs."""
        return sorted(self.commands, key=list(VERBS).index)


app = typer.Typer(
    name="forgescope",
    cls=Verbs,
    help="Detect, localize, attribute and explain AI-made image forgeries.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # marked-up help would swallow what stands in square brackets, such as forgescope[plot]
    rich_markup_mode=None,
)
app.command("detect", short_help=VERBS["detect"])(detect.detect)
app.command("explain", short_help=VERBS["explain"])(explain.explain)
app.command("demo", short_help=VERBS["demo"])(demo.demo)
app.add_typer(annotate.app, name="annotate", short_help=VERBS["annotate"])
app.add_typer(construct.app, name="construct", short_help=VERBS["construct"])
app.add_typer(convert.app, name="convert", short_help=VERBS["convert"])
app.add_typer(data.app, name="data", short_help=VERBS["data"])
app.add_typer(train.app, name="train", short_help=VERBS["train"])
app.command("evaluate", short_help=VERBS["evaluate"])(evaluate.evaluate)
app.command("protocols", short_help=VERBS["protocols"])(protocols.protocols)
app.command("refine", short_help=VERBS["refine"])(refine.refine)
app.command("export", short_help=VERBS["export"])(export.export)
app.command("push", short_help=VERBS["push"])(push.push)
app.command("env", short_help=VERBS["env"])(env.env)

# typer has the class from click or from its own copy of it, depending on its version
UsageError: type[Any] = typer.BadParameter.__mro__[1]
# What shells say of a program that Ctrl-C ended.
INTERRUPTED = 130
# What some versions of typer put before the reason why a value is refused.
CHECKED = "Value error, "


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
    warnings.filterwarnings("ignore", category=UserWarning, module="huggingface_hub")
    try:
        status = app(prog_name=app.info.name, standalone_mode=False)
    except UsageError as error:
        typer.echo(_usage(error), err=True)
        sys.exit(2)
    except typer.Abort:  # of older versions of typer; newer ones give the status
        status = INTERRUPTED
    except (ValueError, OSError, ImportError) as error:
        typer.echo(f"error: {_one_line(_said(error))}", err=True)
        sys.exit(2)
    if status == INTERRUPTED:
        typer.echo("interrupted; what was written until now is kept", err=True)
    sys.exit(status if isinstance(status, int) else 0)


def _usage(error: Any) -> str:
    """One line on wrong arguments; the whole help where a group was called without any."""
    context = error.ctx
    message = error.format_message().replace(CHECKED, "")
    if context is None:
        return f"error: {_one_line(message)}"
    if message == context.get_help():
        return message
    return f"error: {_one_line(message).removesuffix('.')}; see {context.command_path} --help"


def _said(error: Exception) -> str:
    """The text of an error; of one of the system its place and reason, without its number."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _one_line(message: object) -> str:
    return " ".join(str(message).split())
