"""Every table of the five papers: the protocols that run it, or why none does.

Figures and sections stand here where they alone report a measurement.
"""

from dataclasses import dataclass

from . import protocols_diffseg, protocols_fakereasoning, protocols_gamma, protocols_iclnet, protocols_legion
from .protocol import Protocol


@dataclass(frozen=True)
class PaperTable:
    """A table, figure or section of a paper.

    Args:
        place: as the paper calls it, such as `Table 2`.
        content: what it shows, half a sentence.
        protocols: names of the protocols that run it, or parts of it.
        reason: why no protocol runs it, or what of it none runs; "" where nothing is left.
    """

    place: str
    content: str
    protocols: tuple[str, ...] = ()
    reason: str = ""


OTHER_METHODS = "Lines of other methods need their code and weights; they stand as printed in {}."
NOT_MEASURED = "Nothing is measured: {}."


def _others(module: str) -> str:
    return OTHER_METHODS.format(f"evaluation/{module}.py")


def _nothing(what: str) -> str:
    return NOT_MEASURED.format(what)


def _named(protocols: tuple[Protocol, ...], beginning: str) -> tuple[str, ...]:
    return tuple(one.name for one in protocols if one.name.startswith(beginning))


ICLNET = (
    PaperTable(
        "Section 4.3",
        "masks rated by people",
        reason="A human study: `forgescope annotate review` and `annotate tally` repeat it with your raters.",
    ),
    PaperTable("Table 1", "pixels, by editing model", ("iclnet-localization",), _others("protocols_iclnet")),
    PaperTable("Table 2", "the same under JPEG and crops", ("iclnet-robustness",)),
    PaperTable(
        "Table 3",
        "editing models that training left out",
        ("iclnet-localization", *_named(protocols_iclnet.PROTOCOLS, "iclnet-unseen-")),
    ),
    PaperTable(
        "Table 4",
        "ablations",
        reason="Training runs: `forgescope train iclnet --set model.use_contrastive_loss=false`, "
        "`model.use_noise_stream=false` or `model.use_frozen_stream=false`, then iclnet-localization.",
    ),
)
DIFFSEG = (
    PaperTable("Table 1", "corpora compared", reason=_nothing("properties of data sets")),
    PaperTable("Table 2", "pixels, edited or by which editor", ("diffseg-binary", "diffseg-semantic")),
    PaperTable("Table 3", "the same under distortions", _named(protocols_diffseg.PROTOCOLS, "diffseg-robustness-")),
    PaperTable("Table 4", "editors that training left out", _named(protocols_diffseg.PROTOCOLS, "diffseg-unseen-")),
    PaperTable(
        "Table 5",
        "images as a whole",
        ("diffseg-classification",),
        "CNNSpot and UniversalFakeDet are not included; any image classifier of transformers can be measured.",
    ),
    PaperTable(
        "Table 6",
        "images as a whole, editors that training left out",
        _named(protocols_diffseg.PROTOCOLS, "diffseg-classification-"),
        "UniversalFakeDet is not included; any image classifier of transformers can be measured.",
    ),
    PaperTable("Table 7", "edits by SDXL with and without a LoRA", ("diffseg-lora",)),
    PaperTable("Table 8", "real and AI-made bases", _named(protocols_diffseg.PROTOCOLS, "diffseg-base-")),
    PaperTable(
        "Figure 5", "confusion matrix of the editors", ("diffseg-semantic",), "Drawn by --plot; it has no numbers."
    ),
)
LEGION = (
    PaperTable("Table 1", "corpora compared", reason=_nothing("properties of data sets")),
    PaperTable(
        "Table 2",
        "artifacts on three corpora",
        ("legion-synthscars", "legion-loki", "legion-richhf"),
        "The release of SynthScars does not say what an image shows, so its four columns become one. "
        + _others("protocols_legion"),
    ),
    PaperTable(
        "Table 3",
        "explanations",
        ("legion-synthscars", "legion-loki"),
        "CSS needs --embedder; the paper's is paraphrase-MiniLM-L6-v2.",
    ),
    PaperTable(
        "Table 4",
        "preference of people before and after refinement",
        reason="Needs HPS, a model of others, and the 200 images of SynthScars that the paper drew and does not list: "
        "the loops of `forgescope refine` take a function as `preference` in Python and keep its scores.",
    ),
    PaperTable("Table 5", "fake images by family of generators", ("legion-detection",), _others("protocols_legion")),
    PaperTable("Table 6", "contents of SynthScars", reason=_nothing("counts; `forgescope data inspect synthscars`")),
    PaperTable("Table 7", "kinds of artifacts in SynthScars", reason=_nothing("counts; the release has no kinds")),
    PaperTable("Table 8", "definitions of artifacts", reason=_nothing("instructions for annotators")),
    PaperTable("Table 9", "prompt of the filter", reason=_nothing("a prompt; `forgescope construct synthscars`")),
    PaperTable("Table 10", "artifacts under distortions", ("legion-robustness",), _others("protocols_legion")),
)
_TRAINED = "Training runs: `forgescope train {} --ablation {}`, then {}."
_OTHER_SETS = " Table {} seems to be measured on other sets than Table 2, so its numbers stand in no protocol."
FAKEREASONING = (
    PaperTable("Table 1", "evaluation sets", reason=_nothing("counts; `forgescope data inspect mmfr`")),
    PaperTable("Table 2", "fake images by generator", ("mmfr-detection",), _others("protocols_fakereasoning")),
    PaperTable(
        "Table 3",
        "verdicts and reasons",
        ("mmfr-reasoning",),
        "Answers of other models are scored with --answers. " + _others("protocols_fakereasoning"),
    ),
    PaperTable(
        "Table 4",
        "ablation of the reasoning",
        reason=_TRAINED.format("fakereasoning", "table4-without-reasoning", "mmfr-reasoning") + _OTHER_SETS.format(4),
    ),
    PaperTable(
        "Table 5",
        "ablation of the losses",
        reason=_TRAINED.format("fakereasoning", "table5-lm", "mmfr-reasoning"),
    ),
    PaperTable(
        "Table 6",
        "ablation of what is trained",
        reason=_TRAINED.format("fakereasoning", "table6-projection", "mmfr-reasoning") + _OTHER_SETS.format(6),
    ),
    PaperTable("Table 7", "verdicts of ten rounds", ("mmfr-consistency",)),
    PaperTable("Table 8", "the same at six temperatures", ("mmfr-temperature",)),
)
_ABLATION_SETS = (
    " Measured on GenImage and images of GPT-4o in shares that are not given, so no protocol has its numbers."
)
GAMMA = (
    PaperTable("Table 1", "labels of the training images", reason=_nothing("rules; `load_corpus` follows them")),
    PaperTable("Table 2", "fake images of GenImage", ("gamma-genimage",), _others("protocols_gamma")),
    PaperTable(
        "Table 3",
        "fake images of four other sets",
        ("gamma-synthwildx", "gamma-openai4o", "gamma-gptimgeval", "gamma-sharegpt4o"),
        _others("protocols_gamma"),
    ),
    *(
        PaperTable(
            f"Table {number}",
            f"ablation of {what}",
            reason=_TRAINED.format("gamma", example, "gamma-genimage") + _ABLATION_SETS,
        )
        for number, what, example in (
            (4, "the heads", "table4-classification"),
            (5, "the labels", "table5-fake-fake"),
            (6, "the manipulations", "table6-inpainting"),
            (7, "the weights of the losses", "table7-2-1-1"),
            (8, "the cross-attention", "table8-none"),
        )
    ),
    PaperTable(
        "Figure 4", "GenImage under compression", ("gamma-degradation",), "It has no numbers and names no qualities."
    ),
)

# Paper, as its protocols name it -> its tables.
PAPER_TABLES: dict[str, tuple[PaperTable, ...]] = {
    protocols_iclnet.PAPER: ICLNET,
    protocols_diffseg.PAPER: DIFFSEG,
    protocols_legion.PAPER: LEGION,
    protocols_fakereasoning.PAPER: FAKEREASONING,
    protocols_gamma.PAPER: GAMMA,
}
# Protocols of no table, and why they are there.
BEYOND_THE_PAPERS = {
    "mmfr-detection-v2": "Generators of the release of August 2025, which the paper at hand does not have.",
    "mmfr-reasoning-v2": "Generators of the release of August 2025, which the paper at hand does not have.",
}
