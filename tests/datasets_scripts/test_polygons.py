import builtins

import numpy as np
import pytest

from forgescope.datasets_scripts.notes import Notes
from forgescope.datasets_scripts.polygons import fill_boxes, rasterize, usable_box, usable_polygons

SQUARE = [2.0, 3.0, 6.0, 3.0, 6.0, 5.0, 2.0, 5.0]  # x 2 to 6, y 3 to 5
NAN = float("nan")


def area_of(mask: np.ndarray) -> int:
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) <= {0, 1}
    return int(mask.sum())


class TestRasterize:
    def test_fillpoly_includes_the_outline(self):
        mask = rasterize([SQUARE], (10, 8), "fillpoly")
        assert mask.shape == (8, 10)
        expected = np.zeros((8, 10), np.uint8)
        expected[3:6, 2:7] = 1
        assert (mask == expected).all()

    def test_coco_leaves_the_far_edges_out(self):
        pytest.importorskip("pycocotools")
        mask = rasterize([SQUARE], (10, 8), "coco")
        expected = np.zeros((8, 10), np.uint8)
        expected[3:5, 2:6] = 1
        assert (mask == expected).all()

    def test_fillpoly_cuts_coordinates(self):
        shifted = [value + 0.9 for value in SQUARE]
        assert (rasterize([shifted], (10, 8), "fillpoly") == rasterize([SQUARE], (10, 8), "fillpoly")).all()

    @pytest.mark.parametrize("rule", ["fillpoly", "coco"])
    def test_overlap_does_not_add_up_nor_cancel(self, rule):
        if rule == "coco":
            pytest.importorskip("pycocotools")
        one, two = rasterize([SQUARE], (10, 8), rule), rasterize([[4.0, 2, 9, 2, 9, 7, 4, 7]], (10, 8), rule)
        both = rasterize([SQUARE, [4.0, 2, 9, 2, 9, 7, 4, 7]], (10, 8), rule)
        assert (both == (one | two)).all()
        assert area_of(both) < area_of(one) + area_of(two)

    @pytest.mark.parametrize("rule", ["fillpoly", "coco"])
    def test_beyond_the_border_and_nothing(self, rule):
        if rule == "coco":
            pytest.importorskip("pycocotools")
        assert area_of(rasterize([[-5.0, -5, 20, -5, 20, 20, -5, 20]], (10, 8), rule)) == 80
        assert area_of(rasterize([], (10, 8), rule)) == 0

    def test_the_two_rules_differ_as_measured(self):
        pytest.importorskip("pycocotools")
        rng = np.random.default_rng(0)
        ious, areas = [], []
        for _ in range(60):
            angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(5, 20)))
            radius = rng.uniform(8, 40) * rng.uniform(0.5, 1, len(angles))
            centre = rng.uniform(60, 140, 2)
            points = centre + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
            coco, fill = (rasterize([points.ravel().tolist()], (200, 200), rule) for rule in ("coco", "fillpoly"))
            ious.append((coco & fill).sum() / (coco | fill).sum())
            areas.append(fill.sum() / coco.sum())
        assert 0.9 < np.mean(ious) < 0.99
        assert 1.0 < np.mean(areas) < 1.2

    def test_unknown_rule(self):
        with pytest.raises(ValueError, match="unknown rasterizer 'skimage': expected one of coco, fillpoly"):
            rasterize([SQUARE], (10, 8), "skimage")

    def test_missing_library_is_named(self, monkeypatch):
        original = builtins.__import__

        def refuse(name, *args, **kwargs):
            if name == "pycocotools":
                raise ImportError(name)
            return original(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", refuse)
        with pytest.raises(ImportError, match=r'pip install "forgescope\[coco\]"'):
            rasterize([SQUARE], (10, 8), "coco")


class TestUsablePolygons:
    def check(self, polygons) -> tuple[list, dict]:
        notes = Notes()
        return usable_polygons(polygons, (10, 8), "1:0", notes), dict(notes.counts)

    def test_good_ones_stay_as_they_are(self):
        assert self.check([SQUARE, [0, 0, 10, 0, 10, 8]]) == ([SQUARE, [0, 0, 10, 0, 10, 8]], {})

    @pytest.mark.parametrize(
        "polygon", [[1.0, 1, 2, 2], [1.0, 1, 2, 2, 3, 3], [4.0, 4, 4, 4, 4, 4], [1.0, 1, 5, 1, 9, 1, 3, 1]]
    )
    def test_without_area(self, polygon):
        assert self.check([polygon]) == ([], {"degenerate polygon": 1})

    @pytest.mark.parametrize(
        "polygon", [[], [1.0, 2, 3], ["a", 1, 2, 3, 4, 5], [NAN, 1, 2, 3, 4, 5], [1e9, 0, 1, 1, 2, 0], {"counts": ""}]
    )
    def test_no_polygon(self, polygon):
        assert self.check([polygon, SQUARE]) == ([SQUARE], {"not a polygon": 1})
        assert self.check(polygon if isinstance(polygon, dict) else None) == ([], {"not a polygon": 1})

    def test_border(self):
        rounding = [-1e-13, 1.0, 10.0 + 1e-12, 1.0, 5.0, 8.0 + 1e-9]
        kept, counts = self.check([rounding])
        assert kept == [[0.0, 1.0, 10.0, 1.0, 5.0, 8.0]]
        assert counts == {"polygon beyond the border by rounding, clipped": 1}
        beyond = [-1.0, 1.0, 11.0, 1.0, 5.0, 8.0]
        assert self.check([beyond]) == ([beyond], {"polygon beyond the border": 1})


class TestBoxes:
    def test_both_corners_are_included(self):
        mask = fill_boxes([[1.9, 2.2, 3.0, 1.0], [8, 6, 50, 50]], (10, 8))
        expected = np.zeros((8, 10), np.uint8)
        expected[2:4, 1:5] = 1
        expected[6:, 8:] = 1
        assert (mask == expected).all()

    def test_usable(self):
        notes = Notes()
        assert usable_box([1, 2, 3, 4], (10, 8), "a", notes) == [1, 2, 3, 4]
        assert not notes.counts
        assert usable_box([-1, 2, 3, 40], (10, 8), "a", notes) == [-1, 2, 3, 40]
        for box in ([1, 2, 0, 4], [10, 2, 3, 4], [-5, 0, 5, 4]):
            assert usable_box(box, (10, 8), "a", notes) is None
        for box in (None, [], [1, 2, 3], "box", [1, 2, 3, None]):
            assert usable_box(box, (10, 8), "a", notes) is None
        assert notes.counts == {"box beyond the border": 1, "degenerate box": 3, "not a box": 5}

    def test_left_of_the_image(self):
        assert fill_boxes([[-9.0, -9, 5, 5]], (10, 8)).sum() == 0
