"""Masks of what an editor changed: `python examples/06_annotate_pairs.py pairs.csv --out corpus`.

`pairs.csv` has columns `original` and `edited`; a folder with `original/` and `edited/` will do too. The same as
`forgescope annotate`, which also runs on several processes or a Ray cluster.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

import forgescope
from forgescope.construction.promptforge.annotator import AnnotationSettings
from forgescope.construction.promptforge.corpus_folder import CorpusFolder
from forgescope.construction.promptforge.engines import AnnotationJob, run_local
from forgescope.construction.promptforge.pairs import read_pairs
from forgescope.reading import read_image


def open_rgb(file: Path) -> Image.Image:
    """Open a photograph upright and in RGB."""
    return read_image(file).image


def main(
    pairs: Annotated[Path, typer.Argument(help="Table or folder of pairs.")],
    out: Annotated[Path, typer.Option(help="Folder of the corpus.")] = Path("corpus"),
    backbone: Annotated[str, typer.Option(help="classical (no weights), timm/NAME or a Hub id.")] = "classical",
) -> None:
    """Annotate pairs, and read the corpus that they make."""
    settings = AnnotationSettings(backbone=backbone)
    folder = CorpusFolder(out, settings)  # a run that was stopped goes on here
    wanted = [pair for pair in read_pairs(pairs) if pair.id not in folder.done]
    result = folder.write(run_local(wanted, AnnotationJob(settings, out, open_rgb)), total=len(wanted))
    print(f"{result.annotated} pairs with masks, rejected: {result.rejected or 'none'}")
    for split, rows in folder.rows.items():
        if not rows:
            continue
        for row in forgescope.load_corpus("promptforge", out, split=split):
            share = (np.asarray(row["mask"]) > 0).mean()
            print(f"{row['id']} ({split}): {share:.1%} of the image was edited")


if __name__ == "__main__":
    typer.run(main)
