"""Ask a model for its verdict and the reasons: `python examples/02_explain.py photo.jpg --model fakereasoning`.

The model is a FakeReasoning checkpoint: the authors' after `forgescope convert fakereasoning`, or one that you
trained, for instance by 05_fine_tune_lora.py.
"""

from pathlib import Path
from typing import Annotated

import typer

from forgescope.examination import Failure
from forgescope.explain import Explainer


def main(
    images: Annotated[list[Path], typer.Argument(help="Photographs.")],
    model: Annotated[str, typer.Option(help="Checkpoint or adapters: folder or Hub id.")],
    max_new_tokens: Annotated[int, typer.Option(help="Length at which an answer is cut off.")] = 512,
) -> None:
    """Print what a model says of each photograph."""
    explainer = Explainer(model, max_new_tokens=max_new_tokens)
    for path, result in zip(images, explainer.results(images), strict=True):
        if isinstance(result, Failure):
            print(result.error)
            continue
        # either may be missing: an answer that is not in the form of the paper is kept as it is
        probability = "unknown" if result.fake_probability is None else f"{result.fake_probability:.2f}"
        print(f"{path.name}: {result.verdict or 'no verdict'}, probability to be fake {probability}")
        print(result.describe())
        for problem in result.problems:
            print(f"note: {problem}")


if __name__ == "__main__":
    typer.run(main)
