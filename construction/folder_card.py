"""The dataset card of a folder that `forgescope construct` or `annotate` made: counts, settings, limits, terms.

    OUT/README.md

Every run writes it anew from all rows of the folder, but for what its user added: the header, and the terms.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData
from yaml import YAMLError

from .image_folder import write_atomically

CARD_FILE = "README.md"
TEMPLATE = "folder_card.md"
TAGS = ("forgescope", "image-forensics")
# A card without this line is somebody's own.
MARK = "<!-- written by forgescope, replaced by the next run; delete this line to keep your changes -->"
# What stands below this line is taken over from an earlier card.
OWN = "<!-- what stands below this line is yours, the next run keeps it -->"
NO_TERMS = "Not filled in: where the photographs are from, and under which terms they may be used."
# Labels of rows, as they are written and as numbers.
LABELS = {"real": "real", "fake": "fake", 0: "real", 1: "fake"}
LABEL_WORDS = (
    "`label` in `metadata.jsonl` is `real` or `fake`; `load_corpus` gives 0 and 1, as for every corpus of forgescope."
)
LABEL_NUMBERS = (
    "`label` is 1 = fake where a network made pixels of the image, or stands for one that does, else 0 = real: "
    "copy-move and splicing are real, and their forged pixels are marked in the mask."
)
LIMITS = (
    "Models made or judged these images; nobody has checked each of them. The photographs and generated images stand "
    "under the terms of whoever made them, and what the models wrote or drew under the terms of these models."
)


@dataclass(frozen=True)
class FolderKind:
    """What a construction makes.

    Args:
        verb: of `forgescope`.
        title: heading.
        description: a sentence.
        load: Python that reads the folder, from within it.
        citation: BibTeX of the paper.
        labels: what labels and masks say.
        limits: what to know before the images are used.
    """

    verb: str
    title: str
    description: str
    load: str
    citation: str
    labels: str = LABEL_WORDS
    limits: str = LIMITS


DIFFSEG = FolderKind(
    "construct diffseg",
    "Photographs and generated images with edited regions",
    "Regions that diffusion models edited, in one turn or several, with masks of the editor, after DiffSeg30k "
    "(section 3).",
    'from forgescope import load_corpus\n\ncorpus = load_corpus("diffseg30k", ".")',
    """@article{ci2025diffseg30k,
  title={DiffSeg30k: A Multi-Turn Diffusion Editing Benchmark for Localized AIGC Detection},
  author={Ci, Hai and Peng, Ziheng and Yang, Pei and Xuan, Yingxin and Shou, Mike Zheng},
  year={2025}
}""",
)
MMFR = FolderKind(
    "construct mmfr",
    "Reasons why images are real or fake",
    "Captions, attributes and answers in four stages that a model wrote, after MMFR (FakeReasoning, section 3.2).",
    'from forgescope import load_corpus\n\ncorpus = load_corpus("mmfr", ".")',
    """@article{gao2025fakereasoning,
  title={FakeReasoning: Towards Generalizable Forgery Detection and Reasoning},
  author={Gao, Yueying and Chang, Dongliang and Yu, Bingyao and Qin, Haotian and Chen, Lei and Liang, Kongming and
    Ma, Zhanyu},
  year={2025}
}""",
)
SYNTHSCARS = FolderKind(
    "construct synthscars",
    "Generated images to annotate",
    "Generated images drawn in equal shares from clusters and filtered by a model, after SynthScars (LEGION, "
    "section 3); they have no annotations yet.",
    'from datasets import load_dataset\n\ncorpus = load_dataset("imagefolder", data_dir=".")',
    """@article{kang2025legion,
  title={LEGION: Learning to Ground and Explain for Synthetic Image Detection},
  author={Kang, Hengrui and Wen, Siwei and Wen, Zichen and Ye, Junyan and Li, Weijia and Feng, Peilin and
    Zhou, Baichuan and Wang, Bin and Lin, Dahua and Zhang, Linfeng and He, Conghui},
  year={2025}
}""",
)


GAMMA = """@misc{yan2025gamma,
  title={GAMMA: Generalizable Alignment via Multi-task and Manipulation-Augmented Training for AI-Generated Image
    Detection},
  author={Yan, Haozhen and Hong, Yan and Lang, Suning and Zhan, Jiahui and Ji, Yikun and Gao, Yujie and Lan, Jun and
    Zhu, Huijia and Wang, Weiqiang and Zhang, Jianfu},
  year={2025}
}"""
LOAD_MASKS = (
    'from forgescope.datasets_scripts.features import load_forgery_folder\n\ncorpus = load_forgery_folder(".")'
)
MANIPULATIONS = FolderKind(
    "construct manipulations",
    "Manipulated photographs with masks",
    "Copy-move, splicing, inpainting without a network and untouched frames, after GAMMA (section 3.2).",
    LOAD_MASKS,
    GAMMA,
    LABEL_NUMBERS,
    "Made by a program from random draws; nobody has checked each image. Its inpainting stands for a generator and is "
    "none. The photographs stand under the terms of whoever made them.",
)
INPAINTING = FolderKind(
    "construct inpainting",
    "Inpainted photographs with masks",
    "Regions of photographs that a generative model filled, as its whole image and blended into the photograph, after "
    "GAMMA (section 3.2).",
    LOAD_MASKS,
    GAMMA,
    LABEL_NUMBERS,
)
PROMPTFORGE = FolderKind(
    "annotate",
    "Edited photographs with masks of what was edited",
    "Pairs of originals and edits, aligned, with masks computed from their difference, after PromptForge-350k "
    "(sections 3 and 4).",
    'from forgescope import load_corpus\n\ncorpus = load_corpus("promptforge", ".")',
    """@article{wang2026promptforge,
  title={PromptForge-350k: A Large-Scale Dataset and Contrastive Framework for Prompt-Based AI Image Forgery
    Localization},
  author={Wang, Jianpeng and Wang, Haoyu and Chen, Baoying and Zeng, Jishen and Qin, Yiming and Yang, Yiqi and
    Ba, Zhongjie},
  year={2026}
}""",
    "Every image is edited, so fake; its `original` is the untouched one. In masks white is edited.",
    "A program computed the masks, and nobody has checked each of them; `forgescope annotate review` draws some to be "
    "rated. Originals and edits stand under the terms of whoever made them.",
)


def write_folder_card(
    out: Path,
    kind: FolderKind,
    rows: Sequence[dict[str, Any]],
    rejected: int | None = None,
    splits: dict[str, int] | None = None,
) -> None:
    """Write README.md, unless there is one that somebody else wrote, or whose header cannot be read.

    Args:
        out: the folder, with its settings.json.
        kind: what was made.
        rows: of metadata.jsonl.
        rejected: how many images were refused; None where none are.
        splits: images of each split, where there are several.
    """
    file = out / CARD_FILE
    header: dict[str, Any] = {"pretty_name": kind.title, "tags": list(TAGS)}
    own = NO_TERMS
    if file.is_file():
        text = file.read_text(encoding="utf-8", errors="replace")
        if MARK not in text:
            return
        try:
            header |= DatasetCard(text).data.to_dict()
        except (ValueError, YAMLError):
            return
        own = text.partition(OWN)[2].strip() or own
    card = DatasetCard.from_template(
        DatasetCardData(**header),
        template_str=(files(__package__) / TEMPLATE).read_text(encoding="utf-8"),
        mark=MARK,
        own_mark=OWN,
        own=own,
        kind=kind,
        counts=_counts(rows, rejected, splits or {}),
        settings=(out / "settings.json").read_text(encoding="utf-8").strip(),
        statistics=(out / "statistics.json").is_file(),
    )
    write_atomically(file, f"{str(card).rstrip()}\n".encode(errors="backslashreplace"))


def _counts(rows: Sequence[dict[str, Any]], rejected: int | None, splits: dict[str, int]) -> dict[str, int]:
    """Images in all, of each split, label and task, and those that were refused."""
    labels = Counter(LABELS[row["label"]] for row in rows if "label" in row)
    tasks = Counter(str(row["task"] or "no task stated") for row in rows if "task" in row)
    of_labels = {name: labels[name] for name in ("real", "fake")} if labels else {}
    refused = {} if rejected is None else {"rejected": rejected}
    return {"all": len(rows), **splits, **of_labels, **dict(sorted(tasks.items())), **refused}


__all__ = [
    "DIFFSEG",
    "INPAINTING",
    "MANIPULATIONS",
    "MARK",
    "MMFR",
    "OWN",
    "PROMPTFORGE",
    "SYNTHSCARS",
    "FolderKind",
    "write_folder_card",
]
