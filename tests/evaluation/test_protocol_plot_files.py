import pytest
from PIL import Image

from forgescope.evaluation.protocol_plots import _draw_curves, _draw_pairs, save_protocol_plot
from forgescope.evaluation.rows import Row


def row(source, value, perturbation="none", paper=None, metric="image_accuracy"):
    shape = ("pooled", "fake", "none", 0.5)
    return Row("gamma-genimage", source, metric, value, 9, *shape, perturbation=perturbation, paper_value=paper)


BARS = [row("adm", 0.6, paper=0.9), row("biggan", 0.7, paper=0.8), row("all", 0.65), row("average", 0.65, paper=0.85)]
CURVES = [
    row(source, value - 0.1 * step, perturbation)
    for step, perturbation in enumerate(("none", "jpeg:90", "jpeg:70"))
    for source, value in (("adm", 0.9), ("biggan", 0.7), ("all", 0.8), ("average", 0.8))
]


@pytest.mark.parametrize("rows", [BARS, CURVES, BARS[:1]])
def test_a_chart_is_written(rows, tmp_path):
    pytest.importorskip("matplotlib")
    save_protocol_plot(rows, tmp_path / "chart.png")
    with Image.open(tmp_path / "chart.png") as chart:
        assert chart.size == (1200, 600)
        assert len(chart.convert("RGB").getcolors(1 << 20)) > 3


def axes():
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    return Figure().add_subplot()


def test_bars_stand_beside_those_of_the_paper():
    drawn = axes()
    _draw_pairs(drawn, BARS, ["adm", "biggan", "average"])
    assert [bar.get_height() for bar in drawn.patches] == [0.6, 0.7, 0.65, 0.9, 0.8, 0.85]
    assert [text.get_text() for text in drawn.get_xticklabels()] == ["adm", "biggan", "average"]
    ours, paper = drawn.patches[1], drawn.patches[4]
    assert ours.get_x() + ours.get_width() == pytest.approx(paper.get_x())


def test_curves_have_the_values_of_the_rows_in_the_order_of_the_runs():
    drawn = axes()
    names = ["none", "jpeg:90", "jpeg:70"]
    _draw_curves(drawn, CURVES, ["adm", "biggan", "average"], names)
    lines = {line.get_label(): line for line in drawn.lines[:3]}
    assert lines["adm"].get_ydata() == pytest.approx([0.9, 0.8, 0.7])
    assert lines["average"].get_ydata() == pytest.approx([0.8, 0.7, 0.6])
    assert lines["average"].get_linewidth() > lines["adm"].get_linewidth()
    assert [text.get_text() for text in drawn.get_xticklabels()] == ["as read", "90", "70"]
    assert drawn.get_xlabel() == "JPEG quality"


def test_nothing_to_draw_is_an_error(tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match="there is no accuracy to draw"):
        save_protocol_plot([row("adm", 0.5, metric="image_auc"), row("biggan", None)], tmp_path / "chart.png")
