"""Tiny images, tars, zips and tars cut into parts, for tests of the readers."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def image_bytes(seed: int = 0, size: tuple[int, int] = (12, 8), kind: str = "PNG") -> bytes:
    """An encoded RGB image of (width, height) pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return encoded(Image.fromarray(pixels), kind)


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind)
    return buffer.getvalue()


def mask_bytes(values, palette: list[int] | None = None) -> bytes:
    """A PNG of these uint8 values, mode L, or P with a palette."""
    image = Image.fromarray(np.asarray(values, dtype=np.uint8))
    if palette is not None:
        image = image.convert("P")
        image = Image.fromarray(np.asarray(values, dtype=np.uint8), mode="P")
        image.putpalette(palette)
    return encoded(image)


def write_tree(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def tar_bytes(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_parts(folder: Path, files: dict[str, bytes], parts: int, stem: str = "dataset") -> list[Path]:
    """One tar cut into parts of equal size, `stem.part1.tar` and so on; borders fall anywhere."""
    folder.mkdir(parents=True, exist_ok=True)
    data = tar_bytes(files)
    size = -(-len(data) // parts)
    paths = [folder / f"{stem}.part{number}.tar" for number in range(1, parts + 1)]
    for index, path in enumerate(paths):
        path.write_bytes(data[index * size : (index + 1) * size])
    return paths
