"""Settings of the manipulation engine as a file: a folder of images can be made again from its settings.json."""

from pathlib import Path

from .manipulation_config import ManipulationConfig
from .settings_file import build_settings, read_mapping

# Under this key settings.json of a finished folder holds its settings; other keys there describe the run.
CONFIG_KEY = "config"


def read_settings(path: Path) -> ManipulationConfig:
    """Read settings of the engine.

    Args:
        path: YAML or JSON file with fields of `ManipulationConfig`; fields that it leaves out keep their defaults.
            The settings.json of a folder that the engine wrote is such a file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no YAML, an unknown field, or a value that `ManipulationConfig` refuses.

    Example:
        >>> read_settings(Path("forged/settings.json")).max_side
        512
    """
    content = read_mapping(path, "`field: value` lines of the engine's settings")
    return build_settings(path, "", ManipulationConfig, content.get(CONFIG_KEY, content))


__all__ = ["read_settings"]
