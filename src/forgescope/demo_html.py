"""The texts of the page of `forgescope demo`: verdict, regions, explanation, notes and changes as HTML."""

from collections.abc import Iterable, Sequence
from html import escape
from itertools import zip_longest

from .decision import DecisionRule
from .demo_examine import Trial
from .editor_maps import editor_ids, share_text
from .overlay import editor_color
from .report import ForgeryReport

HEADER = """
<h1>forgescope</h1>
<p>Drop a photograph: the model marks the pixels that it takes for forged. A verdict is evidence, not proof.</p>
"""
STABILITY = """
<h2>How stable is the verdict?</h2>
<p>Messengers, web sites and screenshots compress, crop and blur photographs. Each slider does one of these to the
photograph, which is then examined again.</p>
"""
# Model -> what is said of it below its name.
MODEL_INFO = {
    "iclnet-mini": "iclnet-mini is there to try things out: its image verdicts are at chance on real test images, and "
    "it does not know AI editors.",
}
CHOOSE_FIRST = "Choose a photograph first."
WAITING = '<p class="waiting">The verdict appears here.</p>'
UNTRIED = '<p class="waiting">Move a slider, or try all strengths.</p>'
# Regions that are listed, the largest.
MOST_REGIONS = 12

CSS = """
.fs-middle{align-items:center}
.fs h1{font-size:1.6rem;margin:0}
.fs h2{font-size:1.2rem;margin:1rem 0 0}
.fs p{margin:.25rem 0;overflow-wrap:anywhere}.fs .muted,.fs .waiting{opacity:.75}
.fs .line{display:flex;align-items:center;gap:.9rem;flex-wrap:wrap}
.fs .badge{padding:.1rem .7rem;border-radius:1rem;color:#fff;font-weight:600;white-space:nowrap}
.fs .line .badge{font-size:1.25rem}.fs .score{font-size:1.25rem;font-variant-numeric:tabular-nums}
.fs .badge.forged,.fs .track .forged{background:#b3261e}
.fs .badge.inconclusive,.fs .track .inconclusive{background:#8a5a00}
.fs .badge.authentic,.fs .track .authentic{background:#1f6f3f}
.fs .failed{border-left:4px solid #b3261e;padding:.4rem .8rem}
.fs .track{position:relative;display:flex;height:.6rem;margin:1rem 0 .6rem}
.fs .track i{opacity:.45}.fs .track i:first-child{border-radius:.3rem 0 0 .3rem}
.fs .track i:nth-child(3){border-radius:0 .3rem .3rem 0}
.fs .track b{position:absolute;top:-.35rem;width:.3rem;height:1.3rem;margin-left:-.15rem;border-radius:2px;
background:var(--body-text-color)}
.fs .swatch{display:inline-block;width:.8em;height:.8em;margin-right:.3em;border-radius:2px}
.fs .wide{overflow-x:auto}
.fs table{border-collapse:collapse;width:100%;margin:.3rem 0 .8rem;border:0!important}
.fs th,.fs td{padding:.3rem .6rem;border:0!important;text-align:left}
.fs tr{border:0;border-bottom:1px solid var(--border-color-primary)!important}
.fs td.number,.fs th.number{text-align:right;font-variant-numeric:tabular-nums}
.fs ul{margin:.2rem 0;padding-left:1.2rem;list-style:disc}
.fs h3{font-size:1rem;margin:.8rem 0 .2rem}
"""


def verdict_html(report: ForgeryReport) -> str:
    """Verdict, score on a scale with the thresholds, shares of pixels, and what the verdict rests on."""
    facts = [f"{report.forged_fraction:.1%} of the pixels marked"] if report.marks_pixels else []
    if report.ai_fraction is not None:
        facts.append(f"{report.ai_fraction:.1%} AI-made")
    shown = [escape(fact) for fact in facts] + ([f"editors: {_editors(report)}"] if report.attribution else [])
    return (
        f'<div class="line">{badge(report.verdict)}<span class="score">score {report.score:.3f}</span>'
        f"<span>{' · '.join(shown)}</span></div>{_scale(report.score, report.rule)}"
        f'<p class="muted">{escape(report.rule.describe())}</p>'
    )


def details_html(report: ForgeryReport) -> str:
    """Explanation where there is one, regions, and notes with what the file says of its origin."""
    parts = []
    if report.explanation:
        stages = [line for line in report.explanation.splitlines() if line]
        parts.append("<h3>Explanation</h3>" + "".join(f"<p>{escape(stage)}</p>" for stage in stages))
    if report.probability_map is not None or report.regions:
        parts.append(_regions(report))
    notes = list(report.notes)
    if report.provenance is not None and report.provenance.describe():
        notes.append(f"The file says, which has no part in the verdict: {report.provenance.describe()}")
    parts.append("<h3>Notes</h3><ul>" + "".join(f"<li>{escape(note)}</li>" for note in notes) + "</ul>")
    return "".join(parts)


def trials_html(trials: Sequence[Trial], shown: Trial | None = None) -> str:
    """How often the verdict stayed, and a row for each change.

    Args:
        trials: the photograph as it is, then the changes.
        shown: the one whose pictures are beside the table.
    """
    before, *after = trials
    if not after:
        return UNTRIED
    same = sum(one.verdict == before.verdict for one in after)
    scores = [one.score for one in trials]
    summary = (
        f"The verdict stayed {before.verdict} in {same} of {len(after)} changes; scores from {min(scores):.3f} to "
        f"{max(scores):.3f}."
    )
    rows = [
        (
            one.name + (" (shown)" if one == shown else ""),
            f"{one.score:.3f}",
            "" if one is before else f"{one.score - before.score:+.3f}",
            "" if one.forged_fraction is None else f"{one.forged_fraction:.1%}",
            badge(one.verdict),
        )
        for one in trials
    ]
    return f"<p>{summary}</p>" + _table(("change", "score", "difference", "pixels marked", "verdict"), rows, {1, 2, 3})


def failure_html(sentence: str) -> str:
    """One sentence in place of a result."""
    return f'<p class="failed" role="alert">{escape(sentence)}</p>'


def badge(verdict: str) -> str:
    """The verdict in its colour."""
    return f'<span class="badge {verdict}">{verdict}</span>'


def _editors(report: ForgeryReport) -> str:
    """Editors of the marked pixels with their shares, each behind its colour in the overlay."""
    ids = [] if report.editor_map is None else editor_ids(report.mask, report.editor_map)
    colors = [f'<i class="swatch" style="background:rgb{editor_color(one)}"></i>' for one in ids]
    said = [escape(f"{name} {share_text(share)}") for name, share in (report.attribution or {}).items()]
    return ", ".join(color + text for color, text in zip_longest(colors, said, fillvalue=""))


def _scale(score: float, rule: DecisionRule) -> str:
    """A bar from 0 to 1 in the colours of the verdicts, with a mark at the score."""
    low, high = rule.authentic_threshold, rule.forged_threshold
    widths = {"authentic": low, "inconclusive": high - low, "forged": 1 - high}
    zones = "".join(f'<i class="{name}" style="width:{width:.2%}"></i>' for name, width in widths.items())
    return f'<div class="track" aria-hidden="true">{zones}<b style="left:{score:.2%}"></b></div>'


def _regions(report: ForgeryReport) -> str:
    """A row for each region, with the columns that this model fills."""
    if not report.regions:
        return "<h3>Regions</h3><p>No connected part is large enough to be listed.</p>"
    editors = any(region.editor for region in report.regions)
    phrases = any(region.phrase for region in report.regions)
    rows = []
    for number, region in enumerate(report.regions[:MOST_REGIONS], start=1):
        left, top, right, bottom = region.box
        row = [str(region.number or number), f"{left}, {top}", f"{right}, {bottom}"]
        row += [f"{region.area_fraction:.2%}", f"{region.mean_probability:.3f}"]
        row += [region.editor or ""] if editors else []
        row += [region.phrase or ""] if phrases else []
        rows.append([escape(cell) for cell in row])
    heads = ["region", "left, top", "right, bottom", "share of pixels", "mean probability"]
    heads += ["editor"] if editors else []
    heads += ["where"] if phrases else []
    more = len(report.regions) - len(rows)
    table = _table(heads, rows, {1, 2, 3, 4})
    return f"<h3>Regions</h3>{table}" + (f"<p>{more} smaller ones are not listed.</p>" if more else "")


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: set[int]) -> str:
    """A table whose cells are markup; columns in `numbers` are set to the right."""

    def line(tag: str, cells: Sequence[str]) -> str:
        kinds = [' class="number"' if index in numbers else "" for index in range(len(cells))]
        return (
            "<tr>" + "".join(f"<{tag}{kind}>{cell}</{tag}>" for kind, cell in zip(kinds, cells, strict=True)) + "</tr>"
        )

    body = "".join(line("td", row) for row in rows)
    return f'<div class="wide"><table><thead>{line("th", heads)}</thead><tbody>{body}</tbody></table></div>'
