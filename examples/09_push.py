"""Publish a checkpoint and load it again: `python examples/09_push.py runs/trainer org/name --metrics rows.json`.

Needs `hf auth login`, or HF_TOKEN. Weights, processor, code and card go up as one commit.
"""

import json
from pathlib import Path
from typing import Annotated

import torch
import typer
from transformers import AutoImageProcessor, AutoModel

from forgescope.hub import load_checkpoint, push_to_hub_with_code


def main(
    model: Annotated[str, typer.Argument(help="Checkpoint of a segmentation or detection model.")],
    repo_id: Annotated[str, typer.Argument(help="organization/name on the Hub; made when missing.")],
    metrics: Annotated[Path | None, typer.Option(help="Rows that 08_evaluate.py wrote, for the card.")] = None,
    weights_license: Annotated[str, typer.Option("--license", help="License id of the weights.")] = "apache-2.0",
    private: Annotated[bool, typer.Option(help="Whether a new repository is private.")] = True,
) -> None:
    """Publish a checkpoint, load it as a stranger would, and compare the two."""
    loaded, processor = load_checkpoint(model)
    rows = None if metrics is None else json.loads(metrics.read_text(encoding="utf-8"))
    url = push_to_hub_with_code(
        loaded, processor, repo_id, metrics=rows, metadata={"license": weights_license}, private=private
    )
    # where forgescope is not installed: AutoModel.from_pretrained(repo_id, trust_remote_code=True)
    again = AutoModel.from_pretrained(repo_id).eval()
    size = AutoImageProcessor.from_pretrained(repo_id).size
    pixels = torch.rand(1, 3, size["height"], size["width"], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        same = torch.equal(loaded(pixels).logits, again(pixels).logits)
    print(f"{url}: {type(again).__name__}, {'equal outputs' if same else 'OTHER OUTPUTS'}")


if __name__ == "__main__":
    typer.run(main)
