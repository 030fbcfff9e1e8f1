"""Regeneration under feedback (LEGION, section 4.2, Eq. 5): the prompt is revised and the image made anew.

M_t = M_{t-1} + LEGION(I_t), P_{t+1} = Revise(P_t, M_t), I_{t+1} = Regen(P_{t+1}). The memory bank M_t is the list of
all steps so far, and the reviser is given the whole of it; the published code passes only the latest explanation.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from .artifacts import Explain
from .records import Edit, Step, begin_run, image_hash
from .revisers import Reviser
from .steps import PUBLISHED_SEED, Preference, run_steps
from .stopping import PAPER_REGENERATION_ROUNDS, StopRule

# Regen(P): called with a text and a whole number; returns PIL RGB.
Generate = Callable[[str, int], Image.Image]


def regenerate_steps(
    prompt: str,
    explain: Explain,
    generate: Generate,
    revise: Reviser,
    *,
    image: Image.Image | None = None,
    rule: StopRule | None = None,
    seed: int = PUBLISHED_SEED,
    preference: Preference | None = None,
    explain_last: bool = True,
    folder: Path | None = None,
    origin: Mapping[str, Any] | None = None,
) -> Iterator[Step]:
    """Refine an image by regeneration, step by step; the image of the last step is the result.

    Args:
        prompt: P_0.
        explain: the detector, image -> artifacts.
        generate: the text-to-image model, (prompt, seed) -> image.
        revise: makes P_{t+1} of all steps so far.
        image: I_0, PIL RGB. None makes it of P_0, as the experiments do (section 5.5.1), so that the gap between two
            generators does not count as refinement.
        rule: when to stop; None for the paper's two rounds, or earlier when no artifact is named.
        seed: of every image, so that the prompt alone changes it. Not given in the paper.
        preference: scores images, `preference(image, P_0)`.
        explain_last: examine the last image too.
        folder: where steps are kept; a run that was stopped goes on there.
        origin: JSON values that name the models; a folder that was begun with others is refused.

    Yields:
        Step 0 is the first image, step t the image after t revisions.

    Raises:
        ValueError: wrong arguments, a folder of another run, or tools that return what is of no use.
    """
    if not prompt.strip():
        raise ValueError("regeneration needs a prompt: say what the image shows")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    image = None if image is None else image.convert("RGB")
    if folder is not None:
        kept = {
            "mode": "regenerate",
            "image": image_hash(image),
            "prompt": prompt,
            "seed": seed,
            "scored": preference is not None,
        }
        begin_run(folder, {**kept, **(origin or {})})

    def advance(steps: Sequence[Step]) -> tuple[Image.Image, str, Sequence[Edit]]:
        revised = revise(steps)
        if not isinstance(revised, str) or not revised.strip():
            raise ValueError(f"the reviser must return a prompt, got {revised!r}")
        return _made(generate, revised, seed), revised, ()

    return run_steps(
        lambda: (_made(generate, prompt, seed) if image is None else image, prompt),
        advance,
        explain,
        rule or StopRule(PAPER_REGENERATION_ROUNDS),
        preference=preference,
        explain_last=explain_last,
        folder=folder,
    )


def _made(generate: Generate, prompt: str, seed: int) -> Image.Image:
    image = generate(prompt, seed)
    if not isinstance(image, Image.Image):
        raise ValueError(f"the text-to-image model must return a PIL image, got {type(image).__name__}")
    return image.convert("RGB")


__all__ = ["Generate", "regenerate_steps"]
