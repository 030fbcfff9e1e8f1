"""What `forgescope evaluate` shows and writes of a run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from forgescope.evaluation.report import Table
    from forgescope.evaluation.results import EvaluationResult
    from forgescope.evaluation_runs import EvaluationRun

# What is printed of a protocol; the files have every number.
PROTOCOL_METRICS = ("image_accuracy", "image_recall", "image_false_alarm_rate")
# Characters of a line where no terminal limits them.
PIPED_WIDTH = 160


def show_and_write(
    run: "EvaluationRun",
    notes: list[str],
    write_rows: Callable[[str], None],
    markdown: Path | None,
    plot: Path | None,
    protocol: str | None,
    page: Path | None = None,
    photographs: str = "",
) -> None:
    """Print the notes and tables of a run, and write what was asked for.

    Args:
        run: the run.
        notes: sentences on it.
        write_rows: takes the rows as JSON.
        markdown: for the tables.
        plot: for the chart.
        protocol: name of the paper's table; None: a folder was measured.
        page: for tables, rows, chart and images as HTML.
        photographs: section of the images on the page; empty: it has none.
    """
    from rich.console import Console
    from rich.table import Column
    from rich.table import Table as RichTable

    from forgescope.evaluation.class_report import confusion_table
    from forgescope.evaluation.report import to_json, to_markdown, to_tables, write_text

    matrices = [confusion_table(title, matrix, run.classes) for title, matrix in run.confusions.items()]
    console = Console()
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    console.print("\n".join(notes), highlight=False, markup=False)
    shown = run.rows if protocol is None else [row for row in run.rows if row.metric in PROTOCOL_METRICS]
    tables = to_tables(shown, intervals=False) if run.tables is None else run.tables
    # several matrices are better looked at in the picture or the file
    for content in [*tables, *matrices] if len(matrices) == 1 else tables:
        table = RichTable(*(Column(name, overflow="fold") for name in content.header))
        table.columns[0].no_wrap = True
        for cells in content.lines:
            table.add_row(*cells)
        console.print(f"\n{content.title}", highlight=False, markup=False)
        console.print(table)
    write_rows(to_json(run.rows))
    if markdown:
        write_text(markdown, to_markdown(run.rows, notes, run.tables and [*run.tables, *matrices]))
    if plot:
        _draw(run, plot, protocol)
    if page:
        every = [*(to_tables(run.rows) if run.tables is None else run.tables), *matrices]
        _write_page(page, run, notes, every, protocol, photographs)


def _write_page(
    page: Path,
    run: "EvaluationRun",
    notes: list[str],
    tables: "list[Table]",
    protocol: str | None,
    photographs: str,
) -> None:
    """Write the page; arguments as in `show_and_write`, `tables` as they are laid out."""
    from forgescope.evaluation.report import write_text
    from forgescope.evaluation_page import evaluation_page

    charts, lacks = _charts(run, protocol)
    write_text(page, evaluation_page([*notes, *lacks], tables, run.rows, charts, photographs).decode())
    typer.echo(f"page: {page}")


def _charts(run: "EvaluationRun", protocol: str | None) -> tuple[list[bytes], list[str]]:
    """The picture of a run as SVG, and a sentence where there is none."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "chart.svg"
        try:
            _draw(run, file, protocol)
        except (ImportError, ValueError) as error:
            return [], [f"no chart: {error}"]
        return [file.read_bytes()], []


def _draw(run: "EvaluationRun", plot: Path, protocol: str | None) -> None:
    """Write the picture of a run: confusion matrices, a protocol's numbers, or pixel numbers by subset."""
    from forgescope.evaluation.class_plots import save_confusion_plot
    from forgescope.evaluation.family_rows import FamilyProtocol
    from forgescope.evaluation.grounded_plots import save_grounded_plot
    from forgescope.evaluation.grounded_protocol import GroundedRow
    from forgescope.evaluation.plots import save_plot
    from forgescope.evaluation.protocol_plots import save_protocol_plot
    from forgescope.evaluation.protocols import find_protocol

    grounded = [row for row in run.rows if isinstance(row, GroundedRow)]
    table = None if protocol is None else find_protocol(protocol)
    if run.confusions:
        save_confusion_plot(run.confusions, run.classes, plot)
    elif grounded:
        save_grounded_plot(grounded, plot)
    elif isinstance(table, FamilyProtocol):
        save_protocol_plot([row for row in run.rows if row.source in table.families], plot)
    elif protocol is not None:
        # of several checkpoints, each is drawn as a subset
        save_protocol_plot([replace(row, source=row.model or row.source) for row in run.rows], plot)
    else:
        save_plot(run.rows, plot)


def name_skipped(results: "list[EvaluationResult]") -> None:
    """Name every image that could not be scored; exit status 1 when there is one."""
    skipped = {(one.name, one.reason) for result in results for one in result.skipped}
    for name, reason in sorted(skipped):
        typer.echo(f"skipped {name}: {reason}" if name not in reason else f"skipped {reason}", err=True)
    if skipped:
        raise typer.Exit(1)
