"""CLIP and DINOv2 for models that have them as parts: tables of their names, and sizes read from files or weights.

Parts are called `model.vision_tower` (CLIP) and `model.dino_tower`.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from transformers import AutoConfig, CLIPVisionConfig, Dinov2Config

from forgescope.convert import CONFIG_FILE, NOT_STORED, Rule, Source
from forgescope.convert_weights import LazyTensor, has_weights, read_weights

# Width of an encoder -> attention heads, which no tensor's shape tells; CLIP's and DINOv2's papers.
CLIP_HEADS = {768: 12, 1024: 16}
DINO_HEADS = {384: 6, 768: 12, 1024: 16, 1536: 24}

DINO_TOWER = "model.dino_tower"


class Tower(NamedTuple):
    """An image encoder that may lie outside a checkpoint.

    Args:
        name: how the report calls it.
        place: its file or folder; None: it is in the checkpoint.
        prefix: how its names in the checkpoint begin.
        rules: the table for its names in a place of its own.
    """

    name: str
    place: Path | None
    prefix: str
    rules: Sequence[Rule]


def tower_sources(sources: Sequence[Source], towers: Sequence[Tower]) -> tuple[list[Source], list[str]]:
    """Image encoders from places of their own, and notes on those that are taken from the checkpoint instead.

    Args:
        sources: tensors of the checkpoint.
        towers: the encoders.

    Raises:
        ValueError: no such file or folder, one without weights that are needed, or a damaged one.
    """
    keys = [key.removeprefix(source.prefix) for source in sources for key in source.weights]
    found, notes = [], []
    for tower in towers:
        if tower.place is None:
            continue
        if not tower.place.exists():
            raise ValueError(f"no file or folder {tower.place}, where {tower.name} should be")
        if any(key.startswith(tower.prefix) for key in keys):
            notes.append(f"{tower.name} is in the checkpoint, so of {tower.place} only the configuration is read")
        elif tower.place.is_dir() and not has_weights(tower.place):
            raise ValueError(f"{tower.name} is neither in the checkpoint nor in {tower.place}, which has no weights")
        else:
            found.append(Source(tower.name, read_weights(tower.place), tower.rules))
    return found, notes


def tower_weights(weights: Mapping[str, LazyTensor], prefix: str, name: str, option: str) -> dict[str, LazyTensor]:
    """Tensors of an image encoder, by their names in it.

    Args:
        weights: of the whole model, by our names.
        prefix: how the encoder's names begin.
        name: of the encoder, for the message.
        option: of the command, that gives its place.

    Raises:
        ValueError: there are none.
    """
    found = {key.removeprefix(prefix): tensor for key, tensor in weights.items() if key.startswith(prefix)}
    if not found:
        raise ValueError(f"the checkpoint has no {name} in it: give --{option}, its folder")
    return found


def clip_rules(prefix: str = "") -> tuple[Rule, ...]:
    """Table of CLIP, whole or its image encoder alone, as transformers 4 and 5 write it; `prefix` is a pattern."""
    unused = r"text_model\..+|text_projection\.weight|visual_projection\.weight|logit_scale"
    return (
        Rule(rf"{prefix}(?:vision_model\.)?embeddings\.position_ids", (), NOT_STORED),
        Rule(
            rf"{prefix}(?:vision_model\.)?((?:embeddings|pre_layrnorm|encoder|post_layernorm)\..+)",
            (r"model.vision_tower.\1",),
            "CLIP",
        ),
        Rule(rf"{prefix}(?:{unused})", (), "part of CLIP that LLaVA has no use for"),
    )


def dino_rules(prefix: str = "") -> tuple[Rule, ...]:
    """Table of DINOv2 as its authors name it; `prefix` is a pattern."""
    layer = rf"{DINO_TOWER}.encoder.layer.\1"
    table = {
        r"(cls_token|mask_token)": rf"{DINO_TOWER}.embeddings.\1",
        r"pos_embed": f"{DINO_TOWER}.embeddings.position_embeddings",
        r"patch_embed\.proj\.(\w+)": rf"{DINO_TOWER}.embeddings.patch_embeddings.projection.\1",
        r"norm\.(\w+)": rf"{DINO_TOWER}.layernorm.\1",
        r"blocks\.(\d+)\.(norm[12]\.\w+|mlp\.\w+\.\w+)": rf"{layer}.\2",
        r"blocks\.(\d+)\.attn\.proj\.(\w+)": rf"{layer}.attention.o_proj.\2",
        r"blocks\.(\d+)\.ls([12])\.gamma": rf"{layer}.layer_scale\2.lambda1",
    }
    joint = tuple(rf"{layer}.attention.{part}_proj.\2" for part in "qkv")
    return (
        Rule(rf"{prefix}blocks\.(\d+)\.attn\.qkv\.(\w+)", joint, "DINOv2", split=True),
        *(Rule(prefix + old, (new,), "DINOv2") for old, new in table.items()),
    )


def dino_transformers_rules() -> tuple[Rule, ...]:
    """Table of DINOv2 as transformers 4 and 5 write it."""
    start, layer = r"(?:dinov2\.)?", r"(encoder\.layer\.\d+)\.attention"
    same = (
        r"embeddings\.(?:cls_token|mask_token|position_embeddings|patch_embeddings\.projection\.\w+)",
        r"encoder\.layer\.\d+\.(?:norm[12]\.\w+|mlp\.\w+\.\w+|layer_scale[12]\.lambda1)",
        r"encoder\.layer\.\d+\.attention\.[qkvo]_proj\.\w+",
        r"layernorm\.\w+",
    )
    table = {rf"({'|'.join(same)})": rf"{DINO_TOWER}.\1"}
    table[rf"{layer}\.output\.dense\.(\w+)"] = rf"{DINO_TOWER}.\1.attention.o_proj.\2"
    for name in ("query", "key", "value"):
        table[rf"{layer}\.attention\.{name}\.(\w+)"] = rf"{DINO_TOWER}.\1.attention.{name[0]}_proj.\2"
    return (
        *(Rule(start + old, (new,), "DINOv2") for old, new in table.items()),
        Rule(r"classifier\.\w+", (), "classifier of DINOv2, which nothing uses"),
    )


def clip_settings(folder: Path | None, weights: Mapping[str, LazyTensor]) -> dict[str, Any]:
    """Settings of CLIP's image encoder.

    Args:
        folder: folder of CLIP with a configuration, or None: the sizes are those of the weights.
        weights: of the encoder, under our names without `model.vision_tower.`.

    Raises:
        ValueError: no CLIP in the folder, or weights of a size for which the number of heads is not known.
    """
    if folder is not None and (folder / CONFIG_FILE).is_file():
        model_type = AutoConfig.from_pretrained(folder).model_type
        if not model_type.startswith("clip"):
            raise ValueError(f"expected CLIP in {folder}, got a model of type {model_type!r}")
        return CLIPVisionConfig.from_pretrained(folder).to_dict()
    width, _, patch, _ = weights["embeddings.patch_embedding.weight"].shape
    if width not in CLIP_HEADS:
        raise ValueError(f"how many heads a CLIP of width {width} has is unknown: give --clip with its {CONFIG_FILE}")
    return CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=weights["encoder.layers.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=number_of_layers(weights, "encoder.layers."),
        num_attention_heads=CLIP_HEADS[width],
        image_size=patch * _side(weights["embeddings.position_embedding.weight"].shape[0]),
        patch_size=patch,
    ).to_dict()


def dino_settings(folder: Path | None, weights: Mapping[str, LazyTensor], heads: int | None) -> dict[str, Any]:
    """Settings of DINOv2.

    Args:
        folder: folder of DINOv2 with a configuration, or None: the sizes are those of the weights.
        weights: of the encoder, under our names without `model.dino_tower.`.
        heads: attention heads, where they are known.

    Raises:
        ValueError: no DINOv2 in the folder, or weights of a size for which the number of heads is not known.
    """
    if folder is not None and (folder / CONFIG_FILE).is_file():
        config = AutoConfig.from_pretrained(folder)
        if config.model_type != "dinov2":
            raise ValueError(f"expected DINOv2 in {folder}, got a model of type {config.model_type!r}")
        return config.to_dict()
    width, _, patch, _ = weights["embeddings.patch_embeddings.projection.weight"].shape
    heads = heads or DINO_HEADS.get(width)
    if heads is None:
        raise ValueError(
            f"how many heads a DINOv2 of width {width} has is unknown: give --dino with a folder of transformers"
        )
    return Dinov2Config(
        hidden_size=width,
        num_hidden_layers=number_of_layers(weights, "encoder.layer."),
        num_attention_heads=heads,
        mlp_ratio=weights["encoder.layer.0.mlp.fc1.weight"].shape[0] // width,
        image_size=patch * _side(weights["embeddings.position_embeddings"].shape[1]),
        patch_size=patch,
    ).to_dict()


def number_of_layers(names: Iterable[str], prefix: str) -> int:
    """Number of layers: one more than the largest that stands after a prefix."""
    return 1 + max(int(name.removeprefix(prefix).split(".")[0]) for name in names if name.startswith(prefix))


def _side(positions: int) -> int:
    """Side of the square grid that positions, but for the class token, form."""
    return round((positions - 1) ** 0.5)


__all__ = [
    "Tower",
    "clip_rules",
    "clip_settings",
    "dino_rules",
    "dino_settings",
    "dino_transformers_rules",
    "tower_sources",
    "tower_weights",
]
