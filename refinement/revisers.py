"""Revisers of prompts, Revise(P_t, M_t) of LEGION's Eq. 5: a language model that reads the whole memory bank."""

import re
from collections.abc import Callable, Sequence

from PIL import Image

from .records import Step

# Makes the next prompt of all steps so far; the last step holds P_t.
Reviser = Callable[[Sequence[Step]], str]
# A language model: `ask(images, text) -> text`, PIL RGB; a model that sees no images is given none.
Ask = Callable[[Sequence[Image.Image], str], str]

# Limit of the published code, which stands in the request; not given in the paper.
PUBLISHED_WORDS = 50
ANSWER = re.compile(r"<prompt>(.*?)</prompt>", re.DOTALL | re.IGNORECASE)
# Characters of a reply that an error message shows.
SHOWN_CHARACTERS = 80


def language_model_reviser(ask: Ask, *, with_images: bool = False, tries: int = 3) -> Reviser:
    """Make a reviser of a language model.

    Args:
        ask: the model, on this machine or behind a server.
        with_images: show it the images of all steps too. The paper's memory bank holds the explanations.
        tries: how often it is asked for one prompt when replies are of no use, at least 1.
    """
    if tries < 1:
        raise ValueError(f"tries must be at least 1, got {tries}")

    def revise(steps: Sequence[Step]) -> str:
        return _ask(ask, [step.image for step in steps] if with_images else [], revision_request(steps), tries)

    return revise


def describe_image(ask: Ask, image: Image.Image, tries: int = 3) -> str:
    """Ask a vision-language model for P_0, one sentence on what an image shows (section 5.5.1)."""
    request = (
        "Describe this image in one sentence that a text-to-image model could make it from. Reply with the sentence "
        "between <prompt> and </prompt>, and nothing else."
    )
    return _ask(ask, [image], request, tries)


def revision_request(steps: Sequence[Step]) -> str:
    """The memory bank as a text: prompt and flaws of every image, then what is wanted; wording ours."""
    memory = "\n\n".join(_remembered(step) for step in steps)
    return (
        "A text-to-image model made images from prompts, and a detector named what looks wrong in them.\n\n"
        f"{memory}\n\n"
        "Write the next prompt. Keep what the first prompt shows. Describe the parts that went wrong in more detail, "
        "as they look in a real photograph, and do not mention the flaws themselves. Heed the flaws of all images, so "
        f"that none comes back. Use at most {PUBLISHED_WORDS} words. Reply with the prompt between <prompt> and "
        "</prompt>, and nothing else."
    )


def _remembered(step: Step) -> str:
    flaws = [f"- {artifact.phrase}: {artifact.explanation}" for artifact in step.artifacts or ()]
    return "\n".join([f"Image {step.number}", f"Prompt: {step.prompt}", "Flaws:", *(flaws or ["- none named"])])


def _ask(ask: Ask, images: Sequence[Image.Image], request: str, tries: int) -> str:
    """The text between the tags of a reply; the last one, since a model that thinks aloud may name the tags before.

    Raises:
        ValueError: no reply has it.
    """
    asked, reply = request, ""
    for _ in range(tries):
        reply = ask(images, asked)
        found = [" ".join(text.split()) for text in ANSWER.findall(reply)]
        if found and found[-1]:
            return found[-1]
        asked = f"{request}\n\nYour last reply had no text between <prompt> and </prompt>."
    shown = " ".join(reply.split())[:SHOWN_CHARACTERS]
    raise ValueError(f"the language model gave no <prompt>...</prompt> in {tries} tries; its last reply: {shown!r}")


__all__ = ["PUBLISHED_WORDS", "Ask", "Reviser", "describe_image", "language_model_reviser", "revision_request"]
