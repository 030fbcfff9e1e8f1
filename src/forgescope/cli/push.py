"""`forgescope push`: publish a checkpoint on the Hub."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from forgescope.cli.output import Json, json_output


def push(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder of a checkpoint, Hub id, or iclnet-mini.")],
    repo_id: Annotated[str, typer.Argument(metavar="ORG/NAME", help="Hub repository; made when missing.")],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    card: Annotated[Path | None, typer.Option(help="Markdown file to use as the model card.")] = None,
    metrics: Annotated[Path | None, typer.Option(help="Rows that `forgescope evaluate --json` wrote.")] = None,
    weights_license: Annotated[str | None, typer.Option("--license", help="License id of the weights.")] = None,
    base_model: Annotated[str | None, typer.Option(help="Hub id of the model that was fine-tuned.")] = None,
    dataset: Annotated[list[str] | None, typer.Option(help="Hub id of a training corpus; repeatable.")] = None,
    as_json: Json = False,
) -> None:
    """Publish weights, processor, code and model card as one commit.

    The result loads with `import forgescope`, and without it through `trust_remote_code=True`.

    Example: forgescope push runs/iclnet org/iclnet-mine --metrics rows.json --license apache-2.0
    """
    rows = _read_rows(metrics) if metrics is not None else None

    from forgescope.hub import load_checkpoint, push_to_hub_with_code

    with json_output(as_json) as answer:
        loaded, processor = load_checkpoint(model)
        stated = {"license": weights_license, "base_model": base_model, "datasets": dataset}
        url = push_to_hub_with_code(
            loaded,
            processor,
            repo_id,
            card=card,
            metrics=rows,
            metadata={key: value for key, value in stated.items() if value},
            private=private or None,
        )
        answer["url"] = str(url)
        typer.echo(url)


def _read_rows(file: Path) -> list[dict[str, Any]]:
    """Read the rows of an evaluation; ValueError where the file holds something else."""
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"'{file}' is not JSON: expected the file that `forgescope evaluate --json` wrote") from error
    if not isinstance(rows, list):
        raise ValueError(f"'{file}' holds no list of rows: expected the file that `forgescope evaluate --json` wrote")
    return rows
