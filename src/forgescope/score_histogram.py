"""How the scores of a run are spread, as an SVG drawing for its page."""

from collections import Counter
from collections.abc import Sequence

from .decision import Verdict

BINS = 20
# Pixels: of the highest bar, of the numbers above the bars with the thresholds' names over them, of the axis.
BAR_HEIGHT, HEAD_HEIGHT, AXIS_HEIGHT = 90, 46, 20
# Share of a bin that its bar fills.
BAR_WIDTH = 0.9
# Names of thresholds stand to the right of their lines as long as there is room.
RIGHTMOST = 0.7
ORDER: tuple[Verdict, ...] = ("authentic", "inconclusive", "forged")


def count_scores(scores: Sequence[tuple[float, Verdict]]) -> list[Counter[Verdict]]:
    """Count scores by bin, of equal width from 0 to 1, and verdict; 1 belongs to the last bin."""
    bins: list[Counter[Verdict]] = [Counter() for _ in range(BINS)]
    for score, verdict in scores:
        bins[min(int(score * BINS), BINS - 1)][verdict] += 1
    return bins


def histogram_svg(scores: Sequence[tuple[float, Verdict]], thresholds: dict[str, float] | None) -> str:
    """Draw a bar a bin, in the colours of the verdicts, and the thresholds.

    Args:
        scores: score, 0..1, and verdict of each photograph.
        thresholds: `authentic` and `forged`; None: not known.

    Returns:
        An `svg` element as wide as its place, whose texts keep their size; classes name the colours.
    """
    bins = count_scores(scores)
    highest = max(max(count.total() for count in bins), 1)
    drawn = "".join(_bar(place, count, highest) for place, count in enumerate(bins))
    low = HEAD_HEIGHT + BAR_HEIGHT
    drawn += f'<line class="axis" x1="0" x2="100%" y1="{low}" y2="{low}"/>'
    for value, anchor in ((0, "start"), (0.25, "middle"), (0.5, "middle"), (0.75, "middle"), (1, "end")):
        drawn += f'<text x="{value:.0%}" y="{low + 16}" text-anchor="{anchor}">{value:g}</text>'
    drawn += _thresholds(thresholds) if thresholds else ""
    height = low + AXIS_HEIGHT
    return f'<svg role="img" aria-label="{_summary(scores, thresholds)}" height="{height}">{drawn}</svg>'


def _bar(place: int, counts: Counter[Verdict], highest: int) -> str:
    left, width = 100 * (place + (1 - BAR_WIDTH) / 2) / BINS, 100 * BAR_WIDTH / BINS
    top, parts = float(HEAD_HEIGHT + BAR_HEIGHT), ""
    for verdict in ORDER:
        if counts[verdict]:
            height = BAR_HEIGHT * counts[verdict] / highest
            top -= height
            parts += f'<rect class="{verdict}" x="{left:g}%" y="{top:.2f}" width="{width:g}%" height="{height:.2f}"/>'
    if not parts:
        return ""
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in ORDER if counts[verdict])
    total = f'<text class="count" x="{100 * (place + 0.5) / BINS:g}%" y="{top - 4:.2f}">{counts.total()}</text>'
    return f"<g><title>{place / BINS:.2f} to {(place + 1) / BINS:.2f}: {said}</title>{parts}{total}</g>"


def _thresholds(thresholds: dict[str, float]) -> str:
    """A dashed line and a name each; one line where both are the same."""
    forged, authentic = thresholds["forged"], thresholds["authentic"]
    lines = _threshold(forged, f"forged from {forged:.3g}", 12, forged > RIGHTMOST)
    if authentic < forged:
        lines += _threshold(authentic, f"authentic below {authentic:.3g}", 26, authentic > 1 - RIGHTMOST)
    return lines


def _threshold(value: float, name: str, top: int, to_the_left: bool) -> str:
    anchor, shift = ("end", -5) if to_the_left else ("start", 5)
    return (
        f'<line class="threshold" x1="{value:.2%}" x2="{value:.2%}" y1="{top - 10}" y2="{HEAD_HEIGHT + BAR_HEIGHT}"/>'
        f'<text x="{value:.2%}" y="{top}" dx="{shift}" text-anchor="{anchor}">{name}</text>'
    )


def _summary(scores: Sequence[tuple[float, Verdict]], thresholds: dict[str, float] | None) -> str:
    """The drawing in words."""
    counts = Counter(verdict for _, verdict in scores)
    text = "Scores: " + ", ".join(f"{counts[verdict]} {verdict}" for verdict in ORDER)
    if thresholds:
        text += f"; forged from {thresholds['forged']:.3g}, authentic below {thresholds['authentic']:.3g}"
    return text + "."
