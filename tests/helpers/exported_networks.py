"""Tiny checkpoints whose answers differ from photograph to photograph, to be exported and compared with PyTorch."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tiny_models import tiny_model
from torch import nn

from forgescope.analyze import Analyzer
from forgescope.processing.image_processing_forgery import ForgeryImageProcessor

SIZE = 64
# Standard deviation of the logits over photographs and pixels; random weights answer near 0.5.
SPREAD = 2.0
# What the outputs of both may differ by, in probability.
TOLERANCE = 1e-4


def save_checkpoint(
    folder: Path, family: str, photos: list[Image.Image], processing: dict[str, Any], **settings: Any
) -> Path:
    """Save a tiny model that marks about half of some photographs, and its processor for 64 x 64 pixels."""
    model = tiny_model(family, **settings)
    stride = getattr(model.config, "mask_stride", 4)
    processor = ForgeryImageProcessor(size={"height": SIZE, "width": SIZE}, mask_stride=stride, **processing)
    inputs = processor([photo.resize((SIZE, SIZE)) for photo in photos], return_tensors="pt")
    for layer in [module for name, module in model.named_modules() if name.endswith("classifier")]:
        spread_answers(model, layer, inputs["pixel_values"])
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@torch.no_grad()
def spread_answers(model: nn.Module, layer: nn.Module, pixel_values: torch.Tensor) -> None:
    """Give the channels of a last layer mean 0 and a known spread over some images."""
    found: list[torch.Tensor] = []
    hook = layer.register_forward_hook(lambda _, __, values: found.append(values.transpose(0, 1).flatten(1)))
    model(pixel_values)
    hook.remove()
    gain = SPREAD / found[0].std(dim=1)
    layer.weight *= gain.reshape(-1, *[1] * (layer.weight.ndim - 1))
    layer.bias.copy_((layer.bias - found[0].mean(dim=1)) * gain)


def assert_same_answers(checkpoint: Path, exported: Path, photos: list, **settings: Any) -> list:
    """Compare everything that a report says of photographs; gives the reports of the exported network."""
    settings = {"overlap": 32} | settings
    ours, theirs = Analyzer(exported, **settings), Analyzer(checkpoint, device="cpu", **settings)
    reports = list(ours.analyze_many(photos))
    for report, expected in zip(reports, theirs.analyze_many(photos), strict=True):
        assert_same_report(report, expected)
    return reports


def assert_same_report(report: Any, expected: Any) -> None:
    """Verdict, score, maps, masks, attribution and notes."""
    assert report.verdict == expected.verdict
    assert abs(report.score - expected.score) < TOLERANCE
    np.testing.assert_allclose(report.probability_map, expected.probability_map, atol=TOLERANCE)
    assert_same_mask(report.mask, expected.mask, expected.probability_map)
    assert (report.ai_mask is None) == (expected.ai_mask is None)
    if expected.ai_mask is not None:
        assert (report.ai_mask != expected.ai_mask).mean() < 1e-3
    if expected.editor_map is not None:
        assert (report.editor_map != expected.editor_map).mean() < 1e-3
        assert list(report.attribution) == list(expected.attribution)
    assert report.notes == expected.notes
    assert len(report.regions) == len(expected.regions)


def assert_same_mask(mask: np.ndarray, expected: np.ndarray, probabilities: np.ndarray) -> None:
    """Equal, but for pixels on the threshold."""
    clear = np.abs(probabilities - 0.5) > TOLERANCE
    np.testing.assert_array_equal(mask[clear], expected[clear])
