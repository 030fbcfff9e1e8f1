"""A model that explains itself as a detector: photographs in, scores out, as `Localizer` gives them."""

from collections.abc import Sequence
from typing import cast

from PIL import Image
from transformers import PreTrainedModel

from .examination import Examination
from .explain import Explainer
from .explanation import Explanation
from .reading import as_read_image

# Score of an image about which the model gave no verdict: it says nothing.
NO_VERDICT_SCORE = 0.5
NO_MASK = "This model explains its verdict in words and marks no pixels."


class Reasoner:
    """What `Analyzer` asks of a `Localizer`, from a model that answers in words; see there.

    Args:
        explainer: the model, its processor and how answers are generated.
    """

    # photographs are shown whole, at one size, and no map of pixels comes out
    native = False
    tile = None
    heads = ()
    editors = ()

    def __init__(self, explainer: Explainer):
        self.explainer = explainer
        self.batch_size = explainer.batch_size

    @property
    def model(self) -> PreTrainedModel:
        """The model."""
        return self.explainer.model

    def examine(self, images: Sequence[Image.Image], classes: bool = False) -> list[Examination]:
        """Ask the model about photographs.

        Args:
            images: PIL images of any mode and size.
            classes: ignored, there are none.

        Returns:
            One examination an image, without maps.

        Raises:
            ImageReadError: an image that cannot be converted to RGB.
        """
        photos = [as_read_image(image).image for image in images]
        batches = [photos[start : start + self.batch_size] for start in range(0, len(photos), self.batch_size)]
        found = [one for batch in batches for one in self.explainer.explain_photos(batch)]
        return [_examination(cast(Explanation, one)) for one in found]

    def describe(self, photo: Image.Image) -> str:
        """Say in one sentence how a photograph is examined."""
        size = self.explainer.processor.image_processor.crop_size
        return f"Examined whole, padded to a square and resized to {size['width']} x {size['height']} pixels."


def _examination(found: Explanation) -> Examination:
    """The probability is the score, where the words say real or fake too; the verdict counts where both agree."""
    score = None if found.verdict is None else found.fake_probability
    notes = [NO_MASK, *(f"Of the answer: {problem}." for problem in found.problems)]
    if score is None:
        notes.append(f"The answer has no verdict with a probability: the score of {NO_VERDICT_SCORE} says nothing.")
    elif found.contradictory:
        notes.append("Words and probability contradict each other: the verdict is inconclusive.")
    return Examination(
        probability_map=None,
        score=NO_VERDICT_SCORE if score is None else score,
        explanation=found.describe(),
        undecided=score is None or found.contradictory,
        notes=tuple(notes),
    )
