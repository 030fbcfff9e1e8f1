"""Names and shapes of the published LEGION, on the meta device: all are used or dropped, nothing else is missing."""

import json
from collections import Counter

import pytest
import torch
from parity import parity_dir
from transformers import CLIPVisionConfig, CLIPVisionModel

from forgescope.convert import NOT_STORED, Source, plan_conversion
from forgescope.convert_legion import conversion_target, legion_config
from forgescope.convert_legion_source import LEGION_RULES
from forgescope.convert_towers import clip_rules
from forgescope.convert_weights import lazy
from forgescope.modeling.configuration_legion import VICUNA_7B, LegionConfig
from forgescope.modeling.configuration_parts import CLIP_L_336

FULL_CONFIG = VICUNA_7B | {"model_type": "llava", "mm_vision_module": "openai/clip-vit-large-patch14-336"}


def full_size_clip():
    with torch.device("meta"):
        tower = CLIPVisionModel(CLIPVisionConfig(**CLIP_L_336))
    return {name: lazy(tensor) for name, tensor in tower.state_dict().items()}


def test_full_size_of_the_published_checkpoint():
    file = parity_dir() / "legion_fullsize_keys.json"
    if not file.is_file():
        pytest.skip(f"no file {file}")
    shapes = json.loads(file.read_text())
    published = {name: lazy(torch.empty(shape, device="meta")) for name, shape in shapes.items()}
    sources = [Source("SRC", published, LEGION_RULES), Source("CLIP", full_size_clip(), clip_rules())]
    config = legion_config(FULL_CONFIG, sources, None, None)
    target, new = conversion_target(config, sources)
    tensors, report = plan_conversion(sources, target, new)
    report.check()
    rows = [row for row in report.rows if row.source == "SRC"]
    assert [row.key for row in rows] == list(shapes)
    dropped = Counter(row.why for row in rows if row.status == "dropped")
    assert dropped == {"region encoder: takes boxes, which LEGION never gives": 43, NOT_STORED: 32}
    assert sum(row.status == "used" for row in rows) == len(shapes) - 43 - 32
    assert {name.split(".")[0] for name in report.added} == {"detection_head"}
    # the authors' checkpoint alone lacks CLIP and the head, and nothing else
    alone = plan_conversion(sources[:1], target)[1]
    assert not [row for row in alone.rows if row.status == "unexpected"]
    assert alone.missing == [name for name in target if name.startswith(("model.vision_tower.", "detection_head."))]
    with pytest.raises(ValueError, match=r"395 missing: model\.vision_tower\.embeddings"):
        alone.check()
    twin = LegionConfig(architectures=config.architectures, vision_config=config.vision_config.to_dict())
    assert config.to_dict() == twin.to_dict()
    for name, size in CLIP_L_336.items():
        # the projection is not a part of the image encoder
        assert name == "projection_dim" or getattr(config.vision_config, name) == size
    assert (
        sum(torch.Size(tensor.shape).numel() for name, tensor in tensors.items() if "detection" in name) == 2_103_298
    )
