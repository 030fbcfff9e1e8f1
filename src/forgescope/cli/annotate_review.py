"""`forgescope annotate review` and `forgescope annotate tally`: rate annotated masks, and count the ratings."""

from pathlib import Path
from typing import Annotated

import typer

# Problems that are printed one by one; the rest is counted.
SHOWN_PROBLEMS = 20


def review(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that was annotated.")],
    per_source: Annotated[int, typer.Option(min=1, help="Pairs of each source; the paper took 50.")] = 50,
    seed: Annotated[int, typer.Option(help="Same seed and folder, same pairs.")] = 0,
) -> None:
    """Make DIR/review/index.html, where a person rates the masks of sampled pairs.

    Open the page in a browser, rate with the keys 1, 2 and 3, and save the ratings into DIR/review.

    Exit status: 0 all pairs that were drawn are shown, 1 some could not be (they are named), 2 wrong usage.
    """
    from rich.progress import Progress, TaskID

    from forgescope.construction.promptforge.review import write_review

    with Progress(transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def advance(source: str, done: int, wanted: int) -> None:
            if source not in tasks:
                tasks[source] = bars.add_task(source, total=wanted)
            bars.update(tasks[source], completed=done)

        made = write_review(folder, per_source, seed, advance)
    counts = ", ".join(f"{source} {count}" for source, count in made.sources.items())
    typer.echo(f"{made.page}: {made.count} pairs ({counts})")
    for problem in made.problems[:SHOWN_PROBLEMS]:
        typer.echo(f"skipped {problem}", err=True)
    if len(made.problems) > SHOWN_PROBLEMS:
        typer.echo(f"skipped {len(made.problems) - SHOWN_PROBLEMS} more", err=True)
    if made.problems:
        raise typer.Exit(1)


def tally(
    paths: Annotated[
        list[Path], typer.Argument(metavar="DIR|FILES", help="Folder that was annotated, or ratings-*.json files.")
    ],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the table as JSON too.")] = None,
) -> None:
    """Count the saved ratings by majority vote, beside the numbers of the paper.

    Exit status: 0 every pair has a majority or a tie, 1 ratings are missing that could decide a pair, 2 wrong usage.
    """
    from forgescope.construction.promptforge.review_tally import INCOMPLETE
    from forgescope.construction.promptforge.review_tally import tally as count_ratings

    result = count_ratings(paths)
    typer.echo(result.to_markdown(), nl=False)
    if json_file is not None:
        json_file.write_text(result.to_json(), encoding="utf-8")
    missing = result.rows[-1].counts[INCOMPLETE]
    if missing:
        typer.echo(f"{missing} pairs could still be decided: not everyone has rated them", err=True)
        raise typer.Exit(1)
