"""Which vision-language model describes images, and how: a YAML file, command-line options, or both."""

import dataclasses
from pathlib import Path
from typing import Any

from .inpainting import name_of
from .mmfr_interpretation import MMFRSettings
from .settings_file import read_sections
from .vision_language import VisionLanguageSettings

SECTIONS = {"vlm": VisionLanguageSettings, "settings": MMFRSettings}
# Images asked about at the same time, unless the user says otherwise: a server works on several, this machine on one.
SERVER_WORKERS = 8


@dataclasses.dataclass(frozen=True)
class MMFRConfiguration:
    """A configuration; its sections are the fields."""

    vlm: VisionLanguageSettings
    settings: MMFRSettings = dataclasses.field(default_factory=MMFRSettings)

    def describe(self) -> dict[str, Any]:
        """What decides about replies, ready for JSON; the place of a local model counts by its name alone."""
        return self.vlm.decisive() | {"model": name_of(self.vlm.model)}

    def workers(self, wanted: int | None = None) -> int:
        """Images asked about at the same time.

        Raises:
            ValueError: more than one for a model on this machine.
        """
        on_server = self.vlm.base_url is not None
        if wanted is not None and wanted > 1 and not on_server:
            raise ValueError(f"{wanted} workers need a server (base_url): a model on this machine answers one by one")
        return wanted or (SERVER_WORKERS if on_server else 1)


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
        raise ValueError("no vision-language model: name one by --model, or in the section vlm of --config")
    return MMFRConfiguration(model, dataclasses.replace(sections.get("settings", MMFRSettings()), **settings))


__all__ = ["SERVER_WORKERS", "MMFRConfiguration", "read_mmfr_configuration"]
