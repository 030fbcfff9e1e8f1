"""A checkpoint measured by a table of ICL-Net: forged pixels of PromptForge-350k by editing model."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from forgescope.datasets_scripts.load import corpus_builder
from forgescope.datasets_scripts.notes import UNUSABLE, Notes
from forgescope.datasets_scripts.pixels import ids_of
from forgescope.evaluation.evaluator import Evaluator, Example, Watch
from forgescope.evaluation.localization_protocol import LocalizationProtocol
from forgescope.evaluation.localization_rows import localization_rows
from forgescope.evaluation.perturbations import Perturbation
from forgescope.evaluation.report import to_tables
from forgescope.evaluation.results import EvaluationResult, Skipped
from forgescope.evaluation.rows import Row
from forgescope.evaluation.rules import preset

from .analyze import Analyzer
from .evaluation_data import image_scorer
from .evaluation_runs import EvaluationRun
from .protocol_data import FAKE, Pool, TestImages, draw, split_pieces, stored_example


def load_localizer(checkpoint: str, protocol: LocalizationProtocol, **settings: Any) -> Analyzer:
    """Load a checkpoint that marks pixels.

    Args:
        checkpoint: embedded name, folder or Hub id.
        protocol: what it will be measured by.
        **settings: `device`, `dtype` and `batch_size`.

    Raises:
        ValueError: no such checkpoint, or one that marks no pixels.
    """
    analyzer = Analyzer(checkpoint, **settings)
    if analyzer.rule.score_reduction is not None and not analyzer.localizer.heads:
        raise ValueError(f"{protocol.name} needs a checkpoint that marks pixels: '{checkpoint}' has no mask head")
    return analyzer


def draw_masked_images(
    protocol: LocalizationProtocol,
    data: Path,
    per_class: int | None = None,
    seed: int = 0,
    split: str | None = None,
) -> TestImages:
    """Choose the images that a protocol is run on; which they are depends on their ids and the seed alone.

    Args:
        protocol: the protocol.
        data: its corpus.
        per_class: images of each subset; None: all.
        seed: of the draw.
        split: `train`, `validation`, `test` or `all`; None: the protocol's.

    Raises:
        FileNotFoundError: `data` does not exist, or holds nothing of the corpus.
        ValueError: it has not this split, or no image of the protocol's subsets.
    """
    builder = corpus_builder(protocol.corpus, data, protocol.config, hash_files=False, **protocol.options)
    notes = Notes(most_examples=None)  # every lost image is named
    pieces = split_pieces(builder, protocol.name, split or protocol.split, data, notes)
    subsets = {source: subset for subset, sources in protocol.groups.items() for source in sources}
    pools: dict[Pool, list[tuple[str, str]]] = {}
    for row in (row for piece in pieces for row in builder.rows(piece, notes)):
        if row["source"] in subsets:
            pools.setdefault((subsets[row["source"]], FAKE), []).append((row["id"], row["id"]))
    if not pools:
        raise ValueError(f"{data} has no image of {', '.join(subsets)}, which {protocol.name} is made of")
    drawn = {pool: draw(pairs, per_class, seed) for pool, pairs in pools.items()}
    chosen = {id_: subset for (subset, _), ids in drawn.items() for id_ in ids}
    lost = [
        Skipped(example.partition(": ")[0], f"{kind}: {example}")
        for kind, examples in notes.examples.items()
        if UNUSABLE.search(kind)
        for example in examples
    ]

    def examples() -> Iterator[Example | Skipped]:
        yield from lost
        for row in (row for piece in pieces for row in builder.rows(piece, Notes())):
            if row["id"] in chosen:
                mask = ids_of(row["mask"]["bytes"], row["id"])
                example = stored_example(row["image"], row["id"], chosen[row["id"]], FAKE)
                yield example if isinstance(example, Skipped) else _with_mask(example, mask)

    return TestImages({pool: len(ids) for pool, ids in drawn.items()}, per_class, examples)


def evaluate_localization(
    analyzer: Analyzer,
    protocol: LocalizationProtocol,
    images: TestImages,
    perturbations: Sequence[Perturbation],
    *,
    seed: int,
    resamples: int,
    watch: Watch | None = None,
) -> EvaluationRun:
    """Measure a checkpoint as the paper does; rows hold the paper's numbers too.

    Args:
        analyzer: a checkpoint that marks pixels.
        protocol: the table.
        images: those drawn for it.
        perturbations: each is a run of its own.
        seed: of random crops.
        resamples: draws of the bootstrap intervals; 0 for none.
        watch: looks on in the first run, see `Evaluator`.

    Raises:
        ValueError: not a single image could be scored.
    """
    results: list[EvaluationResult] = []
    rows: list[Row] = []
    for perturbation in perturbations:
        localizer = analyzer.localizer
        evaluator = Evaluator(
            localizer.examine,
            preset(protocol.preset),
            localizer.batch_size,
            image_scorer(analyzer),
            perturbation,
            seed,
            watch,
        )
        watch = None
        results.append(evaluator.run(images.examples(), total=images.total))
        rows += localization_rows(results[-1], protocol, resamples)
    notes = [f"{images.total} images", f"precision: {analyzer.precision}", f"{protocol.paper}, {protocol.table}"]
    missing = [name for name in protocol.groups if (name, FAKE) not in images.counts]
    if missing:
        notes.append(f"not measured, so that there is no average: {', '.join(missing)}")
    return EvaluationRun(results, rows, [*notes, protocol.note], to_tables(rows, intervals=False))


def _with_mask(example: Example, mask: NDArray[np.uint8]) -> Example:
    """Give an image its mask, enlarged to the image's size where it is stored smaller."""
    enlarged = Image.fromarray(mask).resize(example.image.size, Image.Resampling.NEAREST)
    return Example(example.image, np.asarray(enlarged), example.source, example.name, label=example.label)


__all__ = ["draw_masked_images", "evaluate_localization", "load_localizer"]
