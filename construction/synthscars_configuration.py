"""The YAML file of a curation: which models, and the settings."""

import dataclasses
from pathlib import Path
from typing import Any

from .inpainting import name_of
from .settings_file import read_sections
from .synthscars_features import FeatureSettings
from .synthscars_settings import CurationSettings
from .vision_language import VisionLanguageSettings

SECTIONS = {"vlm": VisionLanguageSettings, "features": FeatureSettings, "settings": CurationSettings}
REQUIRED = ("vlm", "settings")


@dataclasses.dataclass(frozen=True)
class Configuration:
    """A configuration file; its sections are the fields."""

    vlm: VisionLanguageSettings
    settings: CurationSettings
    features: FeatureSettings = dataclasses.field(default_factory=FeatureSettings)

    def describe(self) -> dict[str, Any]:
        """Which models decide about images, ready for JSON; a local folder counts by its name alone."""
        vlm = self.vlm.decisive() | {"model": name_of(self.vlm.model)}
        return {"features": self.features.decisive(), "vlm": vlm}


def read_configuration(path: Path) -> Configuration:
    """Read a configuration file; relative paths count from its folder.

    Raises:
        ValueError: an unknown key, a missing section, or a wrong value.
        FileNotFoundError: no such file, or no such file of weights.
    """
    sections = read_sections(path, SECTIONS)
    missing = [name for name in REQUIRED if name not in sections]
    if missing:
        raise ValueError(f"{path} needs the sections {', '.join(missing)}")
    features = sections.get("features", FeatureSettings())
    if features.weights is not None:
        weights = path.parent / features.weights
        if not weights.is_file():
            raise FileNotFoundError(f"{path}: features.weights: {weights} does not exist")
        sections["features"] = dataclasses.replace(features, weights=str(weights))
    return Configuration(**sections)


__all__ = ["Configuration", "read_configuration"]
