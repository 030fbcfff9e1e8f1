"""Train small versions of DiffSeg30k's baselines on edits by two pseudo-editors, on the same images, and compare them.

    python benchmarks/diffseg_baselines.py --data forged --out runs/baselines [--architectures segformer,...]

The images are made by `forgescope construct manipulations --settings examples/two_editors.yaml`. Each baseline is
trained by `forgescope train diffseg --recipe diffseg-mini --architecture NAME` and evaluated on photographs that no
training image was made from. The table goes to `table.md`, each checkpoint into the folder of its name.
"""

import argparse
import json
from pathlib import Path

from forgescope.trainers.train_diffseg import ARCHITECTURES, diffseg_recipe, train
from forgescope.trainers.training_run import load_splits

COLUMNS = {"eval_pixel_accuracy": "pixel accuracy", "eval_mean_iou": "mIoU without background"}
CLASS_IOU = "eval_iou_"


def results_of(architecture: str, task: str, data: Path, out: Path, overrides: list[str]) -> dict[str, float]:
    """Train one baseline, or read what an earlier run left: metrics, and the number of steps."""
    folder = out / f"{architecture}-{task}"
    recipe = diffseg_recipe("diffseg-mini", overrides, architecture=architecture, task=task)
    finished = folder / "eval_results.json"
    if not finished.is_file():
        train(load_splits(data), recipe, str(folder), resume=any(folder.glob("checkpoint-*")))
    return json.loads(finished.read_text(encoding="utf-8")) | {"steps": recipe.training["max_steps"]}


def table(results: dict[tuple[str, str], dict[str, float]]) -> str:
    """Markdown table, one line a baseline; behind the columns the IoU of each class."""
    lines = [f"| architecture | task | steps | {' | '.join(COLUMNS.values())} | IoU of each class |"]
    lines.append("|---" * (len(COLUMNS) + 4) + "|")
    for (architecture, task), metrics in results.items():
        cells = [f"{metrics.get(name, 0.0):.3f}" for name in COLUMNS]
        ious = {name: iou for name, iou in metrics.items() if name.startswith(CLASS_IOU)}
        cells.append(", ".join(f"{name.removeprefix(CLASS_IOU)} {iou:.3f}" for name, iou in ious.items()))
        lines.append(f"| {architecture} | {task} | {metrics['steps']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train every baseline and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the manipulation engine")
    parser.add_argument("--out", type=Path, required=True, help="checkpoints and table.md")
    parser.add_argument("--architectures", default=",".join(ARCHITECTURES), help="with commas")
    parser.add_argument("--tasks", default="semantic", help="semantic, binary, or both with a comma")
    parser.add_argument("--set", action="append", default=[], help="section.key=value, as in forgescope train")
    arguments = parser.parse_args()
    results: dict[tuple[str, str], dict[str, float]] = {}
    for task in arguments.tasks.split(","):
        for architecture in arguments.architectures.split(","):
            given = (architecture, task, arguments.data, arguments.out, arguments.set)
            results[architecture, task] = results_of(*given)
            (arguments.out / "table.md").write_text(table(results), encoding="utf-8")
            print(table(results), flush=True)


if __name__ == "__main__":
    main()
