"""`forgescope detect`: examine photographs, write masks, overlays and a report."""

import os
import sys
from collections import Counter
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgescope.cli.output import JsonLines, json_lines

if TYPE_CHECKING:
    from forgescope.analyze import Analyzer
    from forgescope.ensemble import Ensemble
    from forgescope.results import ResultsFolder

# Up to this many photographs are listed one by one; the report has them all.
MOST_LISTED = 20


class ReportFormat(str, Enum):
    """What is written beside report.jsonl."""

    JSONL = "jsonl"
    CSV = "csv"
    HTML = "html"


class Precision(str, Enum):
    """Arithmetic of the forward pass."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def detect(
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Image files, folders or patterns.")],
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Checkpoint folder or Hub id; given several times, all are asked and have to agree.",
            show_default="iclnet-mini, embedded",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for report, masks and overlays.")] = Path("forgescope-report"),
    report_format: Annotated[
        ReportFormat, typer.Option("--format", help="Written beside report.jsonl: nothing, a table, or a web page.")
    ] = ReportFormat.JSONL,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU if there is one.")] = None,
    dtype: Annotated[Precision, typer.Option(help="bfloat16 is faster; auto is float32.")] = Precision.AUTO,
    batch_size: Annotated[int | None, typer.Option(help="Images or tiles in one forward pass.")] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Score from which an image is forged; default: the checkpoint's."),
    ] = None,
    mask_threshold: Annotated[
        float | None, typer.Option(help="Probability from which a pixel is; default: the checkpoint's.")
    ] = None,
    tile: Annotated[int | None, typer.Option(help="Examine at full resolution, in tiles of this many pixels.")] = None,
    overlap: Annotated[int | None, typer.Option(help="Pixels that tiles share.")] = None,
    recursive: Annotated[bool, typer.Option(help="Descend into folders of folders.")] = True,
    overlay: Annotated[bool, typer.Option(help="Write overlays and probability maps.")] = True,
    provenance: Annotated[
        bool, typer.Option(help="Read content credentials and metadata; they have no part in the verdict.")
    ] = True,
    explanations: Annotated[
        bool, typer.Option(help="Of LEGION: outline and explain artifacts; without, its verdict alone, much faster.")
    ] = True,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Examine files again that the report already has.")
    ] = False,
    max_pixels: Annotated[int | None, typer.Option(min=1, help="Refuse larger images, width x height.")] = None,
    as_json: JsonLines = False,
) -> None:
    """Examine photographs: verdict, score, forged share, mask and overlay of each.

    Exit status: 0 all examined, 1 some failed (they are named), 2 wrong usage.

    Example: forgescope detect photos --format html --out report
    """
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    from forgescope.analyze import Analyzer
    from forgescope.discovery import find_images_to_examine
    from forgescope.ensemble import Ensemble
    from forgescope.results import ResultsFolder

    images = find_images_to_examine(paths, recursive, out)
    disable_progress_bar()
    set_verbosity_error()
    optional: dict[str, Any] = {"tile": tile, "overlap": overlap, "max_pixels": max_pixels}
    settings: dict[str, Any] = {
        "device": device,
        "dtype": dtype.value,
        "batch_size": batch_size,
        "threshold": threshold,
        "mask_threshold": mask_threshold,
        "provenance": provenance,
        "explanations": explanations,
    } | {name: value for name, value in optional.items() if value is not None}
    models = model or []
    analyzer = Ensemble(models, **settings) if len(models) > 1 else Analyzer(next(iter(models), None), **settings)
    alone = {} if explanations else {"explanations": False}
    results = ResultsFolder(out, _settings(analyzer) | alone, overwrite)
    waiting = [image for image in images if not results.done(image)]
    with json_lines(as_json) as print_row:
        if len(waiting) < len(images):
            typer.echo(f"{len(images) - len(waiting)} already examined (--overwrite examines them again)")
        for image in images:
            if results.done(image):
                print_row(results.rows[os.path.abspath(image)])
        try:
            rows = _run(analyzer, results, waiting, overlay, print_row)
            page = _write_presentation(results, report_format)
        except OSError as error:
            place = error.filename or results.folder
            typer.echo(f"error: cannot write {place}: {error.strerror or error}", err=True)
            kept = f"{len(results.rows)} rows are kept in {results.journal}"
            typer.echo(f"{kept}; run again to go on from there", err=True)
            raise typer.Exit(1) from error
        _summarize(results, rows, page)


def _settings(analyzer: "Analyzer | Ensemble") -> dict[str, Any]:
    """What rows depend on: rows of other settings are not kept in the same folder."""
    from forgescope.ensemble import Ensemble

    if isinstance(analyzer, Ensemble):
        checkpoints = [_settings(one) for one in analyzer.analyzers]
        rule = "More than half of the checkpoints decide, each by its own thresholds."
        return {"model": analyzer.name, "precision": analyzer.precision, "rule": rule, "checkpoints": checkpoints}
    localizer = analyzer.localizer
    editors = {"editors": list(localizer.editors)} if localizer.editors else {}
    return editors | {
        "model": analyzer.name,
        "precision": analyzer.precision,
        "rule": analyzer.rule.describe(),
        "tile": localizer.tile if localizer.native else None,
    }


def _run(
    analyzer: "Analyzer | Ensemble",
    results: "ResultsFolder",
    images: list[str],
    overlay: bool,
    print_row: Callable[[dict[str, Any]], None],
) -> list[dict[str, Any]]:
    from tqdm.auto import tqdm

    from forgescope.analyze import Failure

    rows = []
    for path, result in zip(
        images, tqdm(analyzer.results(images), total=len(images), unit="image", disable=None), strict=True
    ):
        if isinstance(result, Failure):
            rows.append(results.add_failure(path, result.error))
        else:
            rows.append(results.add(result, overlay))
        print_row(rows[-1])
    return rows


def _write_presentation(results: "ResultsFolder", report_format: ReportFormat) -> Path:
    if report_format is ReportFormat.CSV:
        return results.write_csv()
    if report_format is ReportFormat.HTML:
        from forgescope.html_report import write_html

        return write_html(results)
    return results.journal


def _summarize(results: "ResultsFolder", rows: list[dict[str, Any]], page: Path) -> None:
    """Print what was found and where it lies; exit status 1 when a photograph failed."""
    from forgescope.editor_maps import shares_text

    failed = [row for row in rows if row["error"] is not None]
    good = [row for row in rows if row["error"] is None]
    for row in good if len(good) <= MOST_LISTED else ():
        line = f"{row['verdict']:<12}  score {row['score']:.3f}"
        if row["forged_fraction"] is not None:
            line += f"  forged {row['forged_fraction']:6.2%}"
        if row["ai_fraction"] is not None:
            line += f"  AI-made {row['ai_fraction']:6.2%}"
        if row["attribution"]:
            line += f" by {shares_text(row['attribution'])}"
        typer.echo(f"{line}  {row['path']}")
        if row["provenance"] and row["provenance"]["summary"]:
            typer.echo(_printable(f"  the file says: {row['provenance']['summary']}"))
    for row in failed:
        typer.echo(f"failed: {row['error']}", err=True)
    counts = Counter(row["verdict"] for row in good)
    found = ", ".join(f"{counts[name]} {name}" for name in ("forged", "inconclusive", "authentic"))
    typer.echo(f"{len(rows)} examined: {found}, {len(failed)} failed")
    _summarize_provenance(good)
    _name_untrained(good)
    typer.echo(f"report:   {os.path.relpath(page)}")
    for folder in ("masks", "ai_masks", "overlays"):
        if (results.folder / folder).is_dir():
            typer.echo(f"{folder + ':':<9} {os.path.relpath(results.folder / folder)}{os.sep}")
    if failed:
        raise typer.Exit(1)


def _summarize_provenance(rows: list[dict[str, Any]]) -> None:
    """Print one line when something was found, and one when content credentials were not looked for."""
    from forgescope.provenance_cell import credentials_not_looked_for

    read = [row["provenance"] for row in rows if row["provenance"] is not None]
    signed = sum(bool(one["c2pa"] or one["c2pa_error"]) for one in read)
    described = sum(bool(one["generator_metadata"]) for one in read)
    if signed or described:
        typer.echo(
            f"provenance: {signed} with content credentials, {described} with metadata; no part of the verdicts"
        )
    if missing := credentials_not_looked_for(rows):
        typer.echo(missing)


def _name_untrained(rows: list[dict[str, Any]]) -> None:
    """Print one line for each checkpoint that gave no verdict, its detection head not being trained."""
    from forgescope.artifact_explanation import NO_TRAINED_HEAD

    views = [view for row in rows for view in row.get("views") or [row]]
    counts = Counter(view["model"] for view in views if any(NO_TRAINED_HEAD in note for note in view["notes"]))
    for model, count in counts.items():
        typer.echo(
            f"no verdict of {model} on {count} images, whose scores say nothing: its detection head is not trained "
            "(forgescope train legion-detection)"
        )


def _printable(text: str) -> str:
    """Replace what the terminal's encoding lacks."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, errors="replace").decode(encoding)
