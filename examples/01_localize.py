"""Mark the forged pixels of photographs: `python examples/01_localize.py examples/images/*.jpg --out marked`.

Writes for each photograph an overlay and a mask (black and white, of its size), and prints verdict and regions.
"""

from pathlib import Path
from typing import Annotated

import typer

from forgescope import Analyzer
from forgescope.examination import Failure


def main(
    images: Annotated[list[Path], typer.Argument(help="Photographs.")],
    model: Annotated[str, typer.Option(help="Checkpoint: embedded name, folder or Hub id.")] = "iclnet-mini",
    out: Annotated[Path, typer.Option(help="Folder for overlays and masks.")] = Path("marked"),
) -> None:
    """Mark the forged pixels of photographs."""
    out.mkdir(parents=True, exist_ok=True)
    analyzer = Analyzer(model)  # loads the checkpoint once
    for path, result in zip(images, analyzer.results(images), strict=True):
        if isinstance(result, Failure):  # a file that cannot be read does not stop the others
            print(result.error)
            continue
        result.overlay().save(out / f"{path.stem}.overlay.png")
        result.mask_image().save(out / f"{path.stem}.mask.png")
        print(f"{path.name}: {result.verdict}, score {result.score:.2f}, {result.forged_fraction:.1%} marked")
        for region in result.regions[:3]:
            print(f"  {region.box} with mean probability {region.mean_probability:.2f}")


if __name__ == "__main__":
    typer.run(main)
