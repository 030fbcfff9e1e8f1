"""The ten attributes by which MMFR describes images (FakeReasoning, section 3.2), five of each label."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Attribute:
    """One of the ten.

    Args:
        name: as the data set spells it.
        meaning: what it is about, for a prompt; the wording is our own.
        is_low_level: traces in light, edges, texture and quality are low-level, what things mean is high-level.
    """

    name: str
    meaning: str
    is_low_level: bool = True


ATTRIBUTES: Mapping[str, tuple[Attribute, ...]] = {
    "fake": (
        Attribute("Inconsistent Lighting and Shadows", "light, shadows or reflections that do not fit together"),
        Attribute("Irregular Image Edges", "broken, ragged or doubled outlines, or such that melt into what is near"),
        Attribute("Anomalous Image Texture", "surfaces too smooth, repeated, or unlike what the thing is made of"),
        Attribute("Low Image Quality", "blur, noise or colours that no camera and no artist would leave like this"),
        Attribute("Semantic Irrationality", "things that cannot be so: bodies, writing, parts or places", False),
    ),
    "real": (
        Attribute("Consistent Lighting and Shadows", "light, shadows and reflections that fit one another"),
        Attribute("Smooth and Natural Image Edges", "whole outlines that meet their surroundings as they should"),
        Attribute("Natural and Consistent Image Texture", "surfaces with the grain and wear of what they are made of"),
        Attribute("High Image Quality", "fine detail, sharpness and colours as a camera or an artist leaves them"),
        Attribute("Semantic Rationality", "things, parts and places that go together as they do in the world", False),
    ),
}


__all__ = ["ATTRIBUTES", "Attribute"]
