"""What LEGION says of one photograph: artifacts in words with their pixels, and a verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import BatchFeature, PreTrainedModel

from forgescope.processing.chain_of_thought import ImageLabel
from forgescope.processing.grounded_explanation import GroundedArtifact, GroundedExplanation
from forgescope.processing.grounded_text import PHRASE_START, plain_text
from forgescope.processing.processing_legion import LegionProcessor

from .decision import NOT_NUMBERS, DecisionRule

LABELS: dict[str, ImageLabel | None] = {"forged": "fake", "authentic": "real", "inconclusive": None}
NO_TRAINED_HEAD = (
    "the detection head of this checkpoint is not trained, so there is no verdict; artifacts do not depend on it"
)
# Of a photograph that could not be explained.
EMPTY_ROW: dict[str, Any] = {
    "verdict": None,
    "fake_probability": None,
    "text": "",
    "overview": "",
    "phrases": None,
    "area_fraction": None,
    "problems": [],
}


@dataclass(eq=False)
class ArtifactExplanation:
    """What LEGION says of one photograph.

    Args:
        verdict: `fake` or `real` by the thresholds of the configuration; None between them, and where the detection
            head is not trained. It does not depend on the artifacts.
        fake_probability: 0..1, of the detection head; None where that is not trained.
        text: the whole answer, without tags.
        overview: what it says before the first artifact; may be empty.
        phrases: the artifacts in the order of the answer.
        mask: (H, W) uint8, 1 = artifact, of all artifacts together.
        probability_map: (H, W) float32, 0..1: each pixel's highest probability to belong to an artifact.
        problems: what is not as it should be, one sentence each.
        model: checkpoint that was asked.
        path: file, None for an image in memory.
        image: the photograph, mode RGB, as displayed.
    """

    verdict: ImageLabel | None
    fake_probability: float | None
    text: str
    overview: str
    phrases: list[GroundedArtifact]
    mask: np.ndarray = field(repr=False)
    probability_map: np.ndarray = field(repr=False)
    problems: list[str] = field(default_factory=list)
    model: str = ""
    path: str | None = None
    image: Image.Image | None = field(default=None, repr=False)

    def describe(self) -> str:
        """The overview, and a line an artifact, numbered as in pictures; the whole answer where it names none."""
        lines = [f"{number}. {artifact_text(one)}" for number, one in enumerate(self.phrases, start=1)]
        return "\n".join([*([self.overview] if self.overview else []), *lines]) if lines else self.text

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the pictures, as plain values for JSON."""
        return {
            "verdict": self.verdict,
            "fake_probability": self.fake_probability,
            "text": self.text,
            "overview": self.overview,
            "phrases": [
                {
                    "phrase": one.phrase,
                    "explanation": one.explanation,
                    "score": one.score,
                    "area_fraction": float(one.mask.mean()),
                    "mask": None,
                }
                for one in self.phrases
            ],
            "area_fraction": float(self.mask.mean()),
            "problems": list(self.problems),
            "model": self.model,
            "path": self.path,
        }


def artifact_text(artifact: GroundedArtifact) -> str:
    """Phrase and explanation on one line."""
    return ": ".join(part for part in (artifact.phrase, artifact.explanation) if part) or "a region without a name"


@torch.no_grad()
def ground_artifacts(
    model: PreTrainedModel,
    processor: LegionProcessor,
    photos: Sequence[Image.Image],
    inputs: BatchFeature,
    generation: Mapping[str, Any],
    mask_threshold: float,
) -> list[ArtifactExplanation]:
    """Ask LEGION about photographs together.

    Args:
        model: `LegionForGroundedExplanation`.
        processor: its processor.
        photos: PIL images of mode RGB.
        inputs: the processor's for them, on the model's device.
        generation: arguments of `generate`.
        mask_threshold: probability above which a pixel belongs to a phrase, between 0 and 1.

    Raises:
        ValueError: a threshold of 0 or 1, or a model whose values are not numbers.
    """
    sizes = inputs["original_sizes"]
    # without the sizes: logits of all phrases at those of large photographs would take gigabytes
    asked = {name: values for name, values in inputs.items() if name != "original_sizes"}
    found = model.generate_grounded(**asked, **generation)
    if not all(torch.isfinite(logits).all() for logits in (*found.mask_logits, found.detection_logits)):
        raise ValueError(NOT_NUMBERS)
    texts = processor.decode_grounded(found.generated_ids)
    grounded = processor.post_process_grounded(found, mask_threshold, sizes)
    rows = zip(photos, texts, grounded, strict=True)
    return [_explanation(photo, text, one, model.config) for photo, text, one in rows]


def _explanation(photo: Image.Image, text: str, found: GroundedExplanation, config: Any) -> ArtifactExplanation:
    trained, rule = config.detection_head_trained, DecisionRule.from_config(config)
    probability = found.fake_probability if trained else None
    return ArtifactExplanation(
        verdict=None if probability is None else LABELS[rule.verdict(probability)],
        fake_probability=probability,
        text=found.text,
        overview=plain_text(text.split(PHRASE_START)[0]) if found.phrases else "",
        phrases=found.phrases,
        mask=found.mask,
        probability_map=found.probability_map,
        problems=[*found.problems, *([] if trained else [NO_TRAINED_HEAD])],
        image=photo,
    )
