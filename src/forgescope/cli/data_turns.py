"""`forgescope data turns`: images that were edited several times, one strip of pictures each."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forgescope.cli.output import Json, json_output

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from forgescope.construction.edit_turns import EditSequence


def turns(
    pairs: Annotated[
        Path, typer.Argument(metavar="PAIRS", help="Table (CSV, JSON Lines) or folder of pairs, as annotate reads it.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for one PNG a sequence.")],
    annotated: Annotated[
        Path | None, typer.Option(help="Folder that `forgescope annotate` made of the same pairs: outlines its masks.")
    ] = None,
    single: Annotated[bool, typer.Option("--single", help="Draw images that were edited once, too.")] = False,
    as_json: Json = False,
) -> None:
    """Chain pairs whose original is the edited image of another, and draw each sequence turn by turn.

    Exit status: 0 all sequences are drawn, 1 some could not be (they are named), 2 wrong usage.

    Example: forgescope data turns pairs.csv --out strips
    """
    from forgescope.construction.edit_turns import draw_edit_sequence, edit_sequences
    from forgescope.construction.promptforge.pairs import read_pairs

    sequences = edit_sequences(read_pairs(pairs))
    chosen = [sequence for sequence in sequences if single or len(sequence.turns) > 1]
    if not chosen:
        raise ValueError(f"{pairs} has no image that was edited more than once: add --single to draw all")
    known = {} if annotated is None else _annotated_rows(annotated)
    with json_output(as_json) as answer:
        drawn: dict[str, int] = {}
        failed: dict[str, str] = {}
        for sequence in chosen:
            file = out / f"{sequence.name}.png"
            try:
                draw_edit_sequence(sequence, file, _read, _masks(sequence, known))
            except (ValueError, OSError) as error:
                failed[sequence.name] = str(error)
                typer.echo(f"skipped {sequence.name}: {error}", err=True)
                continue
            drawn[str(file)] = len(sequence.turns)
            typer.echo(f"{file}  {len(sequence.turns)} turns")
        answer |= {"turns": drawn, "failed": failed}
        if failed:
            raise typer.Exit(1)


def _read(image: "Path | bytes") -> "Image":
    from forgescope.cli.annotate import read_pair_image

    return read_pair_image(image)


def _annotated_rows(annotated: Path) -> dict[str, tuple[Path, dict]]:
    """Folder and row of each annotated pair, by its id."""
    rows = {}
    for listing in sorted(annotated.glob("*/metadata.jsonl")):
        for line in listing.read_text(encoding="utf-8").split("\n"):
            row = json.loads(line) if line.strip() else {}
            if row.get("id") and row.get("mask_file_name") and row.get("crop"):
                rows[row["id"]] = listing.parent, row
    if not rows:
        raise ValueError(f"{annotated} has no masks: give a folder that `forgescope annotate` made")
    return rows


def _masks(sequence: "EditSequence", known: dict[str, tuple[Path, dict]]) -> "list[np.ndarray | None]":
    """Masks of a sequence's turns at the size of the edited images; None for a pair that was rejected."""
    import numpy as np
    from PIL import Image

    masks: list[np.ndarray | None] = []
    for turn in sequence.turns:
        if turn.id not in known:
            masks.append(None)
            continue
        folder, row = known[turn.id]
        left, top, right, bottom = row["crop"]
        whole = Image.new("L", _read(turn.edited).size)
        with Image.open(folder / row["mask_file_name"]) as mask:
            whole.paste(mask.convert("L").resize((right - left, bottom - top), Image.Resampling.NEAREST), (left, top))
        masks.append(np.asarray(whole))
    return masks
