"""The histogram of scores: bins, heights, places of the thresholds."""

import re
from xml.etree import ElementTree

import numpy as np

from forgescope.score_histogram import BAR_HEIGHT, BINS, count_scores, histogram_svg

SCORES = [(0.0, "authentic"), (0.049, "authentic"), (0.05, "authentic"), (0.51, "inconclusive"), (0.52, "forged")]
SCORES += [(1.0, "forged"), (0.999, "forged"), (0.96, "forged"), (0.97, "forged")]


def test_bins_are_those_of_numpy():
    scores = np.random.default_rng(0).random(500)
    counts = [bin.total() for bin in count_scores([(score, "forged") for score in scores.tolist()])]
    assert counts == np.histogram(scores, BINS, (0, 1))[0].tolist()
    assert [dict(bin) for bin in count_scores(SCORES) if bin] == [
        {"authentic": 2},
        {"authentic": 1},
        {"inconclusive": 1, "forged": 1},
        {"forged": 4},
    ]


def test_bars_stand_on_each_other_in_the_colours_of_the_verdicts():
    drawing = ElementTree.fromstring(histogram_svg(SCORES, None))
    bars = [rect.attrib for rect in drawing.iter("rect")]
    assert [(bar["class"], float(bar["height"])) for bar in bars] == [
        ("authentic", BAR_HEIGHT / 2),
        ("authentic", BAR_HEIGHT / 4),
        ("inconclusive", BAR_HEIGHT / 4),
        ("forged", BAR_HEIGHT / 4),
        ("forged", BAR_HEIGHT),
    ]
    assert float(bars[3]["y"]) + float(bars[3]["height"]) == float(bars[2]["y"])
    assert [title.text for title in drawing.iter("title")][2] == "0.50 to 0.55: 1 inconclusive, 1 forged"
    assert drawing.attrib["aria-label"] == "Scores: 3 authentic, 1 inconclusive, 5 forged."


def test_thresholds_are_marked_and_their_names_stay_inside():
    drawing = histogram_svg(SCORES, {"authentic": 0.25, "forged": 0.875})
    assert re.findall(r'class="threshold" x1="([\d.]+)%"', drawing) == ["87.50", "25.00"]
    assert re.findall(r'text-anchor="(\w+)">(\w+ \w+ [\d.]+)<', drawing) == [
        ("end", "forged from 0.875"),
        ("start", "authentic below 0.25"),
    ]
    assert "forged from 0.875, authentic below 0.25." in drawing
    # one line where nothing is inconclusive
    assert histogram_svg(SCORES, {"authentic": 0.5, "forged": 0.5}).count('class="threshold"') == 1
    assert "<svg" in histogram_svg([], None)
