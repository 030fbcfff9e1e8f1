"""ShareGPT-4o-Image: images that GPT-4o made from prompts, or from prompts and images, without masks.

Layout: `text_to_image.json`, a list of `{"input_prompt", "output_image", "output_image_resolution"}`, and its images
in `text_to_image_part_0.tar` to `_9.tar`; `text_and_image_to_image.json`, with `input_image` (one path or a list), and
the tars of that name. Paths read `image/<number>.png` inside the tars. Any of the tars may be there, or the folders
unpacked from them. The names of the two parts may be the same, so each configuration looks into its own tars only.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import datasets

from .corpus import CorpusBuilder, CorpusCard, PaperCount, canonical_features, cut_into_pieces
from .format_alignment import AlignedConfig, aligned_rows
from .json_text import read_json_list
from .notes import Notes
from .pixels import checked_image, is_image_name

# Configuration -> images in the published list.
LISTED = {"text_to_image": 45_717, "text_and_image_to_image": 46_539}
SOURCE = "gpt-4o"
SPLIT = "train"

CARD = CorpusCard(
    title="ShareGPT-4o-Image",
    description="Images that GPT-4o made from prompts, or by editing images as prompts say.",
    homepage="https://huggingface.co/datasets/FreedomIntelligence/ShareGPT-4o-Image",
    licence="unknown",
    terms="See the card of the publisher; not verified here.",
    citation="""@article{chen2025sharegpt4oimage,
  title={ShareGPT-4o-Image: Aligning Multimodal Models with GPT-4o-Level Image Generation},
  author={Chen, Junying and Cai, Zhenyang and Chen, Pengcheng and Chen, Shunian and Ji, Ke and Wang, Xidong and
    Yang, Yunjin and Wang, Benyou},
  journal={arXiv preprint arXiv:2506.18095},
  year={2025}
}""",
    labels="`label`: every image is fake (1), made whole by GPT-4o in both configurations. No masks.",
)


class _Item(NamedTuple):
    name: str
    prompt: str | None
    originals: tuple[str, ...]


class ShareGPT4o(CorpusBuilder):
    """Rows: `image`, `label` (fake), `mask` (None), `id` (file name), `source`, `prompt`.

    `text_and_image_to_image` adds `originals`, the images that the prompt speaks of.
    """

    BUILDER_CONFIG_CLASS = AlignedConfig
    BUILDER_CONFIGS: ClassVar[list[datasets.BuilderConfig]] = [AlignedConfig(name=name) for name in LISTED]
    DEFAULT_CONFIG_NAME = "text_to_image"
    CARD = CARD
    EXPECTED = "text_to_image.json with text_to_image_part_*.tar (or the two of text_and_image_to_image) beside it"

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        counts = (PaperCount(SPLIT, "rows", LISTED[self.config.name], f"{self.config.name}.json as published"),)
        self.__dict__["CARD"] = replace(CARD, paper_counts=counts)

    def archive_patterns(self) -> tuple[str, ...]:
        """The tars of this configuration."""
        return (f"*{self.config.name}_part_*.tar",)

    def features(self) -> datasets.Features:
        """The canonical columns, the prompt and, of edits, what was edited."""
        edits = self.config.name == "text_and_image_to_image"
        originals = {"originals": datasets.List(datasets.Image())} if edits else {}
        return canonical_features(prompt=datasets.Value("string"), **originals)

    def splits(self, notes: Notes) -> dict[str, list[Any]]:
        """One split, `train`: the listed images that are there.

        Raises:
            ValueError: the list is damaged, or no list of objects.
        """
        lists = self.files.match(rf"(?:^|/){self.config.name}\.json$")
        if not lists:
            return {}
        found = self._by_path()
        items, lost = [], 0
        for number, entry in enumerate(read_json_list(self.files, lists[0])):
            path = entry.get("output_image") if isinstance(entry, dict) else None
            if not isinstance(path, str) or not path:
                notes.add("entry without output_image", f"{lists[0]} entry {number}")
                continue
            name = found.get(_tail(path))
            if name is None:
                lost += 1
                continue
            given = entry.get("input_image") or ()
            originals = (given,) if isinstance(given, str) else tuple(given)
            names = tuple(found.get(_tail(original), original) for original in originals)
            items.append(_Item(name, entry.get("input_prompt"), names))
        if lost:
            notes.add("listed image that is not there", lists[0], f"{len(items)} found", count=lost)
        return {SPLIT: cut_into_pieces(items)}

    def facts(self, item: _Item) -> dict[str, str]:
        """Id, label and source, from the list."""
        return {"id": item.name, "label": "fake", "source": SOURCE}

    def rows(self, piece: list[_Item], notes: Notes) -> Iterator[dict[str, Any]]:
        """A row an image."""
        for item in piece:
            checked = checked_image(self.files, item.name, notes, self.config.verify_images)
            if checked is None:
                continue
            row: dict[str, Any] = {"image": checked[0], "mask": None, "prompt": item.prompt, **self.facts(item)}
            if self.config.name == "text_and_image_to_image":
                read = [checked_image(self.files, name, notes, self.config.verify_images) for name in item.originals]
                row["originals"] = [one[0] for one in read if one is not None]
            yield from aligned_rows(row, self.config.align_format, notes)

    def _by_path(self) -> dict[str, str]:
        """Last folder and name of each image -> its name in the corpus; folders of the other part are left out."""
        others = tuple(f"{name}_part_" for name in LISTED if name != self.config.name)
        names = filter(is_image_name, reversed(self.files.names()))
        return {_tail(name): name for name in names if not any(part.startswith(others) for part in name.split("/"))}


def _tail(path: str) -> str:
    return "/".join(path.replace("\\", "/").split("/")[-2:])


__all__ = ["CARD", "ShareGPT4o"]
