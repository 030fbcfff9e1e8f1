"""Options of `forgescope evaluate`, in the order of its help."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from forgescope.cli.completion import complete_by, complete_preset
from forgescope.cli.protocols import complete_protocol

# Page of `--format html` where `--html` names no other.
PAGE = Path("forgescope-evaluation.html")


class ReportFormat(str, Enum):
    """What is made of a run."""

    TEXT = "text"
    HTML = "html"


def page_file(report_format: ReportFormat, html: Path | None) -> Path | None:
    """File of the web page; None: none is wanted."""
    return PAGE if html is None and report_format is ReportFormat.HTML else html


Data = Annotated[
    Path,
    typer.Option(
        help="Folder with metadata.jsonl, or images/ and masks/, or Tp/, Gt/ and Au/, or, without masks, real/ and "
        "fake/; or the protocol's data."
    ),
]
Model = Annotated[
    str | None, typer.Argument(help="iclnet-mini, a checkpoint folder or a Hub id; none with --answers.")
]
Protocol = Annotated[
    str | None,
    typer.Option(
        help="A table of a paper, such as diffseg-semantic (forgescope protocols lists them).",
        autocompletion=complete_protocol,
    ),
]
Real = Annotated[Path | None, typer.Option(help="With --protocol: photographs, where its data are fake images only.")]
PerClass = Annotated[
    int | None, typer.Option(min=1, help="With --protocol: draw so many images, not as many as the paper.")
]
Against = Annotated[
    str | None, typer.Option(help="With diffseg protocols: a second checkpoint, measured on the same images.")
]
FakeClass = Annotated[
    str | None, typer.Option(help="With diffseg-classification: a foreign classifier's class of fake images.")
]
Variant = Annotated[Path | None, typer.Option(help="With diffseg-lora: the same images edited by SDXL with a LoRA.")]
Bases = Annotated[Path | None, typer.Option(help="With diffseg-base: CSV with the columns id and base (real or ai).")]
Tolerance = Annotated[
    str | None, typer.Option(help="With diffseg protocols: of the boundary F1, 2px (default) or 0.75%.")
]
Answers = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="With mmfr and legion protocols: JSON lines that keep the answers, or hold them all."
    ),
]
Unparsed = Annotated[
    str | None, typer.Option(help="With mmfr protocols: answers without a verdict are wrong (default) or drop.")
]
Embedder = Annotated[
    str | None, typer.Option(help="Where explanations are compared: text encoder of CSS, a folder or a Hub id.")
]
Targets = Annotated[
    str | None, typer.Option(help="With legion protocols: masks of images, union, or per_phrase; default: both.")
]
Matching = Annotated[
    str | None, typer.Option(help="With legion protocols: phrases are paired by best IoU (default) or by their order.")
]
Rasterizer = Annotated[
    str | None, typer.Option(help="With SynthScars: masks of polygons, by fillpoly (default) or coco.")
]
Cleaning = Annotated[
    str | None, typer.Option(help="With legion protocols: texts are cleaned up plain (default) or as the authors do.")
]
LongestEdge = Annotated[
    int | None,
    typer.Option(min=1, help="With LEGION: long side of an image for SAM, pixels; default: the checkpoint's, 1024."),
]
Split = Annotated[
    str | None, typer.Option(help="train, validation or test; with iclnet, diffseg and legion protocols also all.")
]
By = Annotated[
    str | None, typer.Option(help="Rows for each source (default) or for each task.", autocompletion=complete_by)
]
Preset = Annotated[
    str | None,
    typer.Option(help="iclnet, imdlbenco, trufor, photoholmes, focal, mvss or lisa.", autocompletion=complete_preset),
]
Reduction = Annotated[str | None, typer.Option(help="image, batch or pooled; with legion protocols image or dataset.")]
Average = Annotated[str | None, typer.Option(help="forged or macro.")]
Authentic = Annotated[str | None, typer.Option(help="Images without forgery: skip, zero or one.")]
Polarity = Annotated[str | None, typer.Option(help="normal, inverted or permute.")]
Threshold = Annotated[str | None, typer.Option(help="Pixel probability, 0 to 1, or best.")]
BorderIgnore = Annotated[
    str | None, typer.Option(metavar="E,D", help="Ignore mask borders: erode and dilate, odd, in pixels.")
]
MetricBatchSize = Annotated[int | None, typer.Option(min=1, help="Images of a batch for --reduction batch.")]
Perturb = Annotated[
    str | None,
    typer.Option(help="table2, or jpeg:80, crop:20, resize:256, noise:0.1, blur:5, jpeg:80+crop:20, with commas."),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of random crops and noise, and of a protocol's draw.")]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Images in one forward pass.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU if there is one.")]
Dtype = Annotated[
    str, typer.Option(help="float32 or bfloat16; auto: float32, and of a model that writes texts as it was saved.")
]
Resamples = Annotated[int, typer.Option(min=0, help="Bootstrap draws of the intervals; 0: none.")]
JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the rows as JSON; -: print them alone.")
]
Markdown = Annotated[Path | None, typer.Option(help="Write the tables as Markdown.")]
Format = Annotated[
    ReportFormat, typer.Option("--format", help=f"Tables alone, or also a web page, {PAGE} if --html names no other.")
]
Html = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Write tables, rows, chart and images as one web page."),
]
Plot = Annotated[
    Path | None,
    typer.Option(
        help="Write a chart (PNG, SVG or PDF), with legion protocols a folder with it; needs forgescope[plot]."
    ),
]
Calibrate = Annotated[
    float | None, typer.Option(metavar="RATE", help="Choose thresholds for this share of false alarms.")
]
Save = Annotated[bool, typer.Option("--save", help="With --calibrate: write the thresholds into the checkpoint.")]
