"""A table of ICL-Net as something to run: which edited images, how damaged, and what the paper reports."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .protocol import Protocol

# Subset or `average`, metric and perturbation -> what the paper reports, 0 to 1.
LocalizationValues = Mapping[tuple[str, str, str], float]


@dataclass(frozen=True)
class LocalizationProtocol(Protocol):
    """One table of forged pixels.

    Args:
        preset: rule of the pixel numbers, as `rules.preset` names it.
        values: what the paper reports for its own method.
    """

    preset: str = "iclnet"
    values: LocalizationValues = field(default_factory=dict)
