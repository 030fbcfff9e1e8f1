"""Repair what a detector marked: `python examples/07_refine.py image.jpg artifacts.json --pipeline org/inpainting`.

`artifacts.json` names regions and what is wrong there (docs/refine.md has the form). A LEGION checkpoint finds them by
itself, and then several rounds make sense: `explain = load_explainer("org/legion")`. Without `--pipeline` OpenCV fills
the regions, which shows the loop and nothing more.
"""

from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from PIL import Image

from forgescope.refine import inpaint_function, load_diffusion
from forgescope.refinement.artifacts import read_artifacts
from forgescope.refinement.inpaint import inpaint_steps
from forgescope.refinement.stopping import StopRule
from forgescope.refinement.strip import draw_strip

RADIUS = 5  # of OpenCV's inpainting, in pixels


def fill(image: Image.Image, mask: Image.Image, prompt: str, seed: int) -> Image.Image:
    """Stand in for an inpainting model: white pixels of the mask are filled from their surroundings."""
    return Image.fromarray(cv2.inpaint(np.asarray(image), np.asarray(mask), RADIUS, cv2.INPAINT_TELEA))


def main(
    image: Annotated[Path, typer.Argument(help="Image to repair.")],
    artifacts: Annotated[Path, typer.Argument(help="JSON file with its artifacts.")],
    out: Annotated[Path, typer.Option(help="Folder for the steps.")] = Path("refined"),
    pipeline: Annotated[str | None, typer.Option(help="Inpainting pipeline of diffusers: folder or Hub id.")] = None,
) -> None:
    """Fill every marked region; all other pixels stay as they are."""
    inpaint = inpaint_function(load_diffusion(pipeline, inpainting=True)) if pipeline else fill
    photo, found = Image.open(image).convert("RGB"), read_artifacts(artifacts)
    # the file knows the first image alone, so there is one round, after which nothing is examined
    steps = list(inpaint_steps(photo, lambda _: found, inpaint, rule=StopRule(1), explain_last=False, folder=out))
    steps[-1].image.save(out / "refined.png")
    draw_strip(steps).save(out / "strip.png")
    changed = (np.asarray(steps[-1].image) != np.asarray(photo)).any(axis=2).mean()
    print(f"{len(found)} regions filled, {changed:.1%} of the pixels changed: {out / 'strip.png'}")


if __name__ == "__main__":
    typer.run(main)
