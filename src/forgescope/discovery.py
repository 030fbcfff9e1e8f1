"""From what a user names, files, folders and patterns, to a list of image files."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from .reading import IMAGE_SUFFIXES


def find_images(paths: Sequence[str], recursive: bool = True, leave_out: Path | None = None) -> list[str]:
    """List the image files that paths stand for.

    A named file is always listed, whatever its suffix and also when it is missing, so that its error is reported. So
    is a folder that cannot be listed. Folders and patterns give files with an image suffix in any case; hidden ones,
    and those in hidden folders, are skipped.

    Args:
        paths: files, folders, or patterns with `*`, `?`, `[...]` or `**`.
        recursive: descend into the folders of folders.
        leave_out: folder whose files are not listed (earlier results).

    Returns:
        Paths as the user wrote them, joined with what was found; each file once, in the order of `paths`, sorted
        within a folder or pattern.
    """
    found: dict[str, str] = {}
    for path in paths:
        for image in _expand(path, recursive):
            found.setdefault(os.path.abspath(image), image)
    return [image for absolute, image in found.items() if not _is_within(absolute, leave_out)]


def find_images_to_examine(paths: Sequence[str], recursive: bool, out: Path | None) -> list[str]:
    """List the image files that paths stand for, but for those in the folder of the results.

    Args:
        paths: as in `find_images`.
        recursive: likewise.
        out: folder of the results; None: there is none.

    Raises:
        ValueError: there is no image, or there are images in that folder alone.
    """
    found = find_images(paths, recursive)
    images = [image for image in found if not _is_within(os.path.abspath(image), out)]
    if images:
        return images
    named = ", ".join(paths)
    if found:
        raise ValueError(
            f"all images of {named} are in {out}, the folder of --out, and left out: choose another --out"
        )
    raise ValueError(f"no image found in {named}: expected image files, folders or patterns")


def _expand(path: str, recursive: bool) -> Iterator[str]:
    if os.path.isdir(path):
        yield from _walk(path, recursive)
    elif os.path.lexists(path) or not glob.has_magic(path):
        yield path
    else:
        for match in sorted(glob.glob(path, recursive=True)):
            if os.path.isdir(match):
                yield from _walk(match, recursive)
            elif _is_image_name(match):
                yield match


def _is_within(absolute: str, folder: Path | None) -> bool:
    if folder is None:
        return False
    place = os.path.abspath(folder)
    return os.path.commonpath([place, absolute]) == place


def _walk(folder: str, recursive: bool) -> Iterator[str]:
    unlisted: list[OSError] = []
    for root, folders, files in os.walk(folder, onerror=unlisted.append):
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if recursive else []
        yield from (os.path.join(root, name) for name in sorted(files) if _is_image_name(name))
    yield from (str(error.filename) for error in unlisted)


def _is_image_name(path: str) -> bool:
    name = os.path.basename(path)
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES
