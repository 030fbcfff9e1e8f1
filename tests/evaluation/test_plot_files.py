import builtins

import pytest
from PIL import Image

from forgescope.evaluation.plots import save_plot
from forgescope.evaluation.rows import Row


def row(source, metric, value, perturbation="none", low=None, high=None):
    shape = ("pooled", "forged", "skip", 0.5)
    return Row("custom", source, metric, value, 9, *shape, perturbation=perturbation, low=low, high=high)


ROWS = [
    row("copy_move", "pixel_f1", 0.4, low=0.3, high=0.5),
    row("copy_move", "pixel_iou", 0.3),
    row("splicing", "pixel_f1", 0.6),
    row("splicing", "pixel_iou", None),
]


@pytest.mark.parametrize("rows", [ROWS, [*ROWS, row("copy_move", "pixel_f1", 0.2, "jpeg:80")]])
def test_a_chart_is_written(rows, tmp_path):
    pytest.importorskip("matplotlib")
    save_plot(rows, tmp_path / "chart.png")
    with Image.open(tmp_path / "chart.png") as chart:
        assert chart.size == (900, 600)
        assert len(chart.convert("RGB").getcolors(1 << 20)) > 3


def test_bars_have_the_values_of_the_rows(tmp_path):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    from forgescope.evaluation.plots import _draw_bars

    axes = Figure().add_subplot()
    _draw_bars(axes, [one for one in ROWS if one.value is not None], ["copy_move", "splicing"], "source")
    assert [bar.get_height() for bar in axes.patches] == [0.4, 0.6, 0.3]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["copy_move", "splicing"]


def test_nothing_to_draw_is_an_error(tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match="there is no pixel number to draw"):
        save_plot([row("all", "image_auc", 0.5)], tmp_path / "chart.png")


def test_a_missing_matplotlib_names_the_extra(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r'pip install "forgescope\[plot\]"'):
        save_plot(ROWS, tmp_path / "chart.png")
