"""The loop that both ways of refining share: examine an image, make the next one, until a rule says stop."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from PIL import Image

from .artifacts import Artifact, Explain, check_artifacts
from .records import Edit, Step, read_steps, save_step
from .stopping import StopRule, why_stop

# Seed of the published code.
PUBLISHED_SEED = 42

# Scores an image, higher = better, such as HPSv2; gets PIL RGB and the prompt that the run began with.
Preference = Callable[[Image.Image, str], float]
# Makes the next image of all steps so far: PIL RGB, its prompt, and the edits that made it.
Advance = Callable[[Sequence[Step]], tuple[Image.Image, str, Sequence[Edit]]]


def run_steps(
    start: Callable[[], tuple[Image.Image, str]],
    advance: Advance,
    explain: Explain,
    rule: StopRule,
    *,
    preference: Preference | None = None,
    explain_last: bool = True,
    folder: Path | None = None,
) -> Iterator[Step]:
    """Make steps until the rule stops: step t holds I_t, its prompt and LEGION(I_t) of Eq. 5 and 6.

    A step is kept in the folder before and after it is examined, and steps that are there are not made again.

    Args:
        start: returns I_0 and its prompt.
        advance: makes I_{t+1}.
        explain: the detector.
        rule: when to stop.
        preference: scores every image.
        explain_last: examine the image of the last round too, which the equations do not need.
        folder: where steps are kept, begun with `begin_run`; None keeps nothing.

    Yields:
        The steps in order.

    Raises:
        ValueError: what the tools returned is of no use.
    """
    kept = [] if folder is None else read_steps(folder)
    steps: list[Step] = []
    while why_stop(rule, steps) is None:
        number = len(steps)
        step = kept[number] if number < len(kept) else None
        if step is None:
            image, prompt, edits = (*start(), ()) if not steps else advance(steps)
            score = _score(preference, image, steps[0].prompt if steps else prompt)
            step = Step(number, image, prompt, None, tuple(edits), score)
            if folder is not None:
                save_step(folder, step)
        if step.artifacts is None and (explain_last or number < rule.rounds):
            step = dataclasses.replace(step, artifacts=_examine(explain, step.image))
            if folder is not None:
                save_step(folder, step)
        steps.append(step)
        yield step


def _examine(explain: Explain, image: Image.Image) -> tuple[Artifact, ...]:
    return check_artifacts(image, explain(image.copy()))


def _score(preference: Preference | None, image: Image.Image, prompt: str) -> float | None:
    if preference is None:
        return None
    score = float(preference(image.copy(), prompt))
    if not math.isfinite(score):
        raise ValueError(f"the preference score must be a finite number, got {score}")
    return score


__all__ = ["PUBLISHED_SEED", "Advance", "Preference", "run_steps"]
