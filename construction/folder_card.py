"""The dataset card of a folder that `forgescope construct` made: counts, how to load it, limits, terms."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData

from .image_folder import write_atomically

CARD_FILE = "README.md"
TEMPLATE = "folder_card.md"
TAGS = ("forgescope", "image-forensics")
# A card without this line is somebody's own.
MARK = "<!-- written by forgescope, replaced by the next run; delete this line to keep your changes -->"
# Labels of rows, as they are written and as numbers.
LABELS = {"real": "real", "fake": "fake", 0: "real", 1: "fake"}


@dataclass(frozen=True)
class FolderKind:
    """What a construction makes.

    Args:
        verb: of `forgescope construct`.
        title: heading.
        description: a sentence.
        load: Python that reads the folder, from within it.
        citation: BibTeX of the paper.
    """

    verb: str
    title: str
    description: str
    load: str
    citation: str


DIFFSEG = FolderKind(
    "diffseg",
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
    "mmfr",
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
    "synthscars",
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


def write_folder_card(out: Path, kind: FolderKind, rows: Sequence[dict[str, Any]], rejected: int) -> None:
    """Write README.md, unless there is one that somebody else wrote.

    Args:
        out: the folder.
        kind: what was made.
        rows: of metadata.jsonl.
        rejected: how many images were refused.
    """
    file = out / CARD_FILE
    if file.is_file() and MARK not in file.read_text(encoding="utf-8", errors="replace"):
        return
    labels = Counter(LABELS[row["label"]] for row in rows)
    counts = {"all": len(rows), "real": labels["real"], "fake": labels["fake"], "rejected": rejected}
    card = DatasetCard.from_template(
        DatasetCardData(pretty_name=kind.title, tags=list(TAGS)),
        template_str=(files(__package__) / TEMPLATE).read_text(encoding="utf-8"),
        mark=MARK,
        kind=kind,
        counts=counts,
    )
    write_atomically(file, f"{str(card).rstrip()}\n".encode())


__all__ = ["DIFFSEG", "MARK", "MMFR", "SYNTHSCARS", "FolderKind", "write_folder_card"]
