"""Measure a checkpoint under stated rules: `python examples/08_evaluate.py examples --model iclnet-mini`.

Two papers that print "F1" rarely mean the same. Here one pass over the images gives the numbers of two rules; each row
says how it was made. `forgescope evaluate` does this with presets of published toolkits, charts and protocols.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from forgescope import Analyzer
from forgescope.evaluation.evaluator import Evaluator
from forgescope.evaluation.rows import result_rows
from forgescope.evaluation.rules import SegmentationRule
from forgescope.evaluation_data import find_test_files, image_scorer, read_examples

RULES = (
    SegmentationRule(reduction="image", metrics=("f1", "iou")),  # mean over forged images
    SegmentationRule(reduction="pooled", authentic="zero", metrics=("f1", "iou")),  # counts of all images added
)


def main(
    data: Annotated[Path, typer.Argument(help="Folder of images and masks.")],
    model: Annotated[str, typer.Option(help="Checkpoint: embedded name, folder or Hub id.")] = "iclnet-mini",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the rows here, for 09_push.py.")] = None,
) -> None:
    """Measure a checkpoint and print every number with its rule."""
    analyzer = Analyzer(model)
    evaluator = Evaluator(analyzer.localizer.examine, RULES, score=image_scorer(analyzer))
    files = find_test_files(data)
    result = evaluator.run(read_examples(files), total=len(files))
    rows = result_rows(result, forged_threshold=analyzer.rule.forged_threshold)
    for row in rows:
        if row.value is not None:
            rule = f"{row.reduction}, {row.classes}, images without forgery: {row.empty_rule}"
            print(f"{row.source}: {row.metric} {row.value:.3f} of {row.n} images ({rule})")
    if json_file is not None:
        json_file.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
