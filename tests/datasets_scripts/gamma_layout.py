"""Tiny files of every part of GAMMA's training mix."""

import csv
import io
import json

import numpy as np
from archives_layout import image_bytes, mask_bytes

SIZE = (12, 8)


def region(number: int) -> np.ndarray:
    """A rectangle of ones whose place depends on the number."""
    mask = np.zeros(SIZE[::-1], dtype=np.uint8)
    mask[1:4, number % 6 : number % 6 + 5] = 1
    return mask


def coco() -> dict[str, bytes]:
    names = ["train2017/000000000009.jpg", "train2017/000000000025.JPG", "val2017/000000000139.jpg"]
    return {f"coco/{name}": image_bytes(seed, kind="JPEG") for seed, name in enumerate(names)}


def manifest(folder: str, form: str = "csv", count: int = 3) -> dict[str, bytes]:
    rows = []
    files = {}
    for number in range(count):
        rows.append(
            {
                "image": f"images/{number}, made.png",
                "original": f"../coco/train2017/{number}.jpg",
                "mask": f"masks/{number}.png",
                "model": "sd2",
                "mask_type": "random",
            }
        )
        files[f"{folder}/{rows[-1]['image']}"] = image_bytes(100 + number)
        files[f"{folder}/{rows[-1]['mask']}"] = mask_bytes(region(number) * 255)
    if form == "jsonl":
        text = "\n".join(json.dumps(row) for row in rows)
    else:
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        text = buffer.getvalue()
    return {**files, f"{folder}/manifest.{form}": text.encode()}


def tampcoco(count: int = 4) -> dict[str, bytes]:
    """Images and masks of all subsets; masks hold 1 where nothing is forged, as compression may leave it."""
    files = {}
    for number in range(count):
        own = f"9{number}_00000048{number}.jpg_00000048{number}.jpg_RS1.18"
        values = mask_bytes(region(number) * 254 + 1)
        for subset in ("cm", "sp", "bcm"):
            files[f"{subset}_images/{own}.jpg"] = image_bytes(200 + number, kind="JPEG")
            files[f"{subset}_masks/{own.replace('.jpg', '.png')}.png"] = values
        files[f"bcmc_images/{own}_aligned_Q7{number}.jpg"] = image_bytes(300 + number, kind="JPEG")
    return files


def engine(folder: str) -> dict[str, bytes]:
    """What `forgescope construct manipulations` writes."""
    files, lines = {}, []
    tasks = {"authentic": 0, "copy_move": 0, "splicing": 0, "inpainting": 1, "inpainting_blended": 1}
    for number, (task, label) in enumerate(tasks.items()):
        name = f"{number:06d}"
        forged = region(number) * (task != "authentic")
        ai = {"inpainting": np.ones_like(forged), "inpainting_blended": forged}.get(task, np.zeros_like(forged))
        files |= {
            f"{folder}images/{name}.jpg": image_bytes(400 + number, kind="JPEG"),
            f"{folder}masks/{name}.png": mask_bytes(forged * 255),
            f"{folder}ai_masks/{name}.png": mask_bytes(ai * 255),
        }
        lines.append(
            {
                "file_name": f"images/{name}.jpg",
                "mask_file_name": f"masks/{name}.png",
                "ai_mask_file_name": f"ai_masks/{name}.png",
                "label": label,
                "task": task,
                "id": f"s0-{name}",
                "source": "own",
            }
        )
    return {**files, f"{folder}metadata.jsonl": "\n".join(map(json.dumps, lines)).encode()}


def everything() -> dict[str, bytes]:
    return {
        **coco(),
        **manifest("coco_inpaint"),
        **manifest("blended", "jsonl"),
        **{f"tampcoco/{name}": data for name, data in tampcoco().items()},
        **engine("manipulations/"),
    }
