"""CNNSpot's test sets, UniversalFakeDetect's, and the ProGAN images that detectors are trained on; no masks.

Layout: `<generator>[/<class>]/{0_real,1_fake}/<file>`, class folders for progan, stylegan, stylegan2 and cyclegan
alone; wrappers such as `CNN_synth_testset/` or `test/` may stand before it. UniversalFakeDetect adds
`diffusion_datasets/<generator>/1_fake`, whose photographs lie in two shared folders. ProGAN's training archives hold
`<class>/{0_real,1_fake}`; one of the twenty classes is called `train`, so a folder of that name means a split only
where a generator or a class follows.

The published loader takes what follows the first dot of a name for its suffix and knows lower case only, so it leaves
out dotted names and `.PNG`; here both are read.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import datasets

from .corpus import CorpusBuilder, CorpusCard, CorpusConfig, canonical_features, cut_into_pieces
from .notes import Notes
from .pixels import checked_image, is_image_name

NAME = re.compile(r"^(?:(?P<folders>.*?)/)?(?P<label>0_real|1_fake)/", re.IGNORECASE)
LABELS = {"0_real": "real", "1_fake": "fake"}
# Generators of CNNSpot's test archive; seeingdark is called SITD in papers.
CNNSPOT = (
    "biggan",
    "crn",
    "cyclegan",
    "deepfake",
    "gaugan",
    "imle",
    "progan",
    "san",
    "seeingdark",
    "stargan",
    "stylegan",
    "stylegan2",
    "whichfaceisreal",
)
# Generators of diffusion_datasets -> folder of the photographs they are compared with.
DIFFUSION = {
    "guided": "imagenet",
    "ldm_200": "laion",
    "ldm_200_cfg": "laion",
    "ldm_100": "laion",
    "glide_100_27": "laion",
    "glide_50_27": "laion",
    "glide_100_10": "laion",
    "dalle": "laion",
}
UNIVERSAL = (*(name for name in CNNSPOT if name not in ("stylegan2", "whichfaceisreal")), *DIFFUSION)
SHARED_REALS = tuple(sorted(set(DIFFUSION.values())))
TRAINING = "progan"
# fmt: off
PROGAN_CLASSES = (
    "airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)
# fmt: on
# Folders or archives of ProGAN's training images, by either of their published names.
TRAINING_FOLDERS = {"progan_train": "train", "trainset": "train", "progan_val": "validation", "valset": "validation"}
SPLIT_FOLDERS = {"train": "train", "val": "validation", "validation": "validation", "test": "test", **TRAINING_FOLDERS}
WRAPPERS = ("cnn_synth_testset", "dataset", "datasets", "diffusion_datasets")
DEFAULT_SPLITS = {"cnnspot": "test", "universalfakedetect": "test", "progan_train": "train"}

CARD = CorpusCard(
    title="CNNSpot",
    description="Photographs and images of GANs and other convolutional generators in folders 0_real and 1_fake, the "
    "diffusion images of UniversalFakeDetect in the same form, and ProGAN's images of twenty classes for training.",
    homepage="https://github.com/PeterWang512/CNNDetection",
    licence="cc-by-nc-sa-4.0",
    terms="CC BY-NC-SA 4.0 by CNNSpot's publishers; the terms of UniversalFakeDetect's images are unverified, and the "
    "photographs stand under the terms of the data sets they come from.",
    citation="""@inproceedings{wang2020cnn,
  title={CNN-generated images are surprisingly easy to spot... for now},
  author={Wang, Sheng-Yu and Wang, Oliver and Zhang, Richard and Owens, Andrew and Efros, Alexei A},
  booktitle={CVPR},
  year={2020}
}
@inproceedings{ojha2023towards,
  title={Towards universal fake image detectors that generalize across generative models},
  author={Ojha, Utkarsh and Li, Yuheng and Lee, Yong Jae},
  booktitle={CVPR},
  year={2023}
}""",
    labels="`label`: `0_real` is real (0), `1_fake` is fake (1). No masks.",
)


@dataclass
class CNNSpotConfig(CorpusConfig):
    """Options of CNNSpot.

    Args:
        pair_reals: for `universalfakedetect`: give a shared photograph once for each generator that it is compared
            with, under that generator's name, in place of once under its folder's.
    """

    pair_reals: bool = False


class _Item(NamedTuple):
    name: str
    source: str
    category: str | None


class CNNSpot(CorpusBuilder):
    """Rows: `image`, `label`, `mask` (None), `id` (file name), `source` (generator), `category` (class folder).

    `cnnspot` takes every generator that is there but for diffusion_datasets and ProGAN's training images;
    `universalfakedetect` the nineteen of that benchmark; `progan_train` ProGAN's training and validation images. A
    generator that the table does not know must stand directly below `data_dir`, a wrapper or a split folder.
    """

    BUILDER_CONFIG_CLASS = CNNSpotConfig
    BUILDER_CONFIGS: ClassVar[list[datasets.BuilderConfig]] = [
        CNNSpotConfig(name="cnnspot", description="CNNSpot's test sets."),
        CNNSpotConfig(name="universalfakedetect", description="The nineteen test sets of UniversalFakeDetect."),
        CNNSpotConfig(name="progan_train", description="ProGAN's images of twenty classes: train and validation."),
    ]
    DEFAULT_CONFIG_NAME = "cnnspot"
    CARD = CARD
    EXPECTED = "folders <generator>[/<class>]/{0_real,1_fake}, or archives of them"
    ARCHIVES_AS_FOLDERS = True

    def features(self) -> datasets.Features:
        """Columns, the same in every configuration."""
        return canonical_features(category=datasets.Value("string"))

    def splits(self, notes: Notes) -> dict[str, list[Any]]:
        """Images by the split folder they lie in."""
        if self.config.pair_reals and self.config.name != "universalfakedetect":
            raise ValueError(f"pair_reals is an option of universalfakedetect, not of {self.config.name}")
        found: dict[str, list[_Item]] = {}
        for name in self.files.names():
            match = NAME.match(name)
            if match is None or not is_image_name(name):
                continue
            folders = (match["folders"] or "").split("/") if match["folders"] else []
            split, source, category = self._place(folders)
            if self._wanted(source, folders, notes):
                found.setdefault(split, []).append(_Item(name, source, category))
        if self.config.pair_reals:
            found = {split: _paired(items) for split, items in found.items()}
        return {split: cut_into_pieces(items) for split, items in found.items()}

    def rows(self, piece: list[_Item], notes: Notes) -> Iterator[dict[str, Any]]:
        """Rows of some images."""
        for item in piece:
            checked = checked_image(self.files, item.name, notes, self.config.verify_images)
            if checked is not None:
                yield {"image": checked[0], "mask": None, "category": item.category, **self.facts(item)}

    def facts(self, item: _Item) -> dict[str, str]:
        """See `CorpusBuilder.facts`."""
        return {"label": LABELS[_label_folder(item.name)], "id": item.name, "source": item.source}

    def _place(self, folders: list[str]) -> tuple[str, str, str | None]:
        """Split, generator and class of a file in these folders (above 0_real or 1_fake)."""
        lower = [folder.lower() for folder in folders]
        own = Path(self.config.data_dir).name.split(".")[0]
        default = SPLIT_FOLDERS.get(own.lower(), DEFAULT_SPLITS[self.config.name])
        if self.config.name == "progan_train":
            return _split(lower[:-1], default), TRAINING, folders[-1] if folders else None
        known = (*CNNSPOT, *DIFFUSION, *SHARED_REALS)
        place = next((place for place, folder in enumerate(lower) if folder in known), None)
        if place is None:
            place = _wrappers(lower)
            folders = folders[place:]
            # nothing is left, or `data_dir` is itself the folder of a known generator
            if not folders or own.lower() in known:
                return (
                    _split(lower[:place], default),
                    own.lower() if own.lower() in known else own,
                    "/".join(folders) or None,
                )
            return _split(lower[:place], default), folders[0], "/".join(folders[1:]) or None
        return _split(lower[:place], default), lower[place], "/".join(folders[place + 1 :]) or None

    def _wanted(self, source: str, folders: list[str], notes: Notes) -> bool:
        lower = [folder.lower() for folder in folders]
        if self.config.name == "progan_train":
            return "cnn_synth_testset" not in lower and not set(lower) & {*CNNSPOT, *DIFFUSION, *SHARED_REALS} - {
                TRAINING
            }
        if source in PROGAN_CLASSES or any(folder in TRAINING_FOLDERS for folder in lower):
            notes.add("image of progan_train, another configuration", "/".join(folders))
            return False
        if self.config.name == "universalfakedetect":
            if source not in (*UNIVERSAL, *SHARED_REALS):
                notes.add("generator outside universalfakedetect, left out", "/".join(folders))
                return False
            return True
        if source in (*DIFFUSION, *SHARED_REALS) or "diffusion_datasets" in lower:
            notes.add("image of universalfakedetect, another configuration", "/".join(folders))
            return False
        return True


def _label_folder(name: str) -> str:
    match = NAME.match(name)
    return match["label"].lower() if match else ""


def _split(folders: list[str], default: str) -> str:
    return next((SPLIT_FOLDERS[folder] for folder in reversed(folders) if folder in SPLIT_FOLDERS), default)


def _wrappers(folders: list[str]) -> int:
    """How many folders stand before the generator: wrappers, and one that names a split."""
    place, named = 0, False
    while place < len(folders) and (folders[place] in WRAPPERS or (folders[place] in SPLIT_FOLDERS and not named)):
        named = named or folders[place] in SPLIT_FOLDERS
        place += 1
    return place


def _paired(items: list[_Item]) -> list[_Item]:
    """The shared photographs once for each generator that is there and has none of its own."""
    sources = {item.source for item in items}
    own = {item.source for item in items if _label_folder(item.name) == "0_real"}
    users = {
        folder: [name for name, reals in DIFFUSION.items() if reals == folder and name in sources - own]
        for folder in SHARED_REALS
    }
    paired = []
    for item in items:
        shared = item.source in SHARED_REALS and _label_folder(item.name) == "0_real"
        paired += [item._replace(source=name) for name in users[item.source]] if shared else [item]
    return paired


__all__ = ["CARD", "CNNSPOT", "DIFFUSION", "UNIVERSAL", "CNNSpot", "CNNSpotConfig"]
