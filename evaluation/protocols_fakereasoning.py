"""The evaluation of FakeReasoning (section 5, appendix A): its Tables 2 to 8 as printed, and its protocols.

Tables are in percent where the paper's are; BLEU, ROUGE-L and CSS are shares. `paper_value` gives shares.

What does not agree in the paper:
  * the whole model has an average of 91.84 and 88.90 on GANs in Table 4, but 90.98 and 87.18 in Tables 2, 3, 5 and 6;
  * rows 2 and 3 of Table 4, and 1 and 2 of Table 6, have averages that are the mean of DM and GAN weighted 2 to 1, as
    if there were twice as many diffusion models; all other averages are the plain mean. Tables 4 and 6 seem to be
    measured on other sets, so no protocol compares with them;
  * Table 7's nine fluctuations have a mean of 0.756 %, printed 0.75 % in Table 8 and section 5.4.

What the numbers tell of what the paper leaves open:
  * the accuracy at temperature 0.2 in Table 8 is that of Table 2, so it is that of one round, and the nine later
    rounds give the fluctuation;
  * at temperature 0.1 the accuracy is 1.38 points below that at 0.2, the fluctuation 0.54 %: the baseline is round 0
    of the same temperature, not of 0.2;
  * the other accuracies of Table 8 end in a full tenth of a percent: they may be of fewer images;
  * six of the nine fluctuations of Table 7 are 0.55 % and two 1.10 %, as one and two of 200 images would be, relative
    to an accuracy of 91 % (1.30 % fits no such step). Whether the paper means points of accuracy or a share of that of
    round 0 is not said: ours are points.
"""

from collections.abc import Mapping
from dataclasses import replace

from .protocol import AVERAGE
from .reasoning_protocol import ReasoningProtocol
from .reasoning_rows import ACCURACY, FLUCTUATION, MEAN_OF_ROUNDS
from .text_scores import TEXT_METRICS

PAPER = "FakeReasoning"
METHOD = "FakeReasoning"
DIFFUSION, GAN = "DM", "GAN"
# The columns of Table 2 by family, named as the folders of the evaluation sets.
FAMILIES = {
    DIFFUSION: ("glide", "guided", "stablediffusion", "dalle3", "if"),
    GAN: ("biggan", "gaugan", "stylegan2", "styleganxl", "gigagan"),
}
GENERATORS = (*FAMILIES[DIFFUSION], *FAMILIES[GAN])
# The evaluation sets of the release of August 2025, and which of them are of GANs.
FAMILIES_V2 = {
    DIFFUSION: ("stablediffusion", "dalle3", "if", "midjourney", "kandinsky", "pixart", "flux", "gpt4o"),
    GAN: ("styleganxl", "gigagan"),
}
PERCENT = 100

# Table 2, accuracy in percent: method -> the ten generators and their average.
TABLE2: dict[str, tuple[float, ...]] = {
    "CNNDetection": (51.75, 43.60, 85.55, 79.45, 73.10, 47.90, 44.60, 47.70, 59.20, 49.05, 58.19),
    "DIRE": (55.00, 50.90, 99.80, 60.20, 94.70, 50.20, 50.60, 47.80, 56.90, 74.10, 64.02),
    "UniFD": (81.55, 63.80, 94.75, 91.30, 84.60, 69.45, 82.20, 55.65, 73.60, 68.70, 76.56),
    "DE-FAKE": (57.45, 52.33, 50.10, 61.40, 66.45, 43.30, 42.55, 46.90, 66.05, 67.60, 55.41),
    "AntifakePrompt": (94.70, 70.05, 95.20, 91.05, 87.20, 69.30, 84.25, 61.10, 69.45, 63.70, 78.60),
    "AIDE": (93.50, 74.15, 98.15, 90.00, 75.00, 86.75, 83.30, 58.95, 82.35, 75.25, 81.74),
    METHOD: (97.70, 87.20, 99.20, 92.30, 97.50, 89.30, 88.90, 81.80, 89.10, 86.80, 90.98),
}

# Table 3: method -> accuracy in percent on diffusion models, on GANs and their average; BLEU-1, BLEU-2, ROUGE-L, CSS.
TABLE3: dict[str, tuple[float, ...]] = {
    "LLaVA-1.5": (71.94, 72.34, 72.14, 0.23, 0.10, 0.20, 0.54),
    "Qwen-2.5-VL": (65.75, 57.72, 61.74, 0.22, 0.09, 0.19, 0.56),
    "InstructBLIP": (56.86, 61.71, 59.28, 0.08, 0.02, 0.12, 0.49),
    "InternVL-2.5": (71.42, 60.94, 66.18, 0.14, 0.08, 0.16, 0.58),
    "GPT-4o": (88.06, 84.80, 86.43, 0.28, 0.14, 0.22, 0.63),
    "GeminiPro": (66.00, 71.60, 68.80, 0.17, 0.09, 0.18, 0.51),
    METHOD: (94.78, 87.18, 90.98, 0.36, 0.24, 0.34, 0.77),
}

# Tables 4, 5 and 6: variant -> accuracy in percent (diffusion models, GANs, average) and CSS. Rows are named as
# `forgescope train fakereasoning --ablation table5-lm` names them; the first of Table 4 is LLaVA-1.5 as it is.
ABLATIONS: dict[str, dict[str, tuple[float, float, float, float]]] = {
    "table4": {
        "llava": (71.94, 72.34, 72.14, 0.54),
        "without-reasoning": (89.33, 78.00, 85.56, 0.42),
        "without-chain-of-thought": (92.33, 79.67, 88.11, 0.64),
        "chain-of-thought": (94.78, 88.90, 91.84, 0.77),
    },
    "table5": {
        "lm": (92.33, 79.67, 86.00, 0.61),
        "lm-contrast": (93.75, 80.83, 87.29, 0.75),
        "lm-mapper": (96.00, 81.67, 88.84, 0.63),
        "all": (94.78, 87.18, 90.98, 0.77),
    },
    "table6": {
        "projection": (93.58, 83.33, 90.17, 0.64),
        "llm": (93.25, 79.33, 88.61, 0.71),
        "both": (94.78, 87.18, 90.98, 0.77),
    },
}
COLUMNS = (DIFFUSION, GAN, AVERAGE, "css")

# Table 7: fluctuation of rounds 1 to 9, in percent.
TABLE7 = (1.30, 0.55, 1.10, 0.55, 0.55, 1.10, 0.55, 0.55, 0.55)
# Table 8: temperature -> fluctuation and accuracy, in percent.
TABLE8 = {
    0.1: (0.54, 89.60),
    0.2: (0.75, 90.98),
    0.3: (3.19, 89.50),
    0.4: (1.39, 88.70),
    0.5: (2.19, 89.20),
    0.6: (3.10, 88.40),
}
TEMPERATURE = 0.2  # section 5.1
ROUNDS = 10  # section 5.4


def paper_value(table: str, row: str, column: str = AVERAGE) -> float | None:
    """Look up what the paper reports in an ablation.

    Args:
        table: `table4`, `table5` or `table6`.
        row: a variant, as `ABLATIONS` names them.
        column: `DM`, `GAN` or `average`, accuracy; or `css`.

    Returns:
        0 to 1, or None where the paper has no such number.
    """
    numbers = ABLATIONS.get(table, {}).get(row)
    if numbers is None or column not in COLUMNS:
        return None
    number = numbers[COLUMNS.index(column)]
    return number if column == "css" else _share(number)


def _share(percent: float) -> float:
    return round(percent / PERCENT, 4)


def _detection_values(method: str = METHOD) -> dict[tuple[str, str, str | None], float]:
    """Accuracies of a method: generators and average of Table 2, families of Table 3 (the means of Table 2)."""
    columns = {
        (source, ACCURACY): percent for source, percent in zip((*GENERATORS, AVERAGE), TABLE2[method], strict=True)
    }
    columns |= {(family, ACCURACY): percent for family, percent in zip(FAMILIES, TABLE3[method][:2], strict=True)}
    return {(source, metric, None): _share(percent) for (source, metric), percent in columns.items()}


def _groups(families: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {generator: (generator,) for members in families.values() for generator in members}


UNPARSED_NOTE = (
    "Answers without a verdict count as wrong; the authors' script leaves them out, and those without reasons "
    "(--unparsed drop)."
)
DETECTION = ReasoningProtocol(
    name="mmfr-detection",
    paper=PAPER,
    table="Tables 2 and 3",
    data="MMFR: its tar parts, or evaluation_sets/<generator>/{0_real,1_fake} with <generator>_reasoning.json",
    corpus="mmfr",
    config="annotations",
    split="test",
    options={"preset": "v1"},
    groups=_groups(FAMILIES),
    families=FAMILIES,
    temperatures=(TEMPERATURE,),
    values=_detection_values(),
    note=(
        f"{UNPARSED_NOTE} These are the generators of the paper; the data released in August 2025 have others, for "
        "which mmfr-detection-v2 is. The authors' script takes 10 images of each class unless told otherwise, all are "
        "taken here."
    ),
)
DETECTION_V2 = replace(
    DETECTION,
    name="mmfr-detection-v2",
    table="Tables 2 and 3, generators of the release of August 2025",
    options={"preset": "v2"},
    groups=_groups(FAMILIES_V2),
    families=FAMILIES_V2,
    values={},
    note=f"{UNPARSED_NOTE} The paper at hand has no numbers for these generators.",
)
REASONS_NOTE = (
    "Reasons are compared with the annotated attributes, joined in the order of their names; images without any are "
    "left out. BLEU splits at white space and is not smoothed; ROUGE-L is an F1 of stemmed words. Means over images, "
    "then over the generators; the paper does not say how it averages. An answer without reasons counts 0. The paper "
    "does not name the embeddings of CSS, its script takes CLIP ViT-L/14-336."
)
REASONING = replace(
    DETECTION,
    name="mmfr-reasoning",
    table="Table 3",
    texts=True,
    values={
        **_detection_values(),
        **{
            (AVERAGE, f"text_{metric}", None): value
            for metric, value in zip(TEXT_METRICS, TABLE3[METHOD][3:], strict=True)
        },
    },
    note=f"{REASONS_NOTE} {DETECTION.note}",
)
REASONING_V2 = replace(
    DETECTION_V2,
    name="mmfr-reasoning-v2",
    table="Table 3, generators of the release of August 2025",
    texts=True,
    note=f"{REASONS_NOTE} {DETECTION_V2.note}",
)
FLUCTUATION_NOTE = (
    "Fluctuation is read as the distance of a round's accuracy from that of round 0 at the same temperature, in "
    "points; the paper does not define it. image_verdict_changes, the share of images with another verdict, is ours."
)
CONSISTENCY = replace(
    DETECTION,
    name="mmfr-consistency",
    table="Table 7",
    rounds=ROUNDS,
    values={
        (AVERAGE, ACCURACY, "round 0"): _share(TABLE8[TEMPERATURE][1]),
        **{(AVERAGE, FLUCTUATION, f"round {place}"): _share(value) for place, value in enumerate(TABLE7, start=1)},
        (AVERAGE, FLUCTUATION, MEAN_OF_ROUNDS): _share(TABLE8[TEMPERATURE][0]),
    },
    note=f"{FLUCTUATION_NOTE} {DETECTION.note}",
)
TEMPERATURES = replace(
    CONSISTENCY,
    name="mmfr-temperature",
    table="Table 8",
    temperatures=tuple(TABLE8),
    values={
        (AVERAGE, metric, f"temperature {temperature:g}"): _share(value)
        for temperature, numbers in TABLE8.items()
        for metric, value in zip((FLUCTUATION, ACCURACY), numbers, strict=True)
    },
    note=f"Accuracy is that of round 0. {FLUCTUATION_NOTE} {DETECTION.note}",
)

PROTOCOLS: tuple[ReasoningProtocol, ...] = (
    DETECTION,
    DETECTION_V2,
    REASONING,
    REASONING_V2,
    CONSISTENCY,
    TEMPERATURES,
)
