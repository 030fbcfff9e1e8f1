"""What shells offer after an option: names that begin as the word does, found without loading torch."""

from collections.abc import Iterable
from pathlib import Path

import typer

# Ablations are no recipes; a family of recipes has one for each architecture, the first of which stands for it.
ABLATIONS_SUFFIX, ARCHITECTURE_SUFFIX = "_ablations", "-segformer"
SUBSETS_BY = ("source", "task")


def complete_corpus(incomplete: str) -> list[str]:
    """Names of corpora."""
    from forgescope.datasets_scripts.names import CORPORA

    return _beginning(CORPORA, incomplete)


def complete_preset(incomplete: str) -> list[str]:
    """Names of rules for pixel numbers."""
    from forgescope.evaluation.rules import PRESETS

    return _beginning(PRESETS, incomplete)


def complete_by(incomplete: str) -> list[str]:
    """What subsets are told apart by."""
    return _beginning(SUBSETS_BY, incomplete)


def complete_recipe(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of the recipes of a training command: those that no longer name of a command begins."""
    import forgescope.trainers

    stems = [file.stem for folder in forgescope.trainers.__path__ for file in Path(folder).glob("recipes/*.yaml")]
    recipes = {stem for stem in stems if not stem.endswith(ABLATIONS_SUFFIX)}
    recipes |= {stem.removesuffix(ARCHITECTURE_SUFFIX) for stem in recipes}
    commands = getattr(ctx.parent and ctx.parent.command, "commands", [ctx.info_name])
    own = [
        name
        for name in sorted(recipes)
        if max((one for one in commands if f"{name}-".startswith(f"{one}-")), key=len, default=None) == ctx.info_name
    ]
    return _beginning(own, incomplete)


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


__all__ = ["complete_by", "complete_corpus", "complete_preset", "complete_recipe"]
