"""LEGION as a detector: photographs in, scores, maps and named artifacts out, as `Localizer` gives them."""

from collections.abc import Sequence
from typing import cast

from PIL import Image
from transformers import PreTrainedModel

from .artifact_explanation import ArtifactExplanation
from .detection_head import DETECTION_BATCH_SIZE, fake_probabilities
from .examination import Examination
from .explain import Explainer
from .reading import as_read_image
from .reasoner import NO_VERDICT_SCORE

HEAD_ALONE = "The detection head alone was asked: nothing is explained, and no pixel is marked."
NO_VERDICT = f"Its score of {NO_VERDICT_SCORE} says nothing."


class ArtifactReasoner:
    """What `Analyzer` asks of a `Localizer`, from LEGION; see there.

    Args:
        explainer: the model, its processor and how answers are generated.
        explanations: False asks the detection head alone, which is faster by orders of magnitude: no text is
            generated, and no pixel marked.
        batch_size: photographs in one forward pass; None: the explainer's, or 32 for the head alone.

    Raises:
        ValueError: the head alone, where it is not trained.
    """

    # photographs are shown whole, and there are no maps by kind of forgery or editor
    native = False
    tile = None
    heads = ()
    editors = ()

    def __init__(self, explainer: Explainer, explanations: bool = True, batch_size: int | None = None):
        if not explanations and not explainer.model.config.detection_head_trained:
            raise ValueError(
                f"the detection head of {explainer.name} is not trained, so without explanations it says nothing: "
                "train it (forgescope train legion-detection), or ask for explanations"
            )
        self.explainer = explainer
        self.explanations = explanations
        alone = DETECTION_BATCH_SIZE if batch_size is None else batch_size
        self.batch_size = explainer.batch_size if explanations else alone

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
            One examination an image.

        Raises:
            ImageReadError: an image that cannot be converted to RGB.
        """
        photos = [as_read_image(image).image for image in images]
        if not self.explanations:
            scores = fake_probabilities(self.model, self.explainer.processor, photos, self.batch_size)
            return [Examination(None, score=score, notes=(HEAD_ALONE,)) for score in scores]
        batches = [photos[start : start + self.batch_size] for start in range(0, len(photos), self.batch_size)]
        found = [one for batch in batches for one in self.explainer.explain_photos(batch)]
        return [_examination(cast(ArtifactExplanation, one)) for one in found]

    def describe(self, photo: Image.Image) -> str:
        """Say in one sentence how a photograph is examined."""
        processor = self.explainer.processor
        side = processor.image_processor.crop_size["height"]
        seen = f"Read as its centre of {side} x {side} pixels, after its shorter edge was resized to that"
        if not self.explanations:
            return f"{seen}."
        edge = self.explainer.longest_edge or processor.grounding_image_processor.size["longest_edge"]
        return f"{seen}; outlined whole, its longer edge resized to {edge} pixels."


def _examination(found: ArtifactExplanation) -> Examination:
    notes = [f"Of the answer: {problem}." for problem in found.problems]
    if found.fake_probability is None:
        notes.append(NO_VERDICT)
    return Examination(
        probability_map=found.probability_map,
        score=NO_VERDICT_SCORE if found.fake_probability is None else found.fake_probability,
        phrases=tuple(found.phrases),
        explanation=found.describe(),
        undecided=found.fake_probability is None,
        notes=tuple(notes),
    )
