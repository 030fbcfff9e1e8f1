"""`forgescope data`: list the corpora, look through one, export one."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgescope.cli import data_turns
from forgescope.cli.completion import complete_corpus
from forgescope.cli.output import Json, json_output, json_writer, print_json

if TYPE_CHECKING:
    from forgescope.datasets_scripts.inspection_report import CorpusReport
    from forgescope.datasets_scripts.notes import Notes

app = typer.Typer(help="Read, check and export the corpora.", no_args_is_help=True)

NAME = typer.Argument(
    metavar="NAME", help="Corpus, as `forgescope data list` names it.", autocompletion=complete_corpus
)
DIRECTORY = typer.Argument(metavar="DIR", help="Folder or archive, as its publisher offers it.")
CONFIG = typer.Option(help="Variant of the corpus; default: its first.")
OPTION = typer.Option("--option", "-o", metavar="KEY=VALUE", help="Option of the corpus; repeatable.")


@app.callback()
def data() -> None:
    """Read, check and export the corpora."""


@app.command("list", short_help="The corpora, and what their folders hold.")
def list_corpora(as_json: Json = False) -> None:
    """List every corpus with its configurations and what its folder holds.

    Example: forgescope data list
    """
    from forgescope.datasets_scripts.load import CORPORA, corpus_builder_class

    corpora: dict[str, dict[str, Any]] = {}
    for name in CORPORA:
        builder = corpus_builder_class(name)
        card, configs = builder.CARD, [config.name for config in builder.BUILDER_CONFIGS]
        corpora[name] = {"title": card.title, "licence": card.licence, "homepage": card.homepage, "terms": card.terms}
        corpora[name] |= {"configs": configs, "expected": builder.EXPECTED}
        if not as_json:
            typer.echo(f"{name:<12} {card.title} ({card.licence})")
            typer.echo(f"{'':<12} configs: {', '.join(configs)}\n{'':<12} DIR: {builder.EXPECTED}")
    if as_json:
        print_json(corpora)


@app.command("inspect", short_help="Counts, sizes, masks, equal and broken files of one.")
def inspect(
    name: Annotated[str, NAME],
    directory: Annotated[Path, DIRECTORY],
    config: Annotated[str | None, CONFIG] = None,
    split: Annotated[list[str] | None, typer.Option(help="Only this split; repeatable.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Rows to read of each split.")] = None,
    probe: Annotated[int, typer.Option(min=0, help="Masks whose pixel values are listed.")] = 100,
    decode: Annotated[bool, typer.Option(help="Decode every image to its end, to find broken ones.")] = True,
    out: Annotated[Path | None, typer.Option(help="Folder for report.json, contact_sheet.png and charts.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON; -: print it alone.")
    ] = None,
    option: Annotated[list[str] | None, OPTION] = None,
) -> None:
    """Count rows, sizes, masks, equal and broken files, and compare with the paper.

    Exit status: 0 all files are usable, 1 some are not (they are named), 2 wrong usage.

    Example: forgescope data inspect synthscars SynthScars.zip --limit 100 --out report
    """
    from forgescope.datasets_scripts.inspection import inspect_corpus

    options = _options(option)
    with json_writer(json_file) as write:
        report = inspect_corpus(name, directory, config, limit, probe, decode, split, **options)
        _print_tables(report)
        write(report.to_json())
        if out is not None:
            _write_pictures(report, out, directory, config, options)
    if report.unusable:
        typer.echo(f"{report.unusable} files cannot be used", err=True)
        raise typer.Exit(1)


@app.command("export", short_help="Parquet shards with a dataset card.")
def export(
    name: Annotated[str, NAME],
    directory: Annotated[Path, DIRECTORY],
    out: Annotated[Path, typer.Option(help="Folder to write; absent, empty, or an earlier export.")],
    config: Annotated[str | None, CONFIG] = None,
    num_proc: Annotated[int | None, typer.Option(min=1, help="Processes.")] = None,
    rows_per_group: Annotated[int, typer.Option(min=1, help="Rows of a Parquet row group.")] = 100,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an export of other files or options.")
    ] = False,
    push: Annotated[str | None, typer.Option(metavar="ORG/NAME", help="Upload to this Hub repository.")] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    have_rights: Annotated[
        bool, typer.Option("--i-have-rights", help="Upload although the licence does not clearly allow it.")
    ] = False,
    option: Annotated[list[str] | None, OPTION] = None,
    as_json: Json = False,
) -> None:
    """Write Parquet shards and a dataset card that plain `datasets.load_dataset` reads.

    Exit status: 0 every row is in, 1 some files could not be used (they are named), 2 wrong usage.

    Example: forgescope data export synthscars SynthScars.zip --out synthscars-parquet
    """
    from forgescope.datasets_scripts.export import export_corpus

    options = _options(option)
    with json_output(as_json) as answer:
        with _quiet_libraries():
            export = export_corpus(
                name,
                directory,
                out,
                config,
                num_proc,
                push_to=push,
                private=private or None,
                have_rights=have_rights,
                rows_per_group=rows_per_group,
                overwrite=overwrite,
                **options,
            )
        rows = ", ".join(f"{count:,} {split}" for split, count in export.rows.items())
        typer.echo(f"{export.folder}: {rows or 'an equal export was there already'}")
        if export.url:
            typer.echo(export.url)
        answer |= {"folder": export.folder, "rows": dict(export.rows), "url": export.url}
        answer["notes"] = export.notes.to_dict()
        _name_unusable(export.notes)


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """No bars of `datasets` where nobody watches, and no log of what the verb names at its end itself."""
    import datasets

    log = logging.getLogger("forgescope.datasets_scripts.notes")
    level, bars = log.level, not datasets.are_progress_bars_disabled()
    log.setLevel(logging.ERROR)
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        log.setLevel(level)
        if bars:
            datasets.enable_progress_bars()


def _options(given: list[str] | None) -> dict[str, Any]:
    """Options of a corpus as their values: numbers, true, false, null and lists as in YAML, all else as text."""
    import yaml

    options = {}
    for one in given or ():
        key, equals, value = one.partition("=")
        if not equals or not key:
            raise ValueError(f"--option must be key=value, got {one!r}")
        options[key.replace("-", "_")] = yaml.safe_load(value)
    return options


def _print_tables(report: "CorpusReport") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    read = "" if report.limit is None else f", at most {report.limit:,} rows of each split"
    console.print(f"{report.title}, configuration {report.config}{read}", highlight=False, markup=False)
    for title, header, lines in report.tables():
        table = Table(show_header=any(header))
        for name in header:
            table.add_column(name, overflow="fold")
        for cells in lines:
            table.add_row(*(Text(cell) for cell in cells))
        console.print(f"\n{title}", highlight=False, markup=False)
        console.print(table)


def _write_pictures(
    report: "CorpusReport", out: Path, directory: Path, config: str | None, options: dict[str, Any]
) -> None:
    """Write everything into a folder; charts are left out, and that said, without matplotlib."""
    from forgescope.datasets_scripts.contact_sheet import contact_sheet
    from forgescope.datasets_scripts.inspection_plots import save_plots

    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(report.to_json(), encoding="utf-8")
    contact_sheet(report.corpus, directory, config, **options).save(out / "contact_sheet.png")
    try:
        save_plots(report, out)
    except ImportError as error:
        typer.echo(f"no charts: {error}", err=True)
    typer.echo(f"written to {out}")


def _name_unusable(notes: "Notes") -> None:
    """Say what was skipped or repaired; exit status 1 when a file could not be used."""
    for kind, found in notes.to_dict().items():
        typer.echo(f"{kind}: {found['count']} ({'; '.join(found['examples'][:3])})", err=True)
    if notes.unusable:
        raise typer.Exit(1)


app.command("turns", short_help="Draw images that were edited several times.")(data_turns.turns)
