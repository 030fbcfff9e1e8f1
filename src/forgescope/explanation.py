"""What a model says of one photograph in words."""

from dataclasses import asdict, dataclass, field
from typing import Any

from forgescope.processing.chain_of_thought import STAGES, ImageLabel

# Probability at which fake and real are equally likely.
EVEN = 0.5


@dataclass
class Explanation:
    """What a model says of one photograph.

    Args:
        verdict: `fake` or `real`, as the conclusion says; None where it says nothing or both.
        fake_probability: 0..1, where the conclusion chooses between fake and real; None where there is no such place.
        text: the whole answer.
        summary: what the model sets out to do; None where the answer lacks this stage, so the next three.
        caption: what the image shows.
        reasoning: why it is held to be fake or real.
        conclusion: the verdict in words.
        problems: what is not as it should be, one sentence each: missing stages, a contradiction, an answer cut off.
        model: checkpoint that was asked.
        path: file, None for an image in memory.
    """

    verdict: ImageLabel | None
    fake_probability: float | None
    text: str
    summary: str | None = None
    caption: str | None = None
    reasoning: str | None = None
    conclusion: str | None = None
    problems: list[str] = field(default_factory=list)
    model: str = ""
    path: str | None = None

    @property
    def stages(self) -> dict[str, str]:
        """The stages that the answer has, by name."""
        found = {stage.lower(): getattr(self, stage.lower()) for stage in STAGES}
        return {name: text for name, text in found.items() if text is not None}

    @property
    def contradictory(self) -> bool:
        """Whether words and probability disagree, as in "This image is not real", where `real` was likelier."""
        if self.verdict is None or self.fake_probability is None or self.fake_probability == EVEN:
            return False
        return (self.fake_probability > EVEN) != (self.verdict == "fake")

    def describe(self) -> str:
        """The stages, a paragraph each; the whole answer where it has none."""
        return "\n".join(f"{name.capitalize()}: {text}" for name, text in self.stages.items()) or self.text

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)
