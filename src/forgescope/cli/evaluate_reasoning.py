"""`forgescope evaluate --protocol mmfr-...`: ask a model about images, or read answers that another system gave."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from forgescope.cli.evaluate_answers import answers_file, load_embedder

if TYPE_CHECKING:
    from forgescope.evaluation.reasoning_protocol import ReasoningProtocol
    from forgescope.evaluation_runs import EvaluationRun


def run_reasoning(
    protocol: "ReasoningProtocol",
    data: Path,
    model: str | None,
    settings: dict[str, Any],
    *,
    page: Path | None,
    answers: Path | None,
    unparsed: str | None,
    embedder: str | None,
    json_file: Path | None,
    plot: Path | None,
    per_class: int | None,
    seed: int,
    resamples: int,
) -> "tuple[EvaluationRun, str]":
    """Run a table of FakeReasoning.

    Args:
        protocol: the table.
        data: MMFR's evaluation sets.
        model: checkpoint that is asked; None: `answers` holds every answer.
        settings: `device`, `dtype` and `batch_size` of the model.
        page: file of the page; None: none is wanted.
        answers: JSON lines that keep the answers; None: beside `json_file`.
        unparsed: `wrong` or `drop`; None: `wrong`.
        embedder: text encoder of CSS; None: no CSS.
        json_file: where the rows will be written.
        plot: chart that was asked for.
        per_class: fake, and real, images of each generator; None: all.
        seed: of the draw and of the sampling.
        resamples: draws of the bootstrap intervals; 0 for none.

    Raises:
        ValueError: arguments that do not go together, or data or answers that cannot be used.
        OSError: a file cannot be read or written.
        ImportError: a package that scores texts is missing.
    """
    from forgescope.answered_pictures import reasoned_section
    from forgescope.evaluation.reasoning_scores import Unparsed
    from forgescope.evaluation.text_scores import text_scores
    from forgescope.reasoning_data import draw_annotated_images
    from forgescope.reasoning_evaluation import evaluate_reasoning

    rule: Any = unparsed or "wrong"
    if rule not in get_args(Unparsed):
        raise ValueError(f"--unparsed must be {' or '.join(get_args(Unparsed))}, got {unparsed!r}")
    if embedder is not None and not protocol.texts:
        raise ValueError(f"--embedder cannot be used with {protocol.name}: it compares no reasons")
    if plot is not None and protocol.rounds > 1:
        raise ValueError(f"--plot cannot be used with {protocol.name}: leave it out")
    file = answers_file(answers, json_file, model)
    if protocol.texts:
        text_scores([""], [""])  # missing packages are told before the long run
    images = draw_annotated_images(protocol, data, per_class, seed)
    answerer = None
    if model is not None:
        from forgescope.explain import Explainer

        answerer = Explainer(model, **settings, model_types=("fakereasoning",))
    run = evaluate_reasoning(
        images,
        file,
        answerer,
        model=model or "",
        unparsed=rule,
        embedder=load_embedder(embedder, settings["device"]),
        per_class=per_class,
        seed=seed,
        resamples=resamples,
    )
    return run, "" if page is None else reasoned_section(images, file, page, strict=rule == "drop")
