"""`forgescope explain`: verdict on photographs and the reasons for it, in words."""

import json
import sys
from collections import Counter
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .detect import MOST_LISTED, Precision

if TYPE_CHECKING:
    from rich.console import Console

    from forgescope.explain import Explainer
    from forgescope.journal import Journal

JOURNAL = "explanations.jsonl"
STYLES = {"fake": "bold red", "real": "bold green", None: "bold yellow"}


class OutputFormat(str, Enum):
    """What is printed."""

    TEXT = "text"
    JSONL = "jsonl"


def explain(
    paths: Annotated[list[str], typer.Argument(metavar="IMAGE", help="Image files, folders or patterns.")],
    model: Annotated[str, typer.Option(help="Checkpoint folder or Hub id.")],
    out: Annotated[
        Path | None, typer.Option(help=f"Folder for {JOURNAL}; a run that was stopped goes on there.")
    ] = None,
    question: Annotated[str | None, typer.Option(help="In place of the question that the model knows.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Length at which an answer is cut off.")] = 512,
    temperature: Annotated[
        float, typer.Option(min=0, help="0: always the likeliest answer; the paper samples with 0.2.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the sampling.")] = 0,
    stream: Annotated[
        bool | None,
        typer.Option("--stream/--no-stream", help="Print while it is generated; default: one image and a terminal."),
    ] = None,
    output_format: Annotated[
        OutputFormat, typer.Option("--format", help="Print text, or one JSON object an image.")
    ] = OutputFormat.TEXT,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU if there is one.")] = None,
    dtype: Annotated[Precision, typer.Option(help="auto is as the checkpoint was saved.")] = Precision.AUTO,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images that are answered together.")] = None,
    recursive: Annotated[bool, typer.Option(help="Descend into folders of folders.")] = True,
    overwrite: Annotated[bool, typer.Option(help="Explain images again that --out already has.")] = False,
) -> None:
    """Explain photographs: verdict, probability to be fake, and the model's reasons.

    With several images and --out, a line an image is printed; the file there has the whole answers.

    Exit status: 0 all explained, 1 some failed (they are named), 2 wrong usage.
    """
    from forgescope.discovery import find_images

    images = find_images(paths, recursive, leave_out=out)
    if not images:
        raise ValueError(f"no image found in {', '.join(paths)}: expected image files, folders or patterns")
    text = output_format is OutputFormat.TEXT
    if stream and (len(images) > 1 or not text):
        raise ValueError("--stream shows one image as text: name one image, or leave it out")
    explainer = _load(
        model,
        question=question,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
        device=device,
        dtype=dtype.value,
        batch_size=batch_size,
    )
    journal = None if out is None else _open_journal(out, explainer, overwrite)
    waiting = [image for image in images if journal is None or not journal.done(image)]
    if len(waiting) < len(images):
        typer.echo(f"{len(images) - len(waiting)} already explained (--overwrite explains them again)", err=True)
    streamed = stream if stream is not None else text and len(images) == 1 and sys.stdout.isatty()
    rows = _run(explainer, journal, waiting, text, streamed, in_full=journal is None or len(images) == 1)
    _summarize(rows, journal, listed=text and journal is not None and len(images) > 1)


def _load(model: str, **settings: Any) -> "Explainer":
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    from forgescope.explain import Explainer

    disable_progress_bar()
    set_verbosity_error()
    return Explainer(model, **settings)


def _open_journal(out: Path, explainer: "Explainer", overwrite: bool) -> "Journal":
    from forgescope.journal import Journal

    names = ("precision", "question", "max_new_tokens", "temperature", "seed")
    settings = {"model": explainer.name} | {name: getattr(explainer, name) for name in names}
    return Journal(out / JOURNAL, settings, overwrite=overwrite)


def _run(
    explainer: "Explainer",
    journal: "Journal | None",
    images: list[str],
    text: bool,
    streamed: bool,
    in_full: bool,
) -> list[dict[str, Any]]:
    """Explain images, print and keep each; returns their rows."""
    from rich.console import Console
    from tqdm.auto import tqdm

    from forgescope.answer_stream import AnswerStream
    from forgescope.examination import Failure
    from forgescope.explanation import Explanation

    console = Console(highlight=False, soft_wrap=True)
    streamer = None
    if streamed:
        streamer = AnswerStream(explainer.processor.tokenizer, lambda piece: _print_answer(console, piece))
    # a bar between texts would tear them apart
    bar = tqdm(total=len(images), unit="image", disable=True if in_full or not text else None)
    rows = []
    with bar:
        for path, result in zip(images, explainer.results(images, streamer), strict=True):
            if isinstance(result, Failure):
                row = Explanation(None, None, "", model=explainer.name, path=path).to_dict() | {"error": result.error}
            else:
                row = result.to_dict() | {"error": None}
            rows.append(row if journal is None else _keep(journal, row))
            bar.update()
            if not text:
                typer.echo(json.dumps(rows[-1]))
            elif in_full and row["error"] is None:
                _print_explanation(console, row, streamed, with_path=len(images) > 1)
    return rows


def _keep(journal: "Journal", row: dict[str, Any]) -> dict[str, Any]:
    try:
        return journal.append(row)
    except OSError as error:
        typer.echo(f"error: cannot write {journal.journal}: {error.strerror or error}", err=True)
        typer.echo(f"{len(journal.rows)} rows are kept in it; run again to go on from there", err=True)
        raise typer.Exit(1) from error


def _print_answer(console: "Console", piece: str) -> None:
    """Print a piece of the answer, tags of stages coloured."""
    from rich.text import Text

    from forgescope.processing.chain_of_thought import TAG

    text = Text(piece)
    text.highlight_regex(TAG, "bold cyan")
    console.print(text, end="")
    console.file.flush()


def _print_explanation(console: "Console", row: dict[str, Any], streamed: bool, with_path: bool) -> None:
    """Print verdict, probability and stages; the stages not where they were streamed."""
    from rich.text import Text

    from forgescope.processing.chain_of_thought import STAGES

    if streamed:
        console.print("\n")
    if with_path:
        console.print(Text(row["path"], "bold"))
    console.print(Text(_verdict(row), STYLES[row["verdict"]]))
    if not streamed:
        stages = {stage.capitalize(): row[stage.lower()] for stage in STAGES if row[stage.lower()] is not None}
        for name, stage in (stages or {"Answer": row["text"]}).items():
            console.print(Text.assemble((f"{name}: ", "bold cyan"), stage))
    for problem in row["problems"]:
        console.print(Text(f"problem: {problem}", "yellow"))
    if with_path:
        console.print()


def _verdict(row: dict[str, Any]) -> str:
    probability = row["fake_probability"]
    said = row["verdict"] or "no verdict"
    return said if probability is None else f"{said}, probability to be fake {probability:.3f}"


def _summarize(rows: list[dict[str, Any]], journal: "Journal | None", listed: bool) -> None:
    """Print lines of a folder, what failed and where the rows lie; exit status 1 when an image failed."""
    good = [row for row in rows if row["error"] is None]
    failed = [row for row in rows if row["error"] is not None]
    for row in good if listed and len(good) <= MOST_LISTED else ():
        problems = f"  problems: {len(row['problems'])}" if row["problems"] else ""
        typer.echo(f"{_verdict(row)}  {row['path']}{problems}")
    for row in failed:
        typer.echo(f"failed: {row['error']}", err=True)
    if journal is not None:
        counts = Counter(row["verdict"] for row in good)
        found = f"{counts['fake']} fake, {counts['real']} real, {counts[None]} without a verdict"
        typer.echo(f"{len(rows)} explained: {found}, {len(failed)} failed", err=True)
        typer.echo(f"answers: {journal.journal}", err=True)
    if failed:
        raise typer.Exit(1)
