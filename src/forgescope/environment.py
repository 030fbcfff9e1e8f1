"""What a report of a fault needs: versions, processors, optional packages, and where the Hub's files lie."""

import importlib.metadata
import os
import platform
import re
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from forgescope import __version__

PACKAGE = "forgescope"
# Extras of those who work on forgescope itself.
DEVELOPERS_EXTRAS = ("test", "dev")
GIB = 1 << 30
# Settings that change where files are looked for, or on what a model runs.
VARIABLES = (
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "HF_DATASETS_OFFLINE",
    "HF_ENDPOINT",
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
)
# `//name:password@` of an address; passwords may have any sign but those that end the host.
LOGIN = re.compile(r"//[^/?#\s]*@")


def describe_environment() -> dict[str, Any]:
    """Collect what `forgescope env` prints; nothing secret, and no name of a user in a path.

    Returns:
        `system` (forgescope, Python, platform), `packages` (name -> version, None: not installed), `hardware`,
        `extras` (name -> `installed`, `missing`, `install`), `hub` (folders, whether it is offline) and `variables`.
    """
    system = {
        PACKAGE: installed_version(PACKAGE) or f"{__version__}, not installed",
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "platform": platform.platform(),
    }
    return {
        "system": system,
        "packages": {name: installed_version(name) for name in required_packages()},
        "hardware": describe_hardware(),
        "extras": describe_extras(),
        "hub": describe_hub(),
        "variables": {name: _without_login(os.environ[name]) for name in VARIABLES if name in os.environ},
    }


def installed_version(package: str) -> str | None:
    """Version of a package; None: it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def required_packages() -> list[str]:
    """Names of the packages that forgescope always needs, in the order of its metadata."""
    return [one.name for one in _requirements("") if _applies(one, "")]


def describe_extras(names: tuple[str, ...] | None = None) -> dict[str, dict[str, Any]]:
    """Say of each extra whether it is installed.

    Args:
        names: extras; None: all but those of developers.

    Returns:
        Name -> `installed`, `missing` (requirements that are not met), `install` (the command that meets them).
    """
    if names is None:
        names = tuple(name for name in _known_extras() if name not in DEVELOPERS_EXTRAS)
    described = {}
    for name in names:
        missing = [_without_marker(one) for one in _requirements(name) if not _is_met(one)]
        described[name] = {
            "installed": not missing,
            "missing": missing,
            "install": f'pip install "{PACKAGE}[{name}]"',
        }
    return described


def describe_hardware() -> dict[str, Any]:
    """Processor, threads and accelerators as torch sees them; `torch` says why where it cannot be imported."""
    cores = os.cpu_count()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    found: dict[str, Any] = {"processor": _processor_name(), "cores": cores, "usable_cores": usable}
    try:
        import torch
    except (ImportError, OSError) as error:
        return found | {"torch": f"cannot be imported: {error}"}
    found |= {
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch_threads": torch.get_num_threads(),
        "cuda": torch.version.cuda,
        "gpus": [_describe_gpu(torch.cuda.get_device_properties(one)) for one in range(torch.cuda.device_count())],
        "mps": torch.backends.mps.is_available(),
    }
    return found


def describe_hub() -> dict[str, Any]:
    """Folders of downloaded checkpoints and corpora, and whether the Hub is left alone."""
    import datasets
    from huggingface_hub import constants

    return {
        "cache": _without_user(constants.HF_HUB_CACHE),
        "datasets_cache": _without_user(str(datasets.config.HF_DATASETS_CACHE)),
        "offline": constants.HF_HUB_OFFLINE,
    }


def _known_extras() -> list[str]:
    """Names of the extras; none where forgescope runs from its sources without being installed."""
    try:
        return importlib.metadata.metadata(PACKAGE).get_all("Provides-Extra") or []
    except importlib.metadata.PackageNotFoundError:
        return []


def _requirements(extra: str) -> list[Requirement]:
    """Requirements of an extra on this Python; of "", all that are written down."""
    try:
        lines = importlib.metadata.requires(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        lines = []
    written = [Requirement(line) for line in lines]
    return [one for one in written if not extra or (_applies(one, extra) and not _applies(one, ""))]


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _is_met(requirement: Requirement) -> bool:
    version = installed_version(requirement.name)
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def _without_marker(requirement: Requirement) -> str:
    return f"{requirement.name}{requirement.specifier}"


def _processor_name() -> str:
    """Name of the processor; Linux writes it into a file."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _describe_gpu(properties: Any) -> str:
    size = properties.total_memory / GIB
    return f"{properties.name}, {size:.0f} GiB, capability {properties.major}.{properties.minor}"


def _without_login(text: str) -> str:
    """Leave out the name and password that may stand before the host of an address."""
    return LOGIN.sub("//", text)


def _without_user(path: str) -> str:
    home = str(Path.home())
    return f"~{path[len(home) :]}" if home != "/" and (path == home or path.startswith(home + os.sep)) else path
