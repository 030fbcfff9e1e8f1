"""The evaluation of LEGION (section 5, appendix C): its Tables 2, 3, 5 and 10 as printed, and its protocols.

Tables are in percent, as printed; `paper_value` and `values` give shares.

What does not agree in the paper:
  * Table 2 has LEGION on SynthScars by content, and Table 6 the number of test images of each. Weighted by them, its
    means are mIoU 58.13 and F1 34.54, but "no distortion" in Table 10 and the gains of the abstract (3.31 and 7.75
    points over PAL4VST) have 59.41 and 36.96. So Table 10 is of another checkpoint or setting than Table 2, or its
    first line is, and the degradations that it prints for LEGION rest on that line: from 58.13 and 34.54, noise 0.3
    would cost 2.8 % of mIoU in place of 4.9 %, and 7.0 % of F1 in place of 13.1 %.
  * The same means of PAL4VST are 56.10 and 29.21, as in Table 10. Means weighted by images are what a mean over images
    gives, so numbers are read as means over images. The paper does not say how it averages.

The release of SynthScars does not say what an image shows, so Table 2's columns cannot be made again.
"""

from collections.abc import Mapping
from dataclasses import replace

from .family_rows import FamilyProtocol
from .grounded_protocol import GroundedProtocol, GroundedValues
from .perturbations import NONE
from .protocol import Protocol

PAPER = "LEGION"
METHOD = "LEGION"
EXPERT = "PAL4VST"
PERCENT = 100
# Columns of Table 5 -> folders of UniversalFakeDetect. Each column is the plain mean over its generators: those of
# UniFD, as its own paper reports them, give its 95.25 (GANs) and 82.02 (diffusion).
FAMILIES = {
    "GANs": ("progan", "cyclegan", "biggan", "stylegan", "gaugan", "stargan"),
    "Deepfakes": ("deepfake",),
    "CRN": ("crn",),
    "IMLE": ("imle",),
    "SITD": ("seeingdark",),
    "SAN": ("san",),
    "Diffusion": (
        "guided",
        "ldm_200",
        "ldm_200_cfg",
        "ldm_100",
        "glide_100_27",
        "glide_50_27",
        "glide_100_10",
        "dalle",
    ),
}
GENERATORS = tuple(generator for members in FAMILIES.values() for generator in members)
# Columns of SynthScars in Table 2, and the test images of each in Table 6.
TEST_IMAGES = {"object": 162, "animal": 134, "human": 587, "scene": 117}
# Table 2: method -> mIoU and F1 on the four contents of SynthScars, on LOKI and on RichHF-18K.
LOCALIZATION = (*TEST_IMAGES, "loki", "richhf18k")
TABLE2: dict[str, tuple[tuple[float, float], ...]] = {
    "HiFi-Net": ((43.74, 0.45), (45.28, 0.03), (46.21, 0.84), (45.90, 0.04), (39.60, 2.41), (44.96, 0.39)),
    "TruFor": ((46.99, 14.82), (48.45, 17.57), (49.02, 15.43), (48.93, 12.64), (46.55, 16.70), (48.41, 18.03)),
    EXPERT: ((50.46, 19.25), (52.55, 21.61), (59.18, 35.70), (52.55, 19.14), (47.34, 11.58), (49.88, 14.78)),
    "Ferret": ((30.10, 20.81), (27.17, 15.78), (25.54, 13.87), (30.64, 13.79), (24.50, 18.88), (26.52, 16.22)),
    "Griffon": ((38.54, 23.40), (27.76, 18.58), (23.04, 14.81), (35.83, 14.47), (21.96, 20.41), (28.13, 18.19)),
    "LISA-v1-7B": ((35.49, 23.70), (32.44, 18.77), (34.11, 17.50), (37.56, 18.31), (31.10, 9.29), (35.90, 21.94)),
    "InternVL2-8B": ((41.08, 13.36), (41.22, 7.83), (41.21, 3.91), (41.68, 7.55), (42.03, 10.06), (39.90, 9.58)),
    "Qwen2-VL-72B": ((33.89, 23.25), (32.46, 21.98), (26.92, 14.75), (39.00, 18.17), (26.62, 20.99), (27.58, 19.02)),
    METHOD: ((54.62, 29.90), (54.52, 27.43), (60.82, 39.44), (53.67, 24.51), (48.66, 16.71), (50.07, 17.41)),
}
# Table 3: method -> ROUGE-L and CSS on SynthScars, and on LOKI.
TABLE3: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "Qwen2-VL": ((25.84, 58.15), (11.80, 37.64)),
    "LLaVA-v1.6": ((29.61, 61.75), (16.07, 41.07)),
    "InternVL2": ((25.93, 56.89), (10.10, 39.62)),
    "Deepseek-VL2": ((25.50, 47.77), (6.70, 28.76)),
    "GPT-4o": ((22.43, 53.55), (9.61, 38.98)),
    METHOD: ((39.50, 72.60), (18.55, 45.96)),
}
# Table 5: method -> accuracy on the families of UniversalFakeDetect, in the order of `FAMILIES`.
TABLE5: dict[str, tuple[float, ...]] = {
    "Co-occurrence": (75.17, 59.14, 73.06, 87.21, 68.98, 60.42, 85.53),
    "Freq-spec": (75.28, 45.18, 53.61, 50.98, 47.46, 57.12, 69.00),
    "CNNSpot": (85.29, 53.47, 86.31, 86.26, 66.67, 48.69, 58.63),
    "Patchfor": (69.97, 75.54, 72.33, 55.30, 75.14, 75.28, 72.54),
    "UniFD": (95.25, 66.60, 59.50, 72.00, 63.00, 57.50, 82.02),
    "LDGard": (89.17, 58.00, 50.74, 50.78, 62.50, 50.00, 89.79),
    "FreqNet": (94.23, 97.40, 71.92, 67.35, 88.92, 59.04, 83.34),
    "NPR": (94.16, 76.89, 50.00, 50.00, 66.94, 98.63, 94.54),
    METHOD: (97.01, 63.37, 90.78, 98.93, 79.44, 57.76, 83.10),
}
# Table 10: perturbation -> mIoU and F1 of PAL4VST, and of LEGION, on SynthScars.
TABLE10: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    NONE.name: ((56.10, 29.21), (59.41, 36.96)),
    "jpeg:50": ((55.95, 28.85), (57.78, 33.97)),
    "jpeg:35": ((55.55, 27.60), (58.04, 34.08)),
    "jpeg:20": ((55.01, 26.36), (57.91, 34.28)),
    "noise:0.1": ((56.01, 28.96), (57.31, 33.00)),
    "noise:0.2": ((54.42, 25.16), (56.77, 32.52)),
    "noise:0.3": ((52.91, 21.11), (56.49, 32.12)),
    "blur:5": ((55.62, 27.76), (57.75, 33.78)),
    "blur:9": ((54.58, 25.23), (57.27, 32.63)),
    "blur:15": ((53.24, 22.30), (57.50, 33.52)),
}
# Table -> its lines, what its pairs of columns are about, and the two metrics of a pair.
PAIRED: dict[str, tuple[Mapping[str, tuple[tuple[float, float], ...]], tuple[str, ...], tuple[str, str]]] = {
    "table2": (TABLE2, LOCALIZATION, ("miou", "f1")),
    "table3": (TABLE3, ("synthscars", "loki"), ("rouge_l", "css")),
    "table10": (TABLE10, (EXPERT, METHOD), ("miou", "f1")),
}
MIOU, F1 = ("pixel_iou", "macro"), ("pixel_f1", "forged")
ROUGE_L, CSS = ("text_rouge_l", "all"), ("text_css", "all")


def paper_value(table: str, row: str, column: str, metric: str) -> float | None:
    """Look up what the paper reports for any method.

    Args:
        table: `table2`, `table3`, `table5` or `table10`.
        row: the method; of Table 10 the perturbation, such as `jpeg:50` or `none`.
        column: Table 2: a content of SynthScars, `loki` or `richhf18k`; Table 3: `synthscars` or `loki`; Table 5: a
            family; Table 10: the method.
        metric: `miou`, `f1`, `rouge_l`, `css` or `accuracy`.

    Returns:
        0 to 1, or None where the paper has no such number.
    """
    if table == "table5":
        known = row in TABLE5 and column in FAMILIES and metric == "accuracy"
        return _share(TABLE5[row][list(FAMILIES).index(column)]) if known else None
    if table not in PAIRED or row not in PAIRED[table][0]:
        return None
    lines, columns, metrics = PAIRED[table]
    if column not in columns or metric not in metrics:
        return None
    return _share(lines[row][columns.index(column)][metrics.index(metric)])


def weighted_mean(method: str) -> tuple[float, float]:
    """Average a method's mIoU and F1 over the contents of SynthScars, weighted by their test images; in percent."""
    lines = list(zip(TABLE2[method], TEST_IMAGES.values(), strict=False))
    total = sum(TEST_IMAGES.values())
    miou, f1 = (sum(line[place] * count for line, count in lines) / total for place in (0, 1))
    return miou, f1


def _share(percent: float) -> float:
    return round(percent / PERCENT, 4)


def _values(miou_and_f1: tuple[float, float], perturbation: str = NONE.name) -> GroundedValues:
    return {(*which, perturbation): _share(value) for which, value in zip((MIOU, F1), miou_and_f1, strict=True)}


def _text_values(rouge_and_css: tuple[float, float]) -> GroundedValues:
    return {(*which, NONE.name): _share(value) for which, value in zip((ROUGE_L, CSS), rouge_and_css, strict=True)}


INCONSISTENT = (
    "The paper's number for undamaged SynthScars is that of Table 10 and the abstract (mIoU 0.5941, F1 0.3696); the "
    "columns of Table 2, weighted by the images of each, give 0.5813 and 0.3454. So Table 10 may be of another "
    "checkpoint, and its degradations rest on its own first line."
)
READING = (
    "mIoU is the mean of the IoU of artifact and background, F1 that of the artifact. The paper does not say how it "
    "averages: its tables fit a mean over images (reduction image) of one mask an image (targets union), beside which "
    "its numbers stand."
)
SYNTHSCARS = GroundedProtocol(
    name="legion-synthscars",
    paper=PAPER,
    table="Tables 2, 3 and 10",
    data="SynthScars: its zip, or test/images and test/annotations from it",
    corpus="synthscars",
    config="grounded",
    split="test",
    groups={"synthscars": ()},
    metric="pixel_iou",
    phrases=True,
    texts=True,
    rasterizer="fillpoly",
    values={**_values(TABLE10[NONE.name][1]), **_text_values(TABLE3[METHOD][0])},
    paper_note=INCONSISTENT,
    note=f"{READING} {INCONSISTENT} The release has no content types, so Table 2's columns cannot be made again.",
)
ROBUSTNESS = replace(
    SYNTHSCARS,
    name="legion-robustness",
    table="Table 10",
    perturbations=tuple(TABLE10),
    texts=False,
    values={key: value for name, line in TABLE10.items() for key, value in _values(line[1], name).items()},
    note=f"{READING} {INCONSISTENT} Noise is clipped and rounded to 8 bits.",
)
FILTERED = "The paper keeps images of realistic style alone and does not list them; here all are taken."
LOKI = GroundedProtocol(
    name="legion-loki",
    paper=PAPER,
    table="Tables 2 and 3",
    data="LOKI: open_ended_vqa.json and media_data/image or its zip",
    corpus="loki",
    config="open_ended",
    split="test",
    groups={"loki": ()},
    metric="pixel_iou",
    phrases=True,
    texts=True,
    rasterizer="boxes",
    values={**_values(TABLE2[METHOD][LOCALIZATION.index("loki")]), **_text_values(TABLE3[METHOD][1])},
    paper_note=FILTERED,
    note=(
        f"{READING} {FILTERED} Masks are boxes, both corners included. Explanations are compared with LOKI's texts on "
        "the whole image and then on its regions, joined by blanks; the paper does not say how it joins them."
    ),
)
RICHHF = GroundedProtocol(
    name="legion-richhf",
    paper=PAPER,
    table="Table 2",
    data="RichHF-18K: its TFRecord files and the images of Pick-a-Pic, or Parquet files with both",
    corpus="richhf18k",
    split="test",
    groups={"richhf18k": ()},
    options={"artifact_threshold": 0},
    metric="pixel_iou",
    rasterizer="artifact_map > 0",
    values=_values(TABLE2[METHOD][LOCALIZATION.index("richhf18k")]),
    paper_note=FILTERED,
    note=(
        f"{READING} {FILTERED} A pixel is an artifact where the heat map of artifacts is above 0, as in the authors' "
        "code. Which split the paper takes is not given."
    ),
)
DETECTION = FamilyProtocol(
    name="legion-detection",
    paper=PAPER,
    table="Table 5",
    data=(
        "UniversalFakeDetect (https://github.com/WisconsinAIVision/UniversalFakeDetect): "
        "<generator>[/<class>]/{0_real,1_fake}, and diffusion_datasets"
    ),
    corpus="cnnspot",
    config="universalfakedetect",
    split="test",
    options={"pair_reals": True},
    groups={generator: (generator,) for generator in GENERATORS},
    families=FAMILIES,
    paper_values={family: _share(percent) for family, percent in zip(FAMILIES, TABLE5[METHOD], strict=True)},
    note=(
        "Accuracy at a score of 0.5 of each generator, then the plain mean over the generators of a family. Diffusion "
        "models are compared with the photographs of their folder (laion or imagenet), as in UniversalFakeDetect."
    ),
)

PROTOCOLS: tuple[Protocol, ...] = (SYNTHSCARS, LOKI, RICHHF, DETECTION, ROBUSTNESS)
