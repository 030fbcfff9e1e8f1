"""How the page of `forgescope demo` answers: from an uploaded file to the texts, pictures and points it shows."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from .decision import DecisionRule
from .demo_examine import CHANGES, Change, Examiner, Trial, all_changes, sentence_of, trial_of
from .demo_html import (
    CHOOSE_FIRST,
    MOST_REGIONS,
    UNTRIED,
    WAITING,
    details_html,
    failure_html,
    trials_html,
    verdict_html,
)
from .report import ForgeryReport

# Pictures are shown at most this large; the models see the whole photograph.
SHOWN_EDGE = 1280
# Height of the numbers at the regions: this share of the shorter edge of a picture, and at least so many pixels.
LETTERS, SMALLEST_LETTERS = 1 / 24, 12
# Pixels between a number and the outline below it.
GAP = 4
FORGED_LINE, AUTHENTIC_LINE = "forged from", "authentic below"
# An uploaded file as Gradio describes it, with its place under `path`; None: there is none.
Upload = dict[str, Any] | None
# Verdict, pictures, details; trials, their table, pictures of the last one, and the points of each plot.
NO_TRIALS: tuple[Any, ...] = ([], UNTRIED, None, *[None] * len(CHANGES))
NOTHING: tuple[Any, ...] = (WAITING, None, "", *NO_TRIALS)


class Answers:
    """What the page does on its events; whatever goes wrong becomes one sentence in the page.

    Args:
        examiner: the models.
    """

    def __init__(self, examiner: Examiner):
        self.examiner = examiner

    def examine(self, photo: Upload, model: str) -> tuple[Any, ...]:
        """Fill the page for a photograph, in the order of `NOTHING`."""
        if photo is None:
            return NOTHING
        try:
            report = self.examiner.examine(photo["path"], model)
            trials = [trial_of(report)]
            shown = verdict_html(report), before_and_after(report), details_html(report)
            return *shown, trials, UNTRIED, None, *_plots(trials, report.rule)
        except Exception as error:
            return failure_html(sentence_of(error, photo["path"])), *NOTHING[1:]

    def try_one(
        self, change: Change, photo: Upload, model: str, strength: float, trials: list[Trial]
    ) -> tuple[Any, ...]:
        """Answer a slider, in the order of `NO_TRIALS`; at its neutral end there is nothing new to examine."""
        steps = [] if strength == change.neutral else [(change, int(strength))]
        *_, last = self._tried(photo, model, steps, trials)
        return last

    def try_all(self, photo: Upload, model: str, trials: list[Trial]) -> Iterator[tuple[Any, ...]]:
        """Answer the button, one change after the other, in the order of `NO_TRIALS`."""
        yield from self._tried(photo, model, all_changes(), trials)

    def _tried(
        self, photo: Upload, model: str, steps: Sequence[tuple[Change, int]], trials: list[Trial]
    ) -> Iterator[tuple[Any, ...]]:
        if photo is None or not trials:
            yield [], failure_html(CHOOSE_FIRST), *NO_TRIALS[2:]
            return
        try:
            rule = self.examiner.analyzer(model).rule
            if not steps:
                yield trials, trials_html(trials), None, *_plots(trials, rule)
            for trial, report in self.examiner.examine_changed(photo["path"], model, steps):
                trials = with_trial(trials, trial)
                yield trials, trials_html(trials, trial), before_and_after(report), *_plots(trials, rule)
        except Exception as error:
            yield trials, failure_html(sentence_of(error, photo["path"])), *NO_TRIALS[2:]


def with_trial(trials: Sequence[Trial], trial: Trial) -> list[Trial]:
    """Add a trial, or replace the one of the same change; sorted by slider and strength."""
    kinds = [None, *(change.kind for change in CHANGES)]
    others = [one for one in trials if one.name != trial.name]
    return sorted([*others, trial], key=lambda one: (kinds.index(one.kind), one.strength))


def trials_frame(trials: Sequence[Trial], change: Change, rule: DecisionRule) -> pd.DataFrame:
    """Points of one plot: scores by strength, the unchanged photograph's at the neutral one, and the thresholds."""
    points: list[tuple[int, float, str]] = [
        (change.neutral if one.kind is None else one.strength, one.score, "score")
        for one in trials
        if one.kind in (None, change.kind)
    ]
    lines = {FORGED_LINE: rule.forged_threshold, AUTHENTIC_LINE: rule.authentic_threshold}
    points += [(end, value, name) for name, value in lines.items() for end in (change.lowest, change.highest)]
    return pd.DataFrame(points, columns=["strength", "score", "line"])


def before_and_after(report: ForgeryReport) -> tuple[Image.Image, Image.Image]:
    """Give the photograph and its overlay with the numbers of the listed regions, reduced to what a page shows."""
    overlay = report.overlay()
    before, after = (_reduced(picture) for picture in (report.image or overlay, overlay))
    if any(region.number for region in report.regions):
        return before, after  # an overlay of named artifacts has their numbers
    draw, scale = ImageDraw.Draw(after), after.width / overlay.width
    size = max(SMALLEST_LETTERS, round(min(after.size) * LETTERS))
    font = ImageFont.load_default(size)
    for number, region in enumerate(report.regions[:MOST_REGIONS], start=1):
        left, top = (edge * scale for edge in region.box[:2])
        place = left, max(top - size - GAP, 0)
        draw.text(place, str(number), "white", font, stroke_width=2, stroke_fill="black")
    return before, after


def _plots(trials: Sequence[Trial], rule: DecisionRule) -> list[pd.DataFrame]:
    return [trials_frame(trials, change, rule) for change in CHANGES]


def _reduced(picture: Image.Image) -> Image.Image:
    shown = picture.copy()
    shown.thumbnail((SHOWN_EDGE, SHOWN_EDGE))
    return shown
