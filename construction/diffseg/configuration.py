"""The YAML file of a construction: which tools, and the settings."""

import dataclasses
from pathlib import Path
from typing import Any

from PIL import Image

from ..settings_file import read_sections
from ..vision_language import VisionLanguageSettings, load_vision_language
from .editing import Tools
from .editors import EditorSettings, load_editor
from .grounding import GroundingSettings, SamSettings, load_grounded_sam
from .prompts import BEST_QUALITY
from .settings import EditSettings


@dataclasses.dataclass(frozen=True)
class QualityExample:
    """An image with the score it deserves; relative paths count from the configuration's folder."""

    image: str
    score: int
    reason: str

    def __post_init__(self):
        if not 0 <= self.score <= BEST_QUALITY:
            raise ValueError(f"score must be 0 to {BEST_QUALITY}, got {self.score}")


SECTIONS = {
    "vlm": VisionLanguageSettings,
    "grounding": GroundingSettings,
    "sam": SamSettings,
    "editors": EditorSettings,
    "quality_examples": QualityExample,
    "settings": EditSettings,
}
LISTS = ("editors", "quality_examples")
REQUIRED = ("vlm", "grounding", "sam", "editors")


@dataclasses.dataclass(frozen=True)
class Configuration:
    """A configuration file; its sections are the fields."""

    vlm: VisionLanguageSettings
    grounding: GroundingSettings
    sam: SamSettings
    editors: tuple[EditorSettings, ...]
    quality_examples: tuple[QualityExample, ...] = ()
    settings: EditSettings = dataclasses.field(default_factory=EditSettings)
    folder: Path = Path()

    def load_tools(self) -> Tools:
        """Load everything that the file names.

        Raises:
            ValueError: a tool cannot be used as it is set.
            ImportError: diffusers is missing.
            OSError: there is no such model or image.
        """
        examples = []
        for example in self.quality_examples:
            with Image.open(self.folder / example.image) as image:
                examples.append((image.convert("RGB"), example.score, example.reason))
        return Tools(
            load_vision_language(self.vlm),
            load_grounded_sam(self.grounding, self.sam),
            {editor.name: load_editor(editor) for editor in self.editors},
            examples,
        )

    def describe(self) -> dict[str, Any]:
        """What decides about images, ready for JSON; the places of local models count by their names alone."""
        described = {
            "vlm": self.vlm.decisive(),
            "grounding": {"model": self.grounding.model, "box_threshold": self.grounding.box_threshold},
            "sam": {"model": self.sam.model},
            "editors": {editor.name: editor.decisive() for editor in self.editors},
            "quality_examples": [dataclasses.asdict(example) for example in self.quality_examples],
        }
        return _with_model_names(described)


def read_configuration(path: Path) -> Configuration:
    """Read a configuration file.

    Raises:
        ValueError: an unknown key, a missing section, an editor twice or without id, or a wrong value.
        FileNotFoundError: no such file.
    """
    sections = read_sections(path, SECTIONS, LISTS)
    missing = [name for name in REQUIRED if not sections.get(name)]
    if missing:
        raise ValueError(f"{path} needs the sections {', '.join(missing)}")
    for name in LISTS:
        sections[name] = tuple(sections.get(name, ()))
    configuration = Configuration(**sections, folder=path.parent)
    names = [editor.name for editor in configuration.editors]
    known = configuration.settings.id2editor
    for name in names:
        if names.count(name) > 1 or name not in known:
            problem = "stands there twice" if names.count(name) > 1 else f"is none of id2editor: {', '.join(known)}"
            raise ValueError(f"{path}: editor {name} {problem}")
    return configuration


def _with_model_names(value: Any) -> Any:
    """The same with folders of models replaced by their names."""
    if isinstance(value, list):
        return [_with_model_names(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    return {
        key: Path(entry).name if key == "model" and entry and Path(entry).is_dir() else _with_model_names(entry)
        for key, entry in value.items()
    }


__all__ = ["Configuration", "QualityExample", "read_configuration"]
