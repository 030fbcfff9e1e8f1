"""The evaluation of DiffSeg30k (section 4 and supplement): its Tables 2 to 8 as printed, and its protocols.

Numbers are shares. A line of three is pixel accuracy, mIoU and boundary F1; one of two is accuracy and mAP of images.

What does not agree in the paper:
  * FCN-8s reaches a semantic mIoU of 0.203 in Table 2 and 0.23 in section 4.2;
  * SegFormer's semantic accuracy is 0.952 in Table 2 and 0.953 in Table 3;
  * Table 2 prints SegFormer's binary boundary F1 of 0.678 in bold beside DeepLabv3+'s 0.761;
  * Table 8 splits DeepLabv3+'s images of Table 2 in two. Their binary accuracy lies where 43 % of the images have a
    real base, their boundary F1 where 48 % do ("approximately balanced", Figure 3). The semantic accuracy of 0.916
    would need 94 %, and the semantic mIoU is that of the AI-made half;
  * section 9 says that DeepLabv3+ does better on AI-made bases; its semantic accuracy is lower there.

What the numbers tell of what the paper leaves open:
  * accuracy counts the background: FCN-8s "tends to misclassify edits as background" and still has 0.331;
  * pooled counts of one class give (1 - accuracy) * IoU / (1 - IoU) true positives a pixel: 0.27 for SegFormer, 0.60
    for DeepLabv3+ and 0.38 for FCN-8s, on the same images. So not all three binary mIoU are of pooled counts.
    DeepLabv3+'s 0.974 is what its halves of Table 8 give when pooled; as a mean over images only 28 % would have a
    real base;
  * on AI-made bases the binary boundary F1 is 0.999, on real ones 0.506. That fits masks in which the whole of an
    AI-made base counts as made by a model, not its edits alone.
"""

from dataclasses import replace

from .edit_protocol import EditProtocol, PaperValues, pair, triple
from .perturbations import NONE

PAPER = "DiffSeg30k"
SEGFORMER, DEEPLAB, FCN = "segformer", "deeplabv3plus", "fcn8s"
Line = tuple[float, float, float]
PerTask = dict[str, Line]

# Table 2: architecture -> task.
TABLE2: dict[str, PerTask] = {
    SEGFORMER: {"binary": (0.989, 0.961, 0.678), "semantic": (0.952, 0.825, 0.532)},
    DEEPLAB: {"binary": (0.984, 0.974, 0.761), "semantic": (0.916, 0.760, 0.431)},
    FCN: {"binary": (0.838, 0.699, 0.457), "semantic": (0.331, 0.203, 0.024)},
}

# Table 3: architecture -> distortion, named as in perturbations.py -> task.
TABLE3: dict[str, dict[str, PerTask]] = {
    SEGFORMER: {
        "none": {"binary": (0.989, 0.961, 0.678), "semantic": (0.953, 0.825, 0.532)},
        "jpeg:60": {"binary": (0.705, 0.260, 0.257), "semantic": (0.665, 0.032, 0.197)},
        "jpeg:80": {"binary": (0.775, 0.291, 0.338), "semantic": (0.724, 0.188, 0.305)},
        "resize:256": {"binary": (0.565, 0.360, 0.286), "semantic": (0.616, 0.299, 0.338)},
        "resize:1024": {"binary": (0.966, 0.898, 0.548), "semantic": (0.821, 0.414, 0.296)},
    },
    DEEPLAB: {
        "none": {"binary": (0.984, 0.974, 0.761), "semantic": (0.916, 0.760, 0.431)},
        "jpeg:60": {"binary": (0.867, 0.782, 0.556), "semantic": (0.184, 0.013, 0.019)},
        "jpeg:80": {"binary": (0.907, 0.847, 0.613), "semantic": (0.190, 0.014, 0.019)},
        "resize:256": {"binary": (0.811, 0.751, 0.631), "semantic": (0.021, 0.012, 0.021)},
        "resize:1024": {"binary": (0.816, 0.729, 0.499), "semantic": (0.168, 0.168, 0.014)},
    },
}

# The pairs of editors that Tables 4 and 6 leave out of training; names as the corpus has them.
UNSEEN_PAIRS = {
    "flux-hunyuan": ("flux.1", "hunyuandit"),
    "sd2-sd3.5": ("sd2", "sd3.5-medium"),
    "glide-kolors": ("glide", "kolors"),
}

# Table 4, binary: architecture -> pair left out of training.
TABLE4: dict[str, dict[str, Line]] = {
    SEGFORMER: {
        "flux-hunyuan": (0.935, 0.930, 0.491),
        "sd2-sd3.5": (0.927, 0.926, 0.497),
        "glide-kolors": (0.957, 0.951, 0.578),
    },
    DEEPLAB: {
        "flux-hunyuan": (0.920, 0.867, 0.526),
        "sd2-sd3.5": (0.931, 0.833, 0.372),
        "glide-kolors": (0.953, 0.927, 0.648),
    },
}

# Table 5: method -> accuracy and mAP. The first two are classifiers, the others call images edited by their area.
TABLE5: dict[str, tuple[float, float]] = {
    "CNNSpot": (0.942, 0.979),
    "UniversalFakeDet": (0.860, 0.934),
    SEGFORMER: (0.997, 0.999),
    DEEPLAB: (0.980, 0.994),
}

# Table 6: method -> pair left out of training.
TABLE6: dict[str, dict[str, tuple[float, float]]] = {
    "UniversalFakeDet": {
        "flux-hunyuan": (0.768, 0.877),
        "sd2-sd3.5": (0.714, 0.817),
        "glide-kolors": (0.749, 0.844),
    },
    SEGFORMER: {"flux-hunyuan": (0.978, 0.986), "sd2-sd3.5": (0.982, 0.986), "glide-kolors": (0.987, 0.996)},
    DEEPLAB: {"flux-hunyuan": (0.935, 0.967), "sd2-sd3.5": (0.942, 0.965), "glide-kolors": (0.964, 0.985)},
}

# Table 7: mIoU of DeepLabv3+ on the masks of SDXL, by who made the edits.
TABLE7 = {"sdxl": 0.657, "sdxl-lora": 0.630}

# Table 8: DeepLabv3+ by base of the images -> task.
TABLE8: dict[str, PerTask] = {
    "real-base": {"binary": (0.964, 0.911, 0.506), "semantic": (0.918, 0.731, 0.339)},
    "ai-base": {"binary": (0.999, 0.999, 0.999), "semantic": (0.887, 0.760, 0.516)},
}

MEASURES = (
    "Not given: whether mIoU is of pooled counts, as beside the paper's number, or a mean over images, and the "
    "boundary tolerance. Sizes are those of the images."
)


def _of_task(table: dict[str, PerTask], task: str) -> dict[str, PaperValues]:
    return {architecture: triple(lines[task]) for architecture, lines in table.items()}


SEMANTIC = EditProtocol(
    name="diffseg-semantic",
    paper=PAPER,
    table="Table 2, semantic",
    data="DiffSeg30k: train.zip, its tree or Parquet files, or what forgescope construct diffseg wrote",
    corpus="diffseg30k",
    split="validation",
    groups={"diffseg30k": ()},
    metric="pixel_iou",
    task="semantic",
    values=_of_task(TABLE2, "semantic"),
    note=f"The 8:2 split is ours, by hash of the ids; the paper's is not published. {MEASURES}",
)
BINARY = replace(
    SEMANTIC, name="diffseg-binary", table="Table 2, binary", task="binary", values=_of_task(TABLE2, "binary")
)


def _robustness(base: EditProtocol) -> EditProtocol:
    """Table 3: the same images under distortions."""
    values = {}
    for architecture, lines in TABLE3.items():
        found: dict[tuple[str, str, str], float] = {}
        for distortion, line in lines.items():
            found |= triple(line[base.task], perturbation=distortion)
        values[architecture] = found
    return replace(
        base,
        name=f"diffseg-robustness-{base.task}",
        table=f"Table 3, {base.task}",
        perturbations=tuple(TABLE3[SEGFORMER]),
        values=values,
        note=(
            "Resizing gives the shorter edge this length before the model resizes the image to its own input, and the "
            "prediction is compared at this size. resize:1024 leaves images of 1024 pixels as they are, but the paper "
            f"loses accuracy: it may have changed the model's input instead. {base.note}"
        ),
    )


def _unseen(pair_name: str) -> EditProtocol:
    """Table 4: images edited by two editors that training left out."""
    editors = UNSEEN_PAIRS[pair_name]
    return replace(
        BINARY,
        name=f"diffseg-unseen-{pair_name}",
        table=f"Table 4, {' and '.join(editors)} unseen",
        editors=editors,
        values={architecture: triple(lines[pair_name]) for architecture, lines in TABLE4.items()},
        note=(
            f"For a checkpoint trained without {' and '.join(editors)} (`--ablation table4-{pair_name}`). Images "
            "whose every visible edit is by one of the two; which images the paper takes is not given. "
            f"{BINARY.note}"
        ),
    )


def _classification(pair_name: str | None) -> EditProtocol:
    """Tables 5 and 6: images as a whole."""
    base = BINARY if pair_name is None else _unseen(pair_name)
    lines = TABLE5 if pair_name is None else {method: table[pair_name] for method, table in TABLE6.items()}
    others = ", ".join(
        f"{method} {accuracy:.3f} and {precision:.3f}"
        for method, (accuracy, precision) in lines.items()
        if method not in (SEGFORMER, DEEPLAB)
    )
    return replace(
        base,
        name="diffseg-classification" + (f"-{pair_name}" if pair_name else ""),
        table="Table 5" if pair_name is None else base.table.replace("Table 4", "Table 6"),
        level="images",
        metric="image_accuracy",
        real_images="unedited photographs",
        values={method: pair(line) for method, line in lines.items() if method in (SEGFORMER, DEEPLAB)},
        note=(
            "A segmentation model calls an image edited if more than 1 % of its pixels are, and that share is its "
            "score; a classifier from a score of 0.5 on. mAP is read as the average precision of the edited images. "
            f"The paper's classifiers, accuracy and mAP: {others}. Its unedited test images are not described: ours "
            "are as many as the edited ones."
        ),
    )


LORA = replace(
    SEMANTIC,
    name="diffseg-lora",
    table="Table 7",
    groups={name: (name,) for name in TABLE7},
    of_editor="sdxl",
    subsets="variant",
    values={DEEPLAB: {(name, NONE.name, "pixel_iou"): value for name, value in TABLE7.items()}},
    note=(
        "Images with pixels of SDXL, and a second folder (--variant) with the same regions edited by SDXL with a "
        'LoRA, whose masks have the id of SDXL. "mIoU (SDXL)" is read as the IoU of that class.'
    ),
)


def _by_base(base: EditProtocol) -> EditProtocol:
    """Table 8: the images of Table 2 by what was edited, a photograph or an AI-made image."""
    values: dict[tuple[str, str, str], float] = {}
    for source, lines in TABLE8.items():
        values |= triple(lines[base.task], source)
    return replace(
        base,
        name=f"diffseg-base-{base.task}",
        table=f"Table 8, {base.task}",
        groups={source: (source,) for source in TABLE8},
        subsets="base",
        values={DEEPLAB: values},
        note=(
            "The published corpus does not say which base an image has. The paper's 0.999 on AI-made bases fits masks "
            f"that mark the whole of such an image; masks of edits alone are another task. {base.note}"
        ),
    )


PROTOCOLS: tuple[EditProtocol, ...] = (
    BINARY,
    SEMANTIC,
    *(_robustness(base) for base in (BINARY, SEMANTIC)),
    *(_unseen(name) for name in UNSEEN_PAIRS),
    *(_classification(name) for name in (None, *UNSEEN_PAIRS)),
    LORA,
    *(_by_base(base) for base in (BINARY, SEMANTIC)),
)
