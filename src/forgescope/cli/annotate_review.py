"""`forgescope annotate review` and `forgescope annotate tally`: rate annotated masks, and count the ratings."""

from pathlib import Path
from typing import Annotated

import typer

from forgescope.cli.output import Json, json_output, json_writer

# Problems that are printed one by one; the rest is counted.
SHOWN_PROBLEMS = 20


def review(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that was annotated.")],
    per_source: Annotated[int, typer.Option(min=1, help="Pairs of each source; the paper took 50.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="Same seed and folder, same pairs.")] = 0,
    as_json: Json = False,
) -> None:
    """Make DIR/review/index.html, where a person rates the masks of sampled pairs.

    Open the page in a browser, rate with the keys 1, 2 and 3, and save the ratings into DIR/review.

    Exit status: 0 all pairs that were drawn are shown, 1 some could not be (they are named), 2 wrong usage.

    Example: forgescope annotate review corpus --per-source 50
    """
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from forgescope.construction.promptforge.review import write_review

    with json_output(as_json) as answer, Progress(transient=True, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def advance(source: str, done: int, wanted: int) -> None:
            if source not in tasks:
                tasks[source] = bars.add_task(source, total=wanted)
            bars.update(tasks[source], completed=done)

        made = write_review(folder, per_source, seed, advance)
        bars.stop()
        counts = ", ".join(f"{source} {count}" for source, count in made.sources.items())
        typer.echo(f"{made.page}: {made.count} pairs ({counts})")
        for problem in made.problems[:SHOWN_PROBLEMS]:
            typer.echo(f"skipped {problem}", err=True)
        if len(made.problems) > SHOWN_PROBLEMS:
            typer.echo(f"skipped {len(made.problems) - SHOWN_PROBLEMS} more", err=True)
        answer |= {"page": made.page, "pairs": made.count, "sources": dict(made.sources), "skipped": made.problems}
        if made.problems:
            raise typer.Exit(1)


def tally(
    paths: Annotated[
        list[Path], typer.Argument(metavar="DIR|FILES", help="Folder that was annotated, or ratings-*.json files.")
    ],
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the table as JSON; -: print it alone.")
    ] = None,
) -> None:
    """Count the saved ratings by majority vote, beside the numbers of the paper.

    Exit status: 0 every pair has a majority or a tie, 1 ratings are missing that could decide a pair, 2 wrong usage.

    Example: forgescope annotate tally corpus --json ratings.json
    """
    from forgescope.construction.promptforge.review_tally import INCOMPLETE
    from forgescope.construction.promptforge.review_tally import tally as count_ratings

    with json_writer(json_file) as write:
        result = count_ratings(paths)
        typer.echo(result.to_markdown(), nl=False)
        write(result.to_json())
    missing = result.rows[-1].counts[INCOMPLETE]
    if missing:
        typer.echo(f"{missing} pairs could still be decided: not everyone has rated them", err=True)
        raise typer.Exit(1)
