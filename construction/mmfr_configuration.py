"""Which vision-language model describes images, and how: a YAML file, command-line options, or both."""

import dataclasses
from pathlib import Path
from typing import Any

from .inpainting import name_of
from .mmfr_interpretation import MMFRSettings
from .settings_file import read_sections
from .vision_language import VisionLanguageSettings

SECTIONS = {"vlm": VisionLanguageSettings, "settings": MMFRSettings}


@dataclasses.dataclass(frozen=True)
class MMFRConfiguration:
    """A configuration; its sections are the fields."""

    vlm: VisionLanguageSettings
    settings: MMFRSettings = dataclasses.field(default_factory=MMFRSettings)

    def describe(self) -> dict[str, Any]:
        """What decides about replies, ready for JSON; the place of a local model counts by its name alone."""
        return self.vlm.decisive() | {"model": name_of(self.vlm.model)}


def read_mmfr_configuration(path: Path | None, vlm: dict[str, Any], settings: dict[str, Any]) -> MMFRConfiguration:
    """Read a configuration file, and let options change it.

    Args:
        path: YAML file with the sections `vlm` and `settings`; None for options alone.
        vlm: fields of `VisionLanguageSettings` that replace those of the file.
        settings: fields of `MMFRSettings`, likewise.

    Raises:
        ValueError: no model is named, an unknown key, or a wrong value.
        FileNotFoundError: no such file.
    """
    sections = {} if path is None else read_sections(path, SECTIONS)
    if "vlm" in sections:
        model = dataclasses.replace(sections["vlm"], **vlm)
    elif "model" in vlm:
        model = VisionLanguageSettings(**vlm)
    else:
        raise ValueError("no vision-language model: name one by --model, or in the section vlm of --settings")
    return MMFRConfiguration(model, dataclasses.replace(sections.get("settings", MMFRSettings()), **settings))


__all__ = ["MMFRConfiguration", "read_mmfr_configuration"]
