from PIL import Image

from forgescope.construction.promptforge.plots import save_plots

STATISTICS = {
    "tasks": {"object_addition": 30, "text_editing": 4, "not stated": 2},
    "rejected": {"too few matches": 3},
    "seconds_a_pair": {"read": 0.01, "align": 0.02, "similarity": 0.3},
}


def test_charts(tmp_path):
    files = save_plots(STATISTICS, tmp_path / "plots")
    assert [file.name for file in files] == ["tasks.png", "rejects.png", "time.png"]
    for file in files:
        with Image.open(file) as image:
            assert image.width == 1200
            assert len(image.convert("RGB").getcolors(100_000)) > 20


def test_only_what_there_is(tmp_path):
    assert save_plots({"tasks": {}, "rejected": {}}, tmp_path) == []
