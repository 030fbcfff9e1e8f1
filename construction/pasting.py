"""Copy-move and splicing: cut regions from a photograph, transform them and paste them into another or the same."""

import cv2
import numpy as np

from .appearance import (
    INTERPOLATIONS,
    add_noise,
    blend,
    change_brightness,
    match_colours,
    place_image,
    place_mask,
    placement_matrix,
    recompress,
    soft_alpha,
)
from .framing import draw_compression
from .manipulation_config import Drawn, ManipulationConfig, draw_weighted
from .masks import draw_mask, ellipse_mask


def paste_regions(
    host: np.ndarray, donor: np.ndarray | None, config: ManipulationConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, Drawn]:
    """Paste one region of the donor, or one or several copies of a region of the host itself.

    Args:
        host: (H, W, 3) uint8 RGB.
        donor: (h, w, 3) uint8 RGB, or None for copy-move.
        config: settings.
        rng: source of all randomness.

    Returns:
        The image, the mask (H, W) uint8 of the pasted pixels (sources of copies are not marked), and what was drawn.
    """
    source = host if donor is None else donor
    wanted = draw_weighted(config.paste_mask_weights, rng)
    if wanted == "border":
        if donor is not None:
            return _replace_side(host, donor, config, rng)
        wanted = "polygon"  # one side of a photograph cannot be a copy of itself
    cut, kind = draw_mask(source, wanted, config.area, rng)
    source, history = _degrade(source, donor is not None, config, rng)
    count = 1
    while donor is None and count < config.copies and rng.random() < 0.2:
        count += 1
    image, total = host, np.zeros(host.shape[:2], np.uint8)
    pastes: list[Drawn] = []
    for _ in range(count):
        avoid = np.maximum(total, cut) if donor is None else total
        layer, mask, drawn = _find_placement(image, source, cut, avoid, donor is None, config, rng)
        if pastes and (total | mask).mean() > config.area[1]:
            break
        layer, colours = _adapt(layer, mask, image, config, rng)
        feather = _draw_feather(config, rng)
        alpha = soft_alpha(mask, feather)
        image, total = blend(image, layer, alpha), total | (alpha > 0.5).astype(np.uint8)
        pastes.append({**drawn, **colours, "feather": round(feather, 4)})
    return image, total, {"mask_kind": kind, "source_changes": history, "pastes": pastes}


def _replace_side(
    host: np.ndarray, donor: np.ndarray, config: ManipulationConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, Drawn]:
    """Replace one side of the host (a sky, a wall) by the same side of the donor."""
    mask, kind = draw_mask(host, "border", config.area, rng)
    layer, history = _degrade(donor, True, config, rng)
    layer = cv2.resize(layer, (host.shape[1], host.shape[0]), interpolation=cv2.INTER_LINEAR)
    layer, colours = _adapt(layer, mask, host, config, rng)
    feather = _draw_feather(config, rng)
    alpha = soft_alpha(mask, feather)
    drawn = {"mask_kind": kind, "source_changes": history, "pastes": [{**colours, "feather": round(feather, 4)}]}
    return blend(host, layer, alpha), (alpha > 0.5).astype(np.uint8), drawn


def _find_placement(
    host: np.ndarray,
    source: np.ndarray,
    cut: np.ndarray,
    avoid: np.ndarray,
    same: bool,
    config: ManipulationConfig,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, Drawn]:
    """Try positions until one keeps the share within bounds, avoids `avoid` and changes the picture visibly."""
    transform = _draw_transform(host, cut, config, rng)
    x, y, width, height = cv2.boundingRect(cut)
    centre = (x + (width - 1) / 2, y + (height - 1) / 2)
    best, best_cost = None, np.inf
    for _ in range(config.placement_tries):
        target = _draw_target(host.shape[:2], (width, height), centre, transform["scale"], same, config, rng)
        matrix = placement_matrix(centre, target, transform["scale"], transform["angle"], transform["flip"])
        mask = place_mask(cut, matrix, host.shape[:2])
        if not config.area[0] <= mask.mean() <= config.area[1]:
            continue
        layer = place_image(source, matrix, mask, transform["interpolation"])
        change = float(cv2.mean(cv2.absdiff(layer, host), mask)[0])
        cost = float((avoid & mask).sum() / mask.sum()) + max(0.0, 1.0 - change / config.min_change)
        if cost < best_cost:
            best, best_cost = (layer, mask, matrix), cost
        if cost < 0.05:
            break
    if best is None:
        best = _fallback(host, source, config)
        transform["fallback"] = True
    layer, mask, matrix = best
    return layer, mask, {**transform, "matrix": np.round(matrix, 4).tolist()}


def _draw_transform(host: np.ndarray, cut: np.ndarray, config: ManipulationConfig, rng: np.random.Generator) -> Drawn:
    """Draw scale, angle, flip and interpolation; the scale keeps the pasted share within the bounds."""
    share = cut.sum() / (host.shape[0] * host.shape[1])
    scale = 1.0
    if rng.random() < config.scale_probability:
        scale = float(np.exp(rng.uniform(*np.log(config.scale))))
    # Keep a margin of a tenth: rounding and the image border take some pixels away.
    low, high = np.sqrt(1.1 * config.area[0] / share), np.sqrt(0.95 * config.area[1] / share)
    scale = float(np.clip(scale, min(low, high), high))
    angle = float(rng.uniform(*config.rotation)) if rng.random() < config.rotate_probability else 0.0
    return {
        "scale": round(scale, 4),
        "angle": round(angle, 3),
        "flip": bool(rng.random() < config.flip_probability),
        "interpolation": sorted(INTERPOLATIONS)[int(rng.integers(len(INTERPOLATIONS)))],
    }


def _draw_target(
    shape: tuple[int, int],
    box: tuple[int, int],
    centre: tuple[float, float],
    scale: float,
    same: bool,
    config: ManipulationConfig,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Draw the centre (x, y) of the pasted region: mostly inside the host, sometimes cut by its border."""
    half = np.array(box) * scale / 2 * rng.choice([1.0, 0.7], p=[0.8, 0.2])
    limits = np.array([shape[1], shape[0]], np.float64)
    low, high = np.minimum(half, limits / 2), np.maximum(limits - half, limits / 2)
    target = rng.uniform(low, high)
    if same and rng.random() < config.level_probability:
        target[1] = np.clip(centre[1] + rng.normal(0, 0.05) * shape[0], low[1], high[1])
    return float(target[0]), float(target[1])


def _degrade(
    source: np.ndarray, foreign: bool, config: ManipulationConfig, rng: np.random.Generator
) -> tuple[np.ndarray, Drawn]:
    """Give the pasted region a history of its own: JPEG (donors only), noise, blur, brightness."""
    drawn: Drawn = {}
    if foreign and rng.random() < config.donor_jpeg_probability:
        quality, subsampling = draw_compression(config.history_quality, config, rng)
        source = recompress(source, quality, subsampling)
        drawn["jpeg"] = [quality, subsampling]
    if rng.random() < config.blur_probability:
        blur = rng.uniform(*config.blur)
        source = cv2.GaussianBlur(source, (0, 0), blur)
        drawn["blur"] = round(blur, 4)
    if rng.random() < config.noise_probability:
        noise = rng.uniform(*config.noise)
        source = add_noise(source, noise, rng)
        drawn["noise"] = round(noise, 4)
    if rng.random() < config.brightness_probability:
        factor = rng.uniform(*config.brightness)
        source = change_brightness(source, factor)
        drawn["brightness"] = round(factor, 4)
    return source, drawn


def _adapt(
    layer: np.ndarray, mask: np.ndarray, host: np.ndarray, config: ManipulationConfig, rng: np.random.Generator
) -> tuple[np.ndarray, Drawn]:
    """Match the colours of the placed region to the place it covers (sometimes)."""
    if rng.random() >= config.colour_match_probability:
        return layer, {}
    strength = rng.uniform(*config.colour_match_strength)
    return match_colours(layer, host, mask, strength), {"colour_match": round(strength, 4)}


def _draw_feather(config: ManipulationConfig, rng: np.random.Generator) -> float:
    return float(rng.uniform(*config.feather)) if rng.random() < config.feather_probability else 0.0


def _fallback(
    host: np.ndarray, source: np.ndarray, config: ManipulationConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An ellipse in the middle of the host, filled with the source shifted by half its width: always within bounds."""
    height, width = host.shape[:2]
    mask = ellipse_mask((height, width), float(np.sqrt(config.area[0] * config.area[1])))
    matrix = placement_matrix((0, 0), (source.shape[1] // 2, 0), 1.0, 0.0, False)
    return place_image(source, matrix, mask, "linear"), mask, matrix
