"""Train small GAMMA networks that differ in one point, on the same images and draws, and compare them.

    python benchmarks/gamma_variants.py --data forged --out runs/variants [--steps 1000] [--variants table8-none,...]

The images are made as docs/gamma.md says. Each variant is trained by `forgescope train gamma --recipe gamma-mini
--ablation NAME` and evaluated on photographs that no training image was made from; the table goes to `table.md`.
"""

import argparse
import json
from pathlib import Path

from forgescope.trainers.train_gamma import gamma_recipe, train
from forgescope.trainers.training_run import load_splits

VARIANTS = (
    "table4-classification",
    "table4-manipulation",
    "table4-ai",
    "table8-none",
    "table8-standard",
    "table8-dual",
    "table8-reverse-pooled",
    "table8-reverse-spatial",
)
COLUMNS = {
    "eval_accuracy": "accuracy",
    "eval_auc": "AUC",
    "eval_manipulation_iou": "IoU of altered pixels",
    "eval_ai_iou": "IoU of AI-made pixels",
}


def results_of(variant: str, data: Path, out: Path, steps: int) -> dict[str, float]:
    """Train one variant, or read what an earlier run left."""
    folder = out / variant
    finished = folder / "eval_results.json"
    if not finished.is_file():
        overrides = [f"training.max_steps={steps}", f"training.eval_steps={steps}", f"training.save_steps={steps}"]
        recipe = gamma_recipe("gamma-mini", overrides, variant)
        train(load_splits(data), recipe, str(folder), resume=any(folder.glob("checkpoint-*")))
    return json.loads(finished.read_text(encoding="utf-8"))


def table(results: dict[str, dict[str, float]]) -> str:
    """Markdown table, one line a variant."""
    lines = [f"| variant | {' | '.join(COLUMNS.values())} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for variant, metrics in results.items():
        cells = [f"{metrics[name]:.3f}" if name in metrics else "-" for name in COLUMNS]
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train every variant and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the manipulation engine")
    parser.add_argument("--out", type=Path, required=True, help="checkpoints and table.md")
    parser.add_argument("--steps", type=int, default=1000, help="steps of each variant")
    parser.add_argument("--variants", default=",".join(VARIANTS), help="names of ablations, with commas")
    arguments = parser.parse_args()
    results: dict[str, dict[str, float]] = {}
    for variant in arguments.variants.split(","):
        results[variant] = results_of(variant, arguments.data, arguments.out, arguments.steps)
        (arguments.out / "table.md").write_text(table(results), encoding="utf-8")
        print(table(results), flush=True)


if __name__ == "__main__":
    main()
