"""`forgescope explain`: verdict on photographs and the reasons for it, in words, and outlined by a model that does."""

import os
import sys
from collections import Counter
from collections.abc import Callable
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .detect import MOST_LISTED, Precision
from .output import JsonLines, json_lines

if TYPE_CHECKING:
    from forgescope.explain import AnyExplanation, Explainer
    from forgescope.journal import Journal

JOURNAL = "explanations.jsonl"


class OutputFormat(str, Enum):
    """What is printed."""

    TEXT = "text"
    JSONL = "jsonl"


def explain(
    paths: Annotated[list[str], typer.Argument(metavar="IMAGE", help="Image files, folders or patterns.")],
    model: Annotated[str, typer.Option(help="Checkpoint folder or Hub id.")],
    out: Annotated[
        Path | None,
        typer.Option(help=f"Folder for {JOURNAL}, and LEGION's masks and pictures; a stopped run goes on there."),
    ] = None,
    question: Annotated[str | None, typer.Option(help="In place of the question that the model knows.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Length at which an answer is cut off.")] = 512,
    temperature: Annotated[
        float, typer.Option(min=0, help="0: always the likeliest answer; the paper samples with 0.2.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the sampling.")] = 0,
    mask_threshold: Annotated[
        float | None,
        typer.Option(help="Of LEGION: probability above which a pixel is an artifact; default: the checkpoint's."),
    ] = None,
    longest_edge: Annotated[
        int | None, typer.Option(min=1, help="Of LEGION: long side of an image as SAM sees it; default: 1024 pixels.")
    ] = None,
    stream: Annotated[
        bool | None,
        typer.Option("--stream/--no-stream", help="Print while it is generated; default: one image and a terminal."),
    ] = None,
    output_format: Annotated[
        OutputFormat, typer.Option("--format", help="Print text, or one JSON object an image, as --json does.")
    ] = OutputFormat.TEXT,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU if there is one.")] = None,
    dtype: Annotated[Precision, typer.Option(help="auto is as the checkpoint was saved.")] = Precision.AUTO,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images that are answered together.")] = None,
    recursive: Annotated[bool, typer.Option(help="Descend into folders of folders.")] = True,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Explain images again that --out already has.")
    ] = False,
    as_json: JsonLines = False,
) -> None:
    """Explain photographs: verdict, probability to be fake, and the model's reasons or artifacts.

    With several images and --out, a line an image is printed; the file there has the whole answers. LEGION's artifacts
    are outlined there too, and `forgescope refine` takes each image's artifacts.json.

    Exit status: 0 all explained, 1 some failed (they are named), 2 wrong usage.

    Example: forgescope explain photo.jpg --model ./legion --out explained
    """
    from forgescope.discovery import find_images_to_examine

    images = find_images_to_examine(paths, recursive, out)
    text = output_format is OutputFormat.TEXT and not as_json
    if stream and (len(images) > 1 or not text):
        raise ValueError("--stream shows one image as text: name one image, or leave it out")
    explainer = _load(
        model,
        question=question,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
        mask_threshold=mask_threshold,
        longest_edge=longest_edge,
        device=device,
        dtype=dtype.value,
        batch_size=batch_size,
    )
    journal = None if out is None else _open_journal(out, explainer, overwrite)
    waiting = [image for image in images if journal is None or not journal.done(image)]
    if len(waiting) < len(images):
        typer.echo(f"{len(images) - len(waiting)} already explained (--overwrite explains them again)", err=True)
    streamed = stream if stream is not None else text and len(images) == 1 and sys.stdout.isatty()
    with json_lines(not text) as print_json_row:
        for image in images:
            if journal is not None and journal.done(image):
                print_json_row(journal.rows[os.path.abspath(image)])
        in_full = text and (journal is None or len(images) == 1)
        rows = _run(explainer, journal, waiting, streamed, in_full, print_json_row)
    _summarize(rows, journal, listed=text and journal is not None and len(images) > 1)


def _load(model: str, **settings: Any) -> "Explainer":
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    from forgescope.explain import Explainer

    disable_progress_bar()
    set_verbosity_error()
    return Explainer(model, **settings)


def _open_journal(out: Path, explainer: "Explainer", overwrite: bool) -> "Journal":
    from forgescope.journal import Journal

    return Journal(out / JOURNAL, {"model": explainer.name} | explainer.settings, overwrite=overwrite)


def _run(
    explainer: "Explainer",
    journal: "Journal | None",
    images: list[str],
    streamed: bool,
    in_full: bool,
    print_json_row: Callable[[dict[str, Any]], None],
) -> list[dict[str, Any]]:
    """Explain images, print and keep each; returns their rows."""
    from rich.console import Console
    from tqdm.auto import tqdm

    from forgescope.cli.explain_printing import PhrasePrinter, print_row, stage_printer
    from forgescope.examination import Failure

    console = Console(highlight=False, soft_wrap=True)
    write = PhrasePrinter(console) if explainer.outlines else stage_printer(console)
    streamer = explainer.stream(write) if streamed else None
    # a bar between texts would tear them apart
    bar = tqdm(total=len(images), unit="image", disable=True if in_full else None)
    rows = []
    with bar:
        for path, result in zip(images, explainer.results(images, streamer), strict=True):
            if isinstance(result, Failure):
                make = partial(_failed_row, explainer, path, result.error, journal)
            else:
                make = partial(_row, result, journal)
            rows.append(make() if journal is None else _keep(journal, make))
            bar.update()
            print_json_row(rows[-1])
            if in_full and rows[-1]["error"] is None:
                print_row(console, rows[-1], streamed, with_path=len(images) > 1)
    return rows


def _failed_row(explainer: "Explainer", path: str, error: str, journal: "Journal | None") -> dict[str, Any]:
    from forgescope.artifact_explanation import EMPTY_ROW
    from forgescope.artifact_files import FILES
    from forgescope.explanation import Explanation

    no_files = {} if journal is None else dict.fromkeys(FILES)
    empty = EMPTY_ROW | no_files if explainer.outlines else Explanation(None, None, "").to_dict()
    return empty | {"model": explainer.name, "path": path, "error": error}


def _row(found: "AnyExplanation", journal: "Journal | None" = None) -> dict[str, Any]:
    """Row of an answer; with a journal, masks and picture of LEGION's are written beside it."""
    from forgescope.artifact_explanation import ArtifactExplanation
    from forgescope.artifact_files import save_artifacts
    from forgescope.cli.explain_printing import verdict_text

    row = found.to_dict() | {"error": None}
    if journal is not None and isinstance(found, ArtifactExplanation):
        row |= save_artifacts(journal.folder, found, verdict_text(row))
    return row


def _keep(journal: "Journal", make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Make a row, with its files, and add it to the journal."""
    try:
        return journal.append(make())
    except OSError as error:
        place = error.filename or journal.journal
        typer.echo(f"error: cannot write {place}: {error.strerror or error}", err=True)
        typer.echo(f"{len(journal.rows)} rows are kept in {journal.journal}; run again to go on from there", err=True)
        raise typer.Exit(1) from error


def _summarize(rows: list[dict[str, Any]], journal: "Journal | None", listed: bool) -> None:
    """Print lines of a folder, what failed and where the rows lie; exit status 1 when an image failed."""
    from forgescope.artifact_files import PICTURE
    from forgescope.cli.explain_printing import verdict_text

    good = [row for row in rows if row["error"] is None]
    failed = [row for row in rows if row["error"] is not None]
    for row in good if listed and len(good) <= MOST_LISTED else ():
        artifacts = f"  artifacts: {len(row['phrases'])}" if "phrases" in row else ""
        problems = f"  problems: {len(row['problems'])}" if row["problems"] else ""
        typer.echo(f"{verdict_text(row)}  {row['path']}{artifacts}{problems}")
    for row in failed:
        typer.echo(f"failed: {row['error']}", err=True)
    if journal is not None:
        counts = Counter(row["verdict"] for row in good)
        found = f"{counts['fake']} fake, {counts['real']} real, {counts[None]} without a verdict"
        typer.echo(f"{len(rows)} explained: {found}, {len(failed)} failed", err=True)
        typer.echo(f"answers: {journal.journal}", err=True)
        if any(row.get("picture") for row in good):
            typer.echo(f"pictures: {journal.folder / '*' / PICTURE}", err=True)
    if failed:
        raise typer.Exit(1)
