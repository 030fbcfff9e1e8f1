"""The image that a path in a text file means, when nobody says which folder such paths start from."""

from .files import CorpusFiles
from .pixels import is_image_name


class ImageFinder:
    """Finds files by paths as a text file of the corpus spells them.

    A path may start at the text file's folder, at its parent or grandparent, or at one of some folders there; folders
    too many at its front (absolute paths of another machine) are dropped. A bare name may lie anywhere below.

    Args:
        files: the corpus.
        text_name: text file in it.
    """

    def __init__(self, files: CorpusFiles, text_name: str):
        self.text_name = text_name
        self._files = files
        folder, _, own = text_name.rpartition("/")
        parent = folder.rpartition("/")[0]
        bases = [folder, parent, parent.rpartition("/")[0]]
        bases += [_join(folder, inner) for inner in (own.removesuffix("_reasoning.json"), "evaluation_sets")]
        self._bases = list(dict.fromkeys(bases))
        self._usual = (self._bases[0], 0)
        self._bare: dict[str, str | None] | None = None

    def find(self, path: str) -> str | None:
        """Name in the corpus, None where there is no such file, or several of a bare name."""
        parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
        base, dropped = self._usual
        name = _join(base, "/".join(parts[dropped:]))
        if len(parts) > dropped and name in self._files:
            return name
        for dropped in range(len(parts)):
            tail = "/".join(parts[dropped:])
            for base in self._bases:
                if _join(base, tail) in self._files:
                    self._usual = (base, dropped)
                    return _join(base, tail)
        return self._bare_names().get(parts[0]) if len(parts) == 1 else None

    def _bare_names(self) -> dict[str, str | None]:
        """File name -> the one image of that name below the text file's folder."""
        if self._bare is None:
            folder = self._bases[0]
            self._bare = {}
            for name in self._files.names():
                if is_image_name(name) and (not folder or name.startswith(f"{folder}/")):
                    own = name.rpartition("/")[2]
                    self._bare[own] = None if own in self._bare else name
        return self._bare


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


__all__ = ["ImageFinder"]
