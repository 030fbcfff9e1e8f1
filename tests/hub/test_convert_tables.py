"""Conversion of checkpoints: the tables at full size, on the meta device, and the rules that every table follows."""

import json
import weakref

import pytest
import torch
from safetensors import safe_open

from forgescope.convert import NewTensor, Rule, Source, plan_conversion
from forgescope.convert_fakereasoning import FAKEREASONING_RULES, conversion_target, fakereasoning_config
from forgescope.convert_lora import merge_adapter
from forgescope.convert_weights import LazyTensor, lazy, read_weights, write_shards
from forgescope.modeling.configuration_fakereasoning import FakeReasoningConfig

# LLaVA-1.5-13B
HIDDEN, FEED_FORWARD, LAYERS, VOCABULARY = 5120, 13824, 40, 32000
# CLIP ViT-L/14-336, and DINOv2 ViT-L/14 at 518 pixels
WIDTH, ENCODER_LAYERS, PATCH = 1024, 24, 14
FULL_CONFIG = {
    "model_type": "llava_llama",
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "intermediate_size": FEED_FORWARD,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 40,
    "num_key_value_heads": 40,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "pad_token_id": 0,
    "mm_vision_select_layer": -2,
}


def affine(name, rows, columns=None):
    """Shapes of a layer's weight and bias."""
    return {f"{name}.weight": (rows,) if columns is None else (rows, columns), f"{name}.bias": (rows,)}


def language_model():
    shapes = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN), "lm_head.weight": (VOCABULARY, HIDDEN)}
    shapes["model.norm.weight"] = (HIDDEN,)
    for layer in (f"model.layers.{number}" for number in range(LAYERS)):
        shapes |= {f"{layer}.self_attn.{name}_proj.weight": (HIDDEN, HIDDEN) for name in "qkvo"}
        shapes |= {f"{layer}.mlp.{name}_proj.weight": (FEED_FORWARD, HIDDEN) for name in ("gate", "up")}
        shapes[f"{layer}.mlp.down_proj.weight"] = (HIDDEN, FEED_FORWARD)
        shapes |= {f"{layer}.{name}_layernorm.weight": (HIDDEN,) for name in ("input", "post_attention")}
        shapes[f"{layer}.self_attn.rotary_emb.inv_freq"] = (64,)
    return shapes


def projector(name):
    return affine(f"model.{name}.0", HIDDEN, WIDTH) | affine(f"model.{name}.2", HIDDEN, HIDDEN)


def clip(prefix):
    vision = f"{prefix}vision_model"
    shapes = {
        f"{vision}.embeddings.class_embedding": (WIDTH,),
        f"{vision}.embeddings.patch_embedding.weight": (WIDTH, 3, PATCH, PATCH),
        f"{vision}.embeddings.position_embedding.weight": (577, WIDTH),
    }
    shapes |= affine(f"{vision}.pre_layrnorm", WIDTH) | affine(f"{vision}.post_layernorm", WIDTH)
    for layer in (f"{vision}.encoder.layers.{number}" for number in range(ENCODER_LAYERS)):
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= affine(f"{layer}.self_attn.{name}", WIDTH, WIDTH)
        shapes |= affine(f"{layer}.layer_norm1", WIDTH) | affine(f"{layer}.layer_norm2", WIDTH)
        shapes |= affine(f"{layer}.mlp.fc1", 4 * WIDTH, WIDTH) | affine(f"{layer}.mlp.fc2", WIDTH, 4 * WIDTH)
    return shapes


def dino(prefix):
    shapes = {
        f"{prefix}cls_token": (1, 1, WIDTH),
        f"{prefix}pos_embed": (1, 1370, WIDTH),
        f"{prefix}mask_token": (1, WIDTH),
        f"{prefix}patch_embed.proj.weight": (WIDTH, 3, PATCH, PATCH),
        f"{prefix}patch_embed.proj.bias": (WIDTH,),
    }
    shapes |= affine(f"{prefix}norm", WIDTH)
    for block in (f"{prefix}blocks.{number}" for number in range(ENCODER_LAYERS)):
        shapes |= affine(f"{block}.attn.qkv", 3 * WIDTH, WIDTH) | affine(f"{block}.attn.proj", WIDTH, WIDTH)
        shapes |= affine(f"{block}.norm1", WIDTH) | affine(f"{block}.norm2", WIDTH)
        shapes |= affine(f"{block}.mlp.fc1", 4 * WIDTH, WIDTH) | affine(f"{block}.mlp.fc2", WIDTH, 4 * WIDTH)
        shapes |= {f"{block}.ls1.gamma": (WIDTH,), f"{block}.ls2.gamma": (WIDTH,)}
    return shapes


def fusion():
    start = "model.crossattention"
    shapes = {f"{start}.attention_mlp.mlp.0.weight": (32, 16, 1, 1), f"{start}.attention_mlp.mlp.0.bias": (32,)}
    shapes |= {f"{start}.attention_mlp.mlp.2.weight": (16, 32, 1, 1), f"{start}.attention_mlp.mlp.2.bias": (16,)}
    for name in ("q", "k", "v", "merge"):
        shapes |= affine(f"{start}.mhatt.0.linear_{name}", HIDDEN, HIDDEN)
    shapes |= affine(f"{start}.ffn.0.mlp.fc.linear", 4 * HIDDEN, HIDDEN)
    shapes |= affine(f"{start}.ffn.0.mlp.linear", HIDDEN, 4 * HIDDEN)
    return shapes | {f"{start}.norm.{number}.{name}": (HIDDEN,) for number in (0, 1) for name in ("a_2", "b_2")}


def plan_full_size(shapes):
    weights = {name: lazy(torch.empty(shape, device="meta")) for name, shape in shapes.items()}
    sources = [Source("SRC", weights, FAKEREASONING_RULES)]
    config = fakereasoning_config(FULL_CONFIG, sources, None, None)
    tensors, report = plan_conversion(sources, *conversion_target(config, new_fusion=False))
    report.check()
    assert sorted(row.key for row in report.rows) == sorted(shapes)
    return config, tensors, report


def test_full_size_of_the_published_checkpoint():
    towers = clip("model.vision_tower.vision_tower.") | clip("model.dino_tower.clip_vision_tower.")
    shapes = language_model() | projector("mm_projector") | projector("dino_mm_projector") | towers
    config, tensors, report = plan_full_size(shapes | dino("model.dino_tower.vision_tower.") | fusion())
    assert not report.added
    statuses = [row.status for row in report.rows]
    assert statuses.count("dropped") == LAYERS + len(clip(""))
    twin = FakeReasoningConfig(dino_config={"hidden_size": WIDTH, "num_hidden_layers": 24, "num_attention_heads": 16})
    for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "patch_size", "layer_norm_eps"):
        assert getattr(config.dino_config, name) == getattr(twin.dino_config, name)
        if name != "patch_size":
            assert getattr(config.vision_config, name) == getattr(twin.vision_config, name)
    assert config.dino_config.image_size == 518
    assert config.image_seq_length == twin.image_seq_length == 576
    assert config.fusion_num_attention_heads == 16
    assert config.fusion_intermediate_size == 4 * HIDDEN
    counts = {
        part: sum(torch.Size(tensor.shape).numel() for name, tensor in tensors.items() if name.startswith(part))
        for part in ("model.language_model", "model.multi_modal_projector", "model.fusion", "")
    }
    assert counts["model.multi_modal_projector"] == 31_467_520
    assert counts["model.fusion"] == pytest.approx(314.6e6, rel=1e-3)
    assert counts["model.language_model"] + VOCABULARY * HIDDEN == 13_015_864_320


def test_full_size_of_llava():
    shapes = language_model() | projector("mm_projector") | clip("model.vision_tower.vision_tower.")
    config, _, report = plan_full_size(shapes)
    assert config.dino_config is None
    for name in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size"):
        assert getattr(config.vision_config, name) == getattr(FakeReasoningConfig().vision_config, name)
    parts = {name.rsplit(".", 1)[0] for name in report.added}
    assert parts == {"forgery_contrast", "probability_mapper"}


def test_every_rule_is_one_of_use_split_and_drop():
    tensor = torch.arange(12.0).reshape(6, 2)
    weights = {name: lazy(tensor) for name in ("x.old.joint", "x.old.both", "x.old.junk", "x.old.extra")}
    rules = (
        Rule(r"old\.joint", ("a", "b", "c"), "thirds", split=True),
        Rule(r"old\.(both)", (r"\1.1", r"\1.2"), "twice"),
        Rule(r"old\.junk", (), "of no use"),
        Rule(r"old.+", ("nowhere",), "too late"),
    )
    thirds = dict.fromkeys("abc", (2, 2))
    target = thirds | {"both.1": (6, 2), "both.2": (6, 2), "new": (1,), "absent": (1,)}
    new = {"new": NewTensor(lazy(torch.ones(1)), "made"), "a": NewTensor(lazy(torch.ones(1)), "never asked")}
    tensors, report = plan_conversion([Source("S", weights, rules, "x.")], target, new)
    assert torch.equal(torch.cat([tensors[name].load() for name in "abc"]), tensor)
    assert torch.equal(tensors["both.1"].load(), tensors["both.2"].load())
    assert [(row.status, row.names, row.why) for row in report.rows] == [
        ("used", ("a", "b", "c"), "thirds"),
        ("used", ("both.1", "both.2"), "twice"),
        ("dropped", (), "of no use"),
        ("unexpected", ("nowhere",), "the model has no nowhere"),
    ]
    assert report.added == {"new": "made"}
    assert report.missing == ["absent"]
    with pytest.raises(ValueError, match=r"1 missing: absent; 1 unexpected: x\.old\.extra \(S\); do so"):
        report.check("do so")


def test_a_name_filled_twice_and_a_joint_tensor_that_cannot_be_split():
    weights = {"p": lazy(torch.ones(2)), "q": lazy(torch.ones(2)), "r": lazy(torch.ones(4))}
    rules = (Rule("[pq]", ("same",), "one"), Rule("r", ("a", "b", "c"), "thirds", split=True))
    shapes = {"same": (2,), "a": (1,), "b": (1,), "c": (1,)}
    report = plan_conversion([Source("S", weights, rules)], shapes)[1]
    with pytest.raises(
        ValueError, match=r"1 given twice: same; 3 of another shape: a \(expected \(1,\), got \(4,\)\)"
    ):
        report.check()


def test_shards_are_made_one_at_a_time(tmp_path):
    alive, counts = weakref.WeakSet(), []

    def load(value):
        tensor = torch.full((256,), float(value))
        alive.add(tensor)
        counts.append(len(alive))
        return tensor

    tensors = {str(number): LazyTensor((256,), lambda number=number: load(number)) for number in range(6)}
    size = write_shards(tensors, tmp_path, torch.bfloat16, max_shard_size=1024)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert max(counts) <= 2
    assert size == 6 * 256 * 2 == index["metadata"]["total_size"]
    assert sorted(index["weight_map"]) == sorted(tensors)
    assert len(set(index["weight_map"].values())) == 3
    for name, file in index["weight_map"].items():
        with safe_open(tmp_path / file, framework="pt") as opened:
            assert opened.get_tensor(name).dtype == torch.bfloat16
            assert opened.get_tensor(name).unique().item() == float(name)
    assert {name: tensor.shape for name, tensor in read_weights(tmp_path).items()} == dict.fromkeys(tensors, (256,))


def test_no_room_on_the_disk(tmp_path):
    huge = {"w": LazyTensor((1 << 50,), lambda: pytest.fail("read"))}
    with pytest.raises(ValueError, match=r"the weights need 4503599\.6 GB, .* GB free"):
        write_shards(huge, tmp_path, torch.float32)


def test_an_adapter_is_merged_in_float32():
    generator = torch.Generator().manual_seed(0)
    weight, down, up = (torch.randn(shape, generator=generator).bfloat16() for shape in ((4, 6), (2, 6), (4, 2)))
    adapter = {"base_model.model.m.lora_A.weight": lazy(down), "base_model.model.m.lora_B.default.weight": lazy(up)}
    merged, rows = merge_adapter({"m.weight": lazy(weight), "n.weight": lazy(weight)}, adapter, 1.5, "adapter")
    expected = weight.double() + 1.5 * up.double() @ down.double()
    torch.testing.assert_close(merged["m.weight"].load().double(), expected, rtol=0, atol=1e-6)
    assert torch.equal(merged["n.weight"].load(), weight)
    assert [row.names for row in rows] == [("m.weight",)] * 2


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        ({"m.lora_A": (2, 6)}, "only lora_A for m.weight"),
        ({"m.lora_A": (2, 6), "m.lora_B": (5, 2)}, r"m.weight is \(4, 6\), lora_B times lora_A .* \(5, 2\) times"),
        ({"m.lora_magnitude_vector": (4,)}, "is no LoRA weight"),
        ({"k.lora_A": (2, 6), "k.lora_B": (4, 2)}, "the base has no k.weight"),
    ],
)
def test_adapters_of_other_models(adapter, message):
    weights = {f"base_model.model.{name}.weight": lazy(torch.ones(shape)) for name, shape in adapter.items()}
    with pytest.raises(ValueError, match=message):
        merge_adapter({"m.weight": lazy(torch.ones(4, 6))}, weights, 1.0, "adapter")
