"""Inpainted images and their blended form, beside the photographs they come from, in one folder (GAMMA, section 3.2).

A frame of each photograph is filled in a random region by a generative model. Three images are made of it, with the
label and masks of Table 1: the frame itself (`authentic`), the model's whole image (`inpainting`), and the frame with
the region alone taken from it (`inpainting_blended`). All three have one size and one compression, so nothing but the
forgery tells them apart.

    DIR/images/000000-inpainting.jpg  DIR/masks/...  DIR/ai_masks/...  DIR/metadata.jsonl  DIR/settings.json
    DIR/README.md

The paper takes its images from COCO-Inpaint; models, masks and prompts of that corpus are not given in the paper.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from tqdm.auto import tqdm

from forgescope.datasets_scripts.features import turned_upright

from .folder_card import INPAINTING, write_folder_card
from .image_folder import (
    FolderResult,
    Outcome,
    begin_folder,
    describe_photos,
    finish_folder,
    finished_rows,
    save_item,
)
from .inpainters import BatchInpainter, as_inpainter
from .inpainting_items import VARIANTS, Item, draw_item, inpainting_config, make_variant
from .inpainting_prompts import Prompts, check_prompts, choose_prompt
from .manipulation import ManipulationConfig

# Text of the `source` column.
SOURCE = "inpainting"
# Third number of the seed of the final compression, which all variants share.
COMPRESSION_STREAM = 1


@dataclasses.dataclass(frozen=True)
class InpaintingJob:
    """What one run writes; see `write_inpainting`."""

    photos: list[Path]
    out: Path
    inpainter: BatchInpainter
    model: str
    seed: int
    config: ManipulationConfig
    prompts: Prompts
    unguided_fraction: float
    variants: tuple[str, ...]
    batch_size: int
    read_photo: Callable[[Path], Image.Image]

    def settings(self) -> dict[str, Any]:
        """What decides the bytes of the folder, ready for JSON."""
        prompts = json.dumps(self.prompts, sort_keys=True)
        return {
            "kind": "inpainting",
            "seed": self.seed,
            **describe_photos(self.photos),
            "config": dataclasses.asdict(self.config),
            "model": self.model,
            "arguments": {name: repr(value) for name, value in self.inpainter.arguments.items()},
            "prompts_hash": hashlib.sha256(prompts.encode()).hexdigest()[:16],
            "unguided_fraction": self.unguided_fraction,
            "variants": list(self.variants),
            "batch_size": self.batch_size,
        }


def write_inpainting(
    photos: list[Path],
    pipeline: Callable[..., Any],
    out: str | Path,
    *,
    count: int | None = None,
    seed: int = 0,
    config: ManipulationConfig | None = None,
    prompts: Prompts = None,
    unguided_fraction: float = 0.0,
    authentic: bool = True,
    batch_size: int = 1,
    model: str | None = None,
    read_photo: Callable[[Path], Image.Image] | None = None,
    **arguments: Any,
) -> FolderResult:
    """Fill a region of each photograph, and write the inpainted and the blended image and the photograph itself.

    An item depends on the seed, its number, the photographs and the settings alone, so a run that was interrupted goes
    on where it stopped. With batches it depends, within rounding, on the others of its batch: numbers 0 to
    `batch_size` - 1, and so on.

    Args:
        photos: photographs in a fixed order (`find_photos`).
        pipeline: loaded inpainting pipeline of diffusers, or a function `inpainter(image, mask) -> image` of PIL RGB
            and PIL L (255 = fill), which should give the same image for the same arguments.
        out: folder, absent, or begun with the same settings.
        count: regions to fill; None for one a photograph. Above that photographs are used again, with another frame.
        seed: seed of the whole folder.
        config: settings of frames, regions and files, `inpainting_config()` by default.
        prompts: text, texts to draw from, or texts by the name of a photograph; None fills without text.
        unguided_fraction: share of images filled without text although there are prompts, 0..1.
        authentic: whether to write the photographs' own frames.
        batch_size: frames filled in one call; those of one size go together.
        model: name of the model in the column `model`; None for the pipeline's own.
        read_photo: returns a PIL RGB image, or raises ValueError or OSError; Pillow's reader by default.
        **arguments: further arguments of the pipeline's call, such as `num_inference_steps`.

    Returns:
        All rows of the folder, and what went wrong: photographs that cannot be read, or that the pipeline failed on.

    Raises:
        ValueError: bad arguments, or a folder that was begun with other settings.
    """
    count = len(photos) if count is None else count
    if not photos or count < 1 or batch_size < 1 or seed < 0:
        raise ValueError(
            f"expected photographs, a count and a batch_size of at least 1 and a seed of at least 0, "
            f"got {len(photos)}, {count}, {batch_size} and {seed}"
        )
    if not 0.0 <= unguided_fraction <= 1.0:
        raise ValueError(f"unguided_fraction must be between 0 and 1, got {unguided_fraction}")
    check_prompts(prompts, photos)
    inpainter = as_inpainter(pipeline, **arguments)
    if prompts and not inpainter.takes_prompts:
        raise ValueError(f"{name_of(pipeline)} takes no prompt: leave out prompts")
    job = InpaintingJob(
        photos=photos,
        out=Path(out),
        inpainter=inpainter,
        model=name_of(model or pipeline),
        seed=seed,
        config=config or inpainting_config(),
        prompts=prompts,
        unguided_fraction=unguided_fraction,
        variants=VARIANTS if authentic else VARIANTS[1:],
        batch_size=batch_size,
        read_photo=read_photo or open_photo,
    )
    begin_folder(job.out, job.settings())
    rows = finished_rows(job.out)
    indices = [number * len(VARIANTS) + VARIANTS.index(name) for number in range(count) for name in job.variants]
    wanted = [index for index in indices if index not in rows]
    outcomes = _outcomes(job, count, set(wanted))
    progress = tqdm(outcomes, total=len(wanted), desc="inpainting", unit="image", disable=None)
    result = finish_folder(job.out, rows, progress)
    write_folder_card(job.out, INPAINTING, result.rows)
    return result


def open_photo(path: Path) -> Image.Image:
    """Read a photograph upright as RGB.

    Raises:
        ValueError: not an image, too large, or damaged.
    """
    try:
        with Image.open(path) as image:
            return turned_upright(image).convert("RGB")
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} is not an image") from error
    except Exception as error:  # Pillow's decoders raise nearly any type on damaged data
        raise ValueError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def name_of(pipeline: Any) -> str:
    """Hub id of a pipeline, or the name of its folder, class or function; no paths of this machine."""
    origin = pipeline if isinstance(pipeline, str) else getattr(pipeline, "name_or_path", None)
    if origin:
        return Path(origin).name if Path(origin).is_dir() else str(origin)
    return str(getattr(pipeline, "__name__", None) or type(pipeline).__name__)


def unchanged_outside(rows: list[dict[str, Any]]) -> list[str]:
    """Ids of inpainted images that equal their photograph outside the mask, though their AI mask is the whole frame.

    The pipeline pasted the photograph back itself, so these are blended images with the wrong mask.
    """
    inpainted = [row for row in rows if row["task"] == "inpainting"]
    return [row["id"] for row in inpainted if json.loads(row["parameters"])["changed_outside"] == 0.0]


def _outcomes(job: InpaintingJob, count: int, wanted: set[int]) -> Iterator[Outcome]:
    """Outcome of each wanted row, batch by batch; a batch of which nothing is wanted is passed over."""
    for start in range(0, count, job.batch_size):
        numbers = range(start, min(start + job.batch_size, count))
        rows = {number: _wanted_rows(number, wanted) for number in numbers}
        if not any(rows.values()):
            continue
        items: dict[int, Item] = {}
        failures: dict[int, str] = {}
        for number in numbers:
            try:
                items[number] = _item(job, number)
            except (ValueError, OSError) as error:
                failures[number] = str(error)
        for number, filled in _fill(job, items):
            if isinstance(filled, str):
                failures[number] = filled
            else:
                yield from ((index, _save(job, items[number], filled, index), {}) for index in rows[number])
        for number, reason in failures.items():
            photo = str(_photo_of(job, number))
            reason = reason if reason.startswith(photo) else f"{photo}: {reason}"
            yield from ((index, None, {photo: reason}) for index in rows[number])


def _photo_of(job: InpaintingJob, number: int) -> Path:
    return job.photos[number % len(job.photos)]


def _wanted_rows(number: int, wanted: set[int]) -> list[int]:
    first = number * len(VARIANTS)
    return [index for index in range(first, first + len(VARIANTS)) if index in wanted]


def _item(job: InpaintingJob, number: int) -> Item:
    photo, rng = _photo_of(job, number), np.random.default_rng([job.seed, number])
    item = draw_item(photo, np.asarray(job.read_photo(photo)), job.config, job.inpainter.multiple, rng)
    item.drawn["prompt"] = choose_prompt(job.prompts, photo, job.unguided_fraction, rng)
    return item


def _fill(job: InpaintingJob, items: dict[int, Item]) -> Iterator[tuple[int, np.ndarray | str]]:
    """The filled frame of each item, or why there is none; frames of one size go together."""
    by_size: dict[tuple[int, ...], list[int]] = {}
    for number, item in items.items():
        by_size.setdefault(item.frame.shape, []).append(number)
    batches = list(by_size.values())
    while batches:
        numbers = batches.pop(0)
        filled = _try_fill(job.inpainter, [items[number] for number in numbers])
        if not isinstance(filled, str):
            yield from zip(numbers, filled, strict=True)
        elif len(numbers) == 1:
            yield numbers[0], filled
        else:  # one of them may be to blame: each alone
            batches += [[number] for number in numbers]


def _try_fill(inpainter: BatchInpainter, items: list[Item]) -> list[np.ndarray] | str:
    try:
        images = inpainter.fill(
            [Image.fromarray(item.frame) for item in items],
            [Image.fromarray(item.mask * 255) for item in items],
            [item.drawn["prompt"] for item in items],
            [item.seed for item in items],
        )
    except Exception as error:  # a stranger's model raises any type, and a folder must go on
        return f"the inpainter failed ({type(error).__name__}: {error})"
    return [np.asarray(image) for image in images]


def _save(job: InpaintingJob, item: Item, filled: np.ndarray, index: int) -> dict[str, Any]:
    """Write one image of a filled frame; returns its row."""
    number, position = divmod(index, len(VARIANTS))
    task = VARIANTS[position]
    made = make_variant(item, filled, task, job.config, [job.seed, number, COMPRESSION_STREAM])
    name = f"{number:06d}-{task}"
    return save_item(
        job.out,
        name,
        made,
        index,
        id=f"s{job.seed}-{name}",
        source=SOURCE,
        photos=(item.photo.name, None),
        model=job.model if made.label else None,
        mask_type=item.drawn["mask_kind"] if made.label else None,
    )


__all__ = [
    "VARIANTS",
    "InpaintingJob",
    "inpainting_config",
    "name_of",
    "open_photo",
    "unchanged_outside",
    "write_inpainting",
]
