"""`forgescope evaluate`: measure a checkpoint on a folder of images with masks, or by the protocol of a paper."""

from typing import TYPE_CHECKING, Any

from forgescope.cli import evaluate_options as options
from forgescope.cli.output import STANDARD_OUTPUT, json_writer, make_places

if TYPE_CHECKING:
    from forgescope.evaluation.protocol import Protocol

MASK_RULES = {"reduction", "authentic", "average", "polarity", "threshold", "border_ignore", "metric_batch_size"}
# What runs of each kind take beside the options of all; anything else is refused.
TAKEN = {
    "folder": {"split", "by", "preset", "perturb", "calibrate", "save"} | MASK_RULES,
    "images": {"real", "per_class", "perturb"},
    "edits": {"split", "real", "variant", "bases", "against", "fake_class", "tolerance", "per_class", "perturb"},
    "localization": {"split", "per_class", "perturb"},
    "reasoning": {"answers", "unparsed", "embedder", "per_class"},
    "grounded": {"answers", "embedder", "targets", "matching", "rasterizer", "cleaning", "longest_edge"}
    | {"split", "reduction", "authentic", "per_class", "perturb"},
    "families": {"answers", "per_class"},
}
# Endings of a chart; none: the runs that write several pictures make a folder.
CHARTS = ("", ".png", ".svg", ".pdf")
# Kinds whose answers are kept in a file, and may be another system's.
ANSWERED = ("reasoning", "grounded", "families")


def evaluate(
    data: options.Data,
    model: options.Model = None,
    protocol: options.Protocol = None,
    real: options.Real = None,
    per_class: options.PerClass = None,
    against: options.Against = None,
    fake_class: options.FakeClass = None,
    variant: options.Variant = None,
    bases: options.Bases = None,
    tolerance: options.Tolerance = None,
    answers: options.Answers = None,
    unparsed: options.Unparsed = None,
    embedder: options.Embedder = None,
    targets: options.Targets = None,
    matching: options.Matching = None,
    rasterizer: options.Rasterizer = None,
    cleaning: options.Cleaning = None,
    longest_edge: options.LongestEdge = None,
    split: options.Split = None,
    by: options.By = None,
    preset: options.Preset = None,
    reduction: options.Reduction = None,
    average: options.Average = None,
    authentic: options.Authentic = None,
    polarity: options.Polarity = None,
    threshold: options.Threshold = None,
    border_ignore: options.BorderIgnore = None,
    metric_batch_size: options.MetricBatchSize = None,
    perturb: options.Perturb = None,
    seed: options.Seed = 0,
    batch_size: options.BatchSize = None,
    device: options.Device = None,
    dtype: options.Dtype = "auto",
    resamples: options.Resamples = 1000,
    json_file: options.JsonFile = None,
    markdown: options.Markdown = None,
    report_format: options.Format = options.ReportFormat.TEXT,
    html: options.Html = None,
    plot: options.Plot = None,
    calibrate: options.Calibrate = None,
    save: options.Save = False,
) -> None:
    """Measure how well a checkpoint finds forged images and forged pixels, under a stated rule.

    Exit status: 0 all images were scored, 1 some were not (they are named), 2 wrong usage.

    Example: forgescope evaluate iclnet-mini --data examples --preset iclnet --format html
    """
    given: dict[str, Any] = dict(locals())
    from transformers.utils.logging import disable_progress_bar

    from forgescope.cli.evaluate_folder import calibrate_and_tell
    from forgescope.cli.evaluate_report import name_skipped, show_and_write
    from forgescope.evaluation.protocols import find_protocol

    disable_progress_bar()  # of loading weights; those of the images are shown
    table = None if protocol is None else find_protocol(protocol)
    kind = _kind(table)
    _refuse(given | {"save": save or None}, kind, "without --protocol" if table is None else f"with {table.name}")
    page = options.page_file(report_format, html)
    if plot is not None and plot.suffix.lower() not in CHARTS:
        raise ValueError(f"--plot {plot}: expected a name that ends in .png, .svg or .pdf")
    make_places(json_file, markdown, page, plot)
    # answers are kept beside the rows, if these have a file
    rows_file = None if json_file == STANDARD_OUTPUT else json_file
    places = {"page": page} | ({"json_file": rows_file} if kind in ANSWERED else {})
    places |= {"plot": plot} if kind in (*ANSWERED, "folder") else {}
    taken = {name: given[name] for name in ("seed", "resamples", *TAKEN[kind])}
    with json_writer(json_file) as write:
        settings = {"device": device, "dtype": dtype, "batch_size": batch_size}
        run, photographs = _runner(kind)(table, data, model, settings, **places, **taken)
        asked = f"answers: {answers}" if model is None else f"model: {model}"
        # charts of answers are drawn by their runs, but for those in words alone
        chart = None if kind in ("grounded", "families") else plot
        # tables of pixels are shown and drawn as those of a folder are
        shown_as = None if kind == "localization" else protocol
        notes = [asked, f"data: {data}", *run.notes]
        show_and_write(run, notes, write, markdown, chart, shown_as, page, photographs)
        if calibrate is not None:
            calibrate_and_tell(run, calibrate, str(model), save)
        name_skipped(run.results)


def _kind(table: "Protocol | None") -> str:
    """Kind of a run, a key of `TAKEN`."""
    from forgescope.evaluation.edit_protocol import EditProtocol
    from forgescope.evaluation.family_rows import FamilyProtocol
    from forgescope.evaluation.grounded_protocol import GroundedProtocol
    from forgescope.evaluation.localization_protocol import LocalizationProtocol
    from forgescope.evaluation.reasoning_protocol import ReasoningProtocol

    kinds: dict[type, str] = {
        type(None): "folder",
        EditProtocol: "edits",
        LocalizationProtocol: "localization",
        ReasoningProtocol: "reasoning",
        GroundedProtocol: "grounded",
        FamilyProtocol: "families",
    }
    return kinds.get(type(table), "images")


def _runner(kind: str) -> Any:
    """Function that runs a kind: gives the run, and its images as markup for the page."""
    from forgescope.cli import evaluate_folder, evaluate_grounded, evaluate_reasoning, evaluate_tables

    return {
        "folder": evaluate_folder.run_folder,
        "images": evaluate_tables.run_images,
        "edits": evaluate_tables.run_edits,
        "localization": evaluate_tables.run_localization,
        "reasoning": evaluate_reasoning.run_reasoning,
        "grounded": evaluate_grounded.run_grounded,
        "families": evaluate_grounded.run_families,
    }[kind]


def _refuse(given: dict[str, Any], kind: str, where: str) -> None:
    """Refuse options that mean nothing in a kind of run."""
    known = set().union(*TAKEN.values()) - TAKEN[kind]
    unused = [f"--{name}".replace("_", "-") for name in given if name in known and given[name] is not None]
    if unused:
        raise ValueError(f"{', '.join(unused)} cannot be used {where}: leave it out")
    if given["model"] is None and kind in ANSWERED:
        for name, usual in (("batch_size", None), ("dtype", "auto")):
            if given[name] != usual:
                option = name.replace("_", "-")
                raise ValueError(f"--{option} is of a model that is asked: leave it out with --answers alone")
    if given["model"] is None and kind not in ANSWERED:
        raise ValueError(
            "MODEL is missing: name a checkpoint; only the mmfr and legion protocols can do without, with --answers"
        )
