"""Detect, localize, attribute and explain AI-made image forgeries.

Importing forgescope registers its models, so that `AutoModel.from_pretrained` and `pipeline` load them.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forgescope.datasets_scripts.load import load_corpus

__version__ = "0.1.0"
__all__ = ["Analyzer", "Ensemble", "EnsembleReport", "ForgeryReport", "analyze", "load_corpus"]

# Registering needs torch and transformers, seconds that `forgescope --help` and shell completion must not cost: under
# the command line the verb that loads a model registers (hub.py).
if Path(sys.argv[0] if sys.argv else "").stem != "forgescope":
    from forgescope.auto import register_auto_classes

    register_auto_classes()

    # also keeps the name `forgescope.analyze` for the function: a later import of the module of the same name finds
    # it loaded and does not put the module in the function's place
    from forgescope.analyze import Analyzer, ForgeryReport, analyze
    from forgescope.ensemble import Ensemble, EnsembleReport
    from forgescope.pipelines import register_pipeline

    register_pipeline()


def __getattr__(name: str) -> Any:
    """Import `load_corpus` when it is asked for: who only loads a model does not wait for `datasets`."""
    if name == "load_corpus":
        from forgescope.datasets_scripts.load import load_corpus

        return load_corpus
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
