import numpy as np
import pytest
from PIL import Image

from forgescope.evaluation.class_plots import draw_confusion, save_confusion_plot

CLASSES = ("authentic", "sd2", "kolors")
CONFUSION = np.array([[90, 10, 0], [1, 1, 2], [0, 0, 0]])


def axes():
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    return Figure().add_subplot()


def test_rows_are_shares_of_the_true_class():
    drawn = axes()
    draw_confusion(drawn, CONFUSION, CLASSES, "none")
    np.testing.assert_allclose(drawn.images[0].get_array(), [[0.9, 0.1, 0], [0.25, 0.25, 0.5], [0, 0, 0]])
    written = {text.get_position()[::-1]: text.get_text() for text in drawn.texts}
    assert written == {(0, 0): "90", (0, 1): "10", (1, 0): "25", (1, 1): "25", (1, 2): "50", (2, 1): "no pixel"}
    assert [label.get_text() for label in drawn.get_xticklabels()] == list(CLASSES)
    assert [label.get_text() for label in drawn.get_yticklabels()] == list(CLASSES)
    dark = next(text for text in drawn.texts if text.get_text() == "90")
    assert dark.get_color() == "white"


@pytest.mark.parametrize("panels", [1, 2, 5])
def test_panels_are_written(panels, tmp_path):
    pytest.importorskip("matplotlib")
    titles = [f"jpeg:{number}" for number in range(panels)]
    save_confusion_plot(dict.fromkeys(titles, CONFUSION), CLASSES, tmp_path / "matrix.png")
    with Image.open(tmp_path / "matrix.png") as picture:
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 5
        assert picture.size[0] > min(panels, 3) * 400
        assert picture.size[1] > (1 if panels < 4 else 2) * 400


def test_nothing_to_draw_is_an_error(tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match="there is no confusion matrix to draw: no edited image was scored"):
        save_confusion_plot({"none": np.zeros((3, 3), int)}, CLASSES, tmp_path / "matrix.png")
