import numpy as np
import pytest

from forgescope.datasets_scripts.cnnspot import UNIVERSAL
from forgescope.evaluation import protocols_legion as legion
from forgescope.evaluation.family_rows import family_rows
from forgescope.evaluation.perturbations import parse_perturbations
from forgescope.evaluation.protocols import PROTOCOLS, find_protocol
from forgescope.evaluation.results import EvaluationResult, ImageRecord

NAMES = ("legion-synthscars", "legion-loki", "legion-richhf", "legion-detection", "legion-robustness")


def test_every_protocol_is_found_by_its_name():
    assert tuple(one.name for one in legion.PROTOCOLS) == NAMES
    assert set(NAMES) <= set(PROTOCOLS)
    assert {find_protocol(name).corpus for name in NAMES} == {"synthscars", "loki", "richhf18k", "cnnspot"}


def test_the_papers_own_means_show_what_does_not_agree():
    """Table 2 weighted by Table 6 is Table 10's first line for PAL4VST, and not for LEGION."""
    assert sum(legion.TEST_IMAGES.values()) == 1000
    assert legion.weighted_mean("PAL4VST") == pytest.approx(legion.TABLE10["none"][0], abs=0.005)
    assert legion.weighted_mean("LEGION") == pytest.approx((58.13, 34.54), abs=0.005)
    assert legion.TABLE10["none"][1] == (59.41, 36.96)
    # the gains of the abstract are those of Table 10
    gains = np.subtract(*reversed(legion.TABLE10["none"]))
    assert gains == pytest.approx((3.31, 7.75), abs=1e-9)
    # the degradations that Table 10 prints, and those from the means of Table 2
    for perturbation, printed in (("jpeg:20", (2.5, 7.3)), ("noise:0.3", (4.9, 13.1)), ("blur:15", (3.2, 9.3))):
        lost = 1 - np.divide(legion.TABLE10[perturbation][1], legion.TABLE10["none"][1])
        assert 100 * lost == pytest.approx(printed, abs=0.051)
    lost = 1 - np.divide(legion.TABLE10["noise:0.3"][1], legion.weighted_mean("LEGION"))
    assert 100 * lost == pytest.approx((2.8, 7.0), abs=0.051)
    assert "0.5813 and 0.3454" in legion.INCONSISTENT
    assert legion.INCONSISTENT in find_protocol("legion-robustness").note


def test_the_grid_of_table_10_in_its_order():
    grid = find_protocol("legion-robustness").perturbations
    assert grid == (
        *("none", "jpeg:50", "jpeg:35", "jpeg:20"),
        *("noise:0.1", "noise:0.2", "noise:0.3", "blur:5", "blur:9", "blur:15"),
    )
    assert tuple(one.name for one in parse_perturbations(",".join(grid))) == grid
    values = find_protocol("legion-robustness").values
    assert len(values) == 2 * len(grid)
    assert values["pixel_iou", "macro", "blur:9"] == 0.5727
    assert values["pixel_f1", "forged", "jpeg:35"] == 0.3408


def test_paper_values_are_shares_where_the_paper_has_them():
    assert legion.paper_value("table2", "LEGION", "human", "miou") == 0.6082
    assert legion.paper_value("table2", "TruFor", "richhf18k", "f1") == 0.1803
    assert legion.paper_value("table3", "GPT-4o", "loki", "css") == 0.3898
    assert legion.paper_value("table5", "NPR", "SAN", "accuracy") == 0.9863
    assert legion.paper_value("table10", "jpeg:20", "PAL4VST", "f1") == 0.2636
    for wrong in (
        ("table4", "LEGION", "human", "miou"),
        ("table2", "LEGION", "synthscars", "miou"),
        ("table2", "Other", "human", "miou"),
        ("table3", "LEGION", "loki", "miou"),
    ):
        assert legion.paper_value(*wrong) is None
    loki, richhf = find_protocol("legion-loki").values, find_protocol("legion-richhf").values
    assert sorted(loki.values()) == [0.1671, 0.1855, 0.4596, 0.4866]
    assert sorted(richhf.values()) == [0.1741, 0.5007]
    assert find_protocol("legion-detection").paper_values["Diffusion"] == 0.831


def test_families_are_the_nineteen_sets_of_the_benchmark():
    assert sorted(legion.GENERATORS) == sorted(UNIVERSAL)
    assert list(legion.FAMILIES) == ["GANs", "Deepfakes", "CRN", "IMLE", "SITD", "SAN", "Diffusion"]
    assert [len(line) for line in legion.TABLE5.values()] == [7] * 9
    # UniFD's own accuracies, whose plain means the table has
    unifd = {"progan": 100, "cyclegan": 98.5, "biggan": 94.5, "stylegan": 82, "gaugan": 99.5, "stargan": 97}
    assert np.mean([unifd[name] for name in legion.FAMILIES["GANs"]]) == legion.TABLE5["UniFD"][0]


def test_family_rows_are_plain_means_over_their_generators():
    """Sets of different sizes count the same, and a family with a set missing has no row."""
    protocol = find_protocol("legion-detection")
    rng = np.random.default_rng(0)
    result, right = EvaluationResult(()), {}
    for number, generator in enumerate(legion.GENERATORS):
        if generator == "dalle":
            continue
        for place in range(4 + 2 * number):
            label, score = place % 2, float(rng.random())
            result.add(ImageRecord(f"{generator}{place}", generator, bool(label), score, None, label))
            right.setdefault(generator, []).append((score >= 0.5) == bool(label))
    rows = [row for row in family_rows(result, protocol, 0) if row.metric == "image_accuracy"]
    found = {row.source: row for row in rows}
    gans = found["GANs"]
    assert gans.value == pytest.approx(np.mean([np.mean(right[name]) for name in legion.FAMILIES["GANs"]]))
    assert (gans.paper_value, gans.n) == (0.9701, sum(len(right[name]) for name in legion.FAMILIES["GANs"]))
    assert found["SITD"].value == pytest.approx(np.mean(right["seeingdark"]))
    assert found["SITD"].paper_value == 0.7944
    assert "Diffusion" not in found
    assert "average" not in found
    assert found["progan"].paper_value is None
    assert rows[0].source == "GANs"
