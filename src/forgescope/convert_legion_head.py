"""LEGION's detection head in a conversion: its classes change places, and a checkpoint without one gets a new one."""

from collections.abc import Mapping
from pathlib import Path

from forgescope.convert import Rule, Source
from forgescope.convert_weights import LazyTensor, read_weights

HEAD = "prediction_head."
CLASSES = "prediction_head.2."  # the layer whose rows are the classes
WIDENING = 2  # the head's hidden layer is so many times as wide as CLIP; published code
PART = "detection head, rows in our order (real, fake)"
HEAD_RULES: tuple[Rule, ...] = (
    Rule(r"prediction_head\.0\.(\w+)", (r"detection_head.linear_1.\1",), "detection head"),
    Rule(r"prediction_head\.2\.(\w+)", (r"detection_head.linear_2.\1",), PART),
)
OTHERS = Rule(r".+", (), "of --head only the detection head is taken")
NEW_HEAD = "the detection head is initialised afresh: its verdict means nothing until stage 2 was trained"

README = """# LEGION

Converted by forgescope from a checkpoint in its authors' layout; `conversion_report.json` names every tensor.
{head}
Weights derived from Llama 2 (Vicuna) stand under Meta's Llama 2 licence, OpenAI's CLIP under MIT, SAM and GLaMM under
Apache-2.0. LEGION's repository has no licence file.
"""
UNTRAINED = """
**The detection head is not trained**: the checkpoint had none, so it was initialised afresh. Its verdict (real or
fake) means nothing until stage 2 was trained. Explanations and masks do not depend on it.
"""


def in_our_order(weights: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """Weights with the head's last layer turned round: row 1 is real for the authors, and fake for us."""
    return {name: _flipped(tensor) if name.startswith(CLASSES) else tensor for name, tensor in weights.items()}


def read_head(place: Path, source: Source) -> Source:
    """Find the detection head of a stage-2 checkpoint.

    Args:
        place: its file or folder.
        source: the checkpoint that the head is put into.

    Raises:
        ValueError: no checkpoint, one without a head, or a head too many.
    """
    if not place.exists():
        raise ValueError(f"no file or folder {place}, where the detection head should be")
    if any(name.startswith(HEAD) for name in source.weights):
        raise ValueError("the checkpoint has a detection head in it: leave --head out")
    weights = in_our_order(read_weights(place))
    if not any(name.startswith(HEAD) for name in weights):
        raise ValueError(f"no detection head in {place}: expected tensors {HEAD}..., which stage 2 saves")
    return Source("head", weights, (*HEAD_RULES, OTHERS))


def head_width(weights: Mapping[str, LazyTensor], image_width: int) -> int:
    """Width of the head's hidden layer.

    Args:
        weights: of the whole model, by our names.
        image_width: of CLIP, of which a new head's width is a multiple.
    """
    first = weights.get("detection_head.linear_1.weight")
    return WIDENING * image_width if first is None else first.shape[0]


def legion_readme(untrained: bool) -> str:
    """Text of the checkpoint's README.md; `untrained`: its detection head is new."""
    return README.format(head=UNTRAINED if untrained else "")


def _flipped(tensor: LazyTensor) -> LazyTensor:
    return LazyTensor(tensor.shape, lambda: tensor.load().flip(0), tensor.dtype)


__all__ = ["HEAD", "HEAD_RULES", "NEW_HEAD", "head_width", "in_our_order", "legion_readme", "read_head"]
