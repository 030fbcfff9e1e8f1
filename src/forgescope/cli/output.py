"""What verbs print for machines: JSON alone on standard output, everything else on standard error."""

import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

Json: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON object; everything else goes to standard error.")
]
JsonLines: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON object an image; everything else goes to standard error.")
]
# Name of a file that stands for standard output.
STANDARD_OUTPUT = Path("-")
# Of several processes, as torchrun numbers them, the first alone prints.
FIRST_PROCESS = "0"


@contextmanager
def json_output(wanted: bool) -> Iterator[dict[str, Any]]:
    """Print what a verb found as one JSON object.

    Args:
        wanted: whether it is asked for; else nothing changes.

    Yields:
        The object, to be filled in. It is printed at the end, also where some items failed (`typer.Exit`), but not
        after an error.
    """
    answer: dict[str, Any] = {}
    if not wanted:
        yield answer
        return
    stdout = sys.stdout
    first = os.environ.get("RANK", FIRST_PROCESS) == FIRST_PROCESS
    try:
        with redirect_stdout(sys.stderr):
            yield answer
    except typer.Exit:
        if answer and first:
            print_json(answer, stdout)
        raise
    if first:
        print_json(answer, stdout)


@contextmanager
def json_lines(wanted: bool) -> Iterator[Callable[[Any], None]]:
    """Print what a verb finds as JSON lines, each as soon as it is known.

    Args:
        wanted: whether they are asked for; else nothing changes.

    Yields:
        Function that prints a value; it does nothing where they are not wanted.
    """
    if not wanted:
        yield lambda value: None
        return
    stdout = sys.stdout
    with redirect_stdout(sys.stderr):
        yield lambda value: print_json(value, stdout)


@contextmanager
def json_writer(file: Path | None) -> Iterator[Callable[[str], None]]:
    """Write the JSON of a verb that has a file for it.

    Args:
        file: where; `-`: standard output, with everything else on standard error; None: nowhere.

    Yields:
        Function that writes a text.
    """
    if file != STANDARD_OUTPUT:
        yield (lambda text: None) if file is None else lambda text: _write(file, text)
        return
    stdout = sys.stdout
    with redirect_stdout(sys.stderr):
        yield lambda text: print_text(text, stdout)


def make_places(*files: Path | None) -> None:
    """Make the folders of files that are written after a long run, and see that each can be, so that none is in vain.

    Args:
        files: None: not wanted; `-`: standard output; without an ending, a folder.

    Raises:
        OSError: a file cannot be written there.
    """
    for file in files:
        if file is None or file == STANDARD_OUTPUT:
            continue
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix:
                is_new = not file.exists()
                file.open("ab").close()
                if is_new:
                    file.unlink()
        except OSError as error:
            raise OSError(f"cannot write {file}: {error.strerror or error}; choose another place") from error


def print_json(value: Any, file: Any = None) -> None:
    """Print a value as one line of JSON; numbers that are not finite become null, paths their text."""
    print_text(json.dumps(_finite(value), default=str), file)


def print_text(text: str, file: Any = None) -> None:
    """Print a text, and see that it is out."""
    typer.echo(text.removesuffix("\n"), file=file)


def _write(file: Path, text: str) -> None:
    from forgescope.evaluation.report import write_text

    write_text(file, text)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
