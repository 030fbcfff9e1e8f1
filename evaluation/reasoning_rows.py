"""From answers in words to rows of numbers: verdicts, reasons, and how verdicts change from round to round."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from .estimates import FloatArray, mean_estimate
from .intervals import RESAMPLES
from .protocol import AVERAGE
from .reasoning_protocol import ReasoningProtocol, with_reasoning_values
from .reasoning_scores import AnswerRecord, Unparsed, kept, right_answers, shared, verdict_changes
from .rows import ALL, Row, filled
from .text_scores import TextEmbedder, text_scores

ACCURACY = "image_accuracy"
FLUCTUATION = "image_accuracy_fluctuation"
CHANGES = "image_verdict_changes"
MEAN_OF_ROUNDS = "mean of rounds"
# Round -> its answers.
Rounds = Mapping[int, Sequence[AnswerRecord]]


def measured_groups(records: Sequence[AnswerRecord], protocol: ReasoningProtocol) -> list[str]:
    """Subsets of a protocol with answers about both fake and real images, in the protocol's order."""
    answered = {(record.source, record.label) for record in records}
    return [name for name in protocol.groups if {(name, 0), (name, 1)} <= answered]


def reasoning_rows(
    runs: Mapping[float, Rounds],
    protocol: ReasoningProtocol,
    *,
    unparsed: Unparsed = "wrong",
    embedder: TextEmbedder | None = None,
    resamples: int = RESAMPLES,
) -> list[Row]:
    """Compute the rows of a protocol; rows hold the paper's numbers too.

    Args:
        runs: temperature -> round -> answers; each needs its round 0, which later rounds are compared with.
        protocol: what was run.
        unparsed: what answers without a verdict, or without reasons, do.
        embedder: of CSS, where the protocol compares reasons; None: no CSS.
        resamples: draws of the bootstrap intervals; 0 for none.

    Raises:
        ValueError: a temperature has no round 0, or of no subset both fake and real images.
        ImportError: reasons are compared and nltk or rouge-score is missing.
    """
    rows = []
    for temperature, rounds in runs.items():
        if 0 not in rounds:
            raise ValueError(
                f"temperature {temperature:g} has no answers of round 0: later rounds are compared with it"
            )
        if not measured_groups(rounds[0], protocol):
            expected = ", ".join(protocol.groups)
            raise ValueError(f"{protocol.name} needs fake and real images: none of {expected} has answers about both")
        setting = None
        if len(protocol.temperatures) > 1:
            setting = f"temperature {temperature:g}"
        elif protocol.rounds > 1:
            setting = _round(0)
        blank = Row(protocol.name, "", "", None, 0, "pooled", "fake", "none", None, unparsed=unparsed, setting=setting)
        counted = {number: kept(records, unparsed) for number, records in rounds.items()}
        rows += _verdict_rows(rounds[0], counted[0], protocol, blank, resamples)
        if protocol.texts:
            rows += _text_rows(rounds[0], counted[0], protocol, blank, embedder, resamples)
        if protocol.rounds > 1:
            rows += _consistency_rows(counted, protocol, blank, resamples)
    return with_reasoning_values(rows, protocol)


def _round(number: int) -> str:
    return f"round {number}"


def _verdict_rows(
    records: Sequence[AnswerRecord],
    counted: Sequence[AnswerRecord],
    protocol: ReasoningProtocol,
    blank: Row,
    resamples: int,
) -> list[Row]:
    """Accuracy, that of fake and of real images, and the share of answers without a verdict."""
    groups = measured_groups(records, protocol)
    rows = _accuracy_rows(counted, protocol, groups, blank, resamples)
    for name, label in (("fake", 1), ("real", 0)):
        values = {
            group: right_answers([one for one in counted if (one.source, one.label) == (group, label)])
            for group in groups
        }
        rows += _spread(replace(blank, metric=f"{ACCURACY}_{name}", classes=name), values, protocol, resamples)
    silent = {
        group: np.array([one.verdict is None for one in records if one.source == group], dtype=np.float64)
        for group in groups
    }
    return rows + _spread(replace(blank, metric="image_unparsed", classes="all"), silent, protocol, resamples)


def _accuracy_rows(
    counted: Sequence[AnswerRecord], protocol: ReasoningProtocol, groups: Sequence[str], blank: Row, resamples: int
) -> list[Row]:
    values = {group: right_answers([one for one in counted if one.source == group]) for group in groups}
    return _spread(replace(blank, metric=ACCURACY), values, protocol, resamples)


def _text_rows(
    records: Sequence[AnswerRecord],
    counted: Sequence[AnswerRecord],
    protocol: ReasoningProtocol,
    blank: Row,
    embedder: TextEmbedder | None,
    resamples: int,
) -> list[Row]:
    """BLEU-1, BLEU-2, ROUGE-L and CSS of the reasons of annotated images, and the share of answers without any."""
    groups = measured_groups(records, protocol)
    annotated, counted = (
        [record for record in some if record.reference and record.source in groups] for some in (records, counted)
    )
    blank = replace(blank, reduction="image", classes="all")
    scores = text_scores([one.reasoning for one in counted], [one.reference for one in counted], embedder)
    sources = np.array([one.source for one in counted])
    rows = []
    for name, values in scores.items():
        by_group = {group: values[sources == group] for group in groups}
        rows += _spread(replace(blank, metric=f"text_{name}"), by_group, protocol, resamples)
    silent = {
        group: np.array([one.reasoning is None for one in annotated if one.source == group], dtype=np.float64)
        for group in groups
    }
    return rows + _spread(replace(blank, metric="text_unparsed"), silent, protocol, resamples)


def _consistency_rows(rounds: Rounds, protocol: ReasoningProtocol, blank: Row, resamples: int) -> list[Row]:
    """How far each later round is from round 0, and the mean over the rounds.

    The paper's fluctuation is of accuracy (section 5.4) and not defined further. Here it is the distance of a round's
    accuracy from that of round 0, in points; `image_verdict_changes` is the share of images with another verdict,
    which also sees changes that cancel out. Both are over the images that the two rounds share.
    """
    rows, compared = [], []
    for number in sorted(set(rounds) - {0}):
        of_round = replace(blank, setting=_round(number))
        first, later = shared((rounds[0], rounds[number]))
        groups = measured_groups(first, protocol)
        base, again = (_accuracy_rows(one, protocol, groups, of_round, resamples) for one in (first, later))
        distances = [
            replace(two, metric=FLUCTUATION, value=abs(two.value - one.value), low=None, high=None)
            for one, two in zip(base, again, strict=True)
            if one.value is not None and two.value is not None
        ]
        changes = {group: verdict_changes([one for one in first if one.source == group], later) for group in groups}
        changed = _spread(replace(of_round, metric=CHANGES), changes, protocol, resamples)
        compared += [*distances, *changed]
        rows += [*again, *distances, *changed]
    # of several temperatures, only the mean over their rounds is reported (Table 8)
    if len(protocol.temperatures) > 1:
        return _mean_over_rounds(compared, blank.setting)
    return rows + _mean_over_rounds(compared, MEAN_OF_ROUNDS)


def _mean_over_rounds(rows: Sequence[Row], setting: str | None) -> list[Row]:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.metric, row.source), []).append(row)
    return [
        replace(
            group[0],
            setting=setting,
            value=float(np.mean([row.value for row in group if row.value is not None])),
            n=min(row.n for row in group),
            low=None,
            high=None,
        )
        for group in groups.values()
        if any(row.value is not None for row in group)
    ]


def _spread(blank: Row, values: Mapping[str, FloatArray], protocol: ReasoningProtocol, resamples: int) -> list[Row]:
    """Rows of each subset, of all images, and of the unweighted means over families and over every subset.

    Args:
        blank: the rows without source, number of images and value.
        values: subset -> one number an image.
        protocol: its families; a mean is left out where one of its subsets is.
        resamples: draws of the bootstrap intervals; 0 for none.
    """
    named = dict(values)
    if len(values) > 1:
        named[ALL] = np.concatenate(list(values.values()))
    rows = [
        filled(replace(blank, source=source), blank.metric, len(numbers), mean_estimate(numbers, resamples))
        for source, numbers in named.items()
    ]
    found = {row.source: row for row in rows if row.value is not None}
    means = {**protocol.families, AVERAGE: tuple(protocol.groups)} if len(protocol.groups) > 1 else {}
    for source, members in means.items():
        if set(members) <= set(found):
            own = [found[member] for member in members]
            mean = float(np.mean([row.value for row in own]))
            rows.append(replace(blank, source=source, value=mean, n=sum(row.n for row in own)))
    return rows
