import json

import numpy as np
import pytest
from archives_layout import image_bytes, write_tree, write_zip
from direct_rows import direct_rows
from three_ways import assert_three_ways_equal, rows_of

from forgescope.datasets_scripts.load import corpus_builder, load_corpus


def explained(name: str, regional: list, texts: list[str] = ()) -> dict:
    problems = {"regional": regional, "global": [{"desc": text} for text in texts]}
    return {"image_path": f"media_data/image/{name}", "problems": problems, "id": name}


def box(*numbers: float, desc: str = "six fingers") -> dict:
    return {"region": list(numbers), "desc": desc}


def questions(name: str, truth: str, category: str, answers: tuple[str, str] | None = None) -> list[dict]:
    """The two questions about an image, as published; `answers` to (is it fake, is it real)."""
    given = answers or (("Yes", "No") if truth == "fake" else ("No", "Yes"))
    return [
        {
            "image_path": f"media_data/image/{name}",
            "question": f"<image>\nIs it {asked}?",
            "answer": answer,
            "metric": "open-ended",
            "modality": "image-text",
            "question_type": f"image_tf_image_{truth}_ask_{asked}_{category}",
            "choices": [],
            "id": f"{category}_tf_{asked}_{name}",
        }
        for asked, answer in zip(("fake", "real"), given, strict=True)
    ]


EXPLAINED = [
    explained("a.jpg", [box(1, 1, 3, 2), box(6, 2, 2, 3, desc="手")], ["too smooth"]),
    explained("b.png", [box(10, 6, 9, 9), box(1, 1, 0, 2), box(1, 1)]),
    explained("c.png", []),
]
JUDGED = [
    *questions("a.jpg", "fake", "person"),
    *questions("b.png", "real", "sence"),
    *questions("c.png", "fake", "doc"),
]
IMAGES = {
    "media_data/image/a.jpg": image_bytes(1, kind="JPEG"),
    "media_data/image/b.png": image_bytes(2),
    "media_data/image/c.png": image_bytes(3),
}


def layout(explained=EXPLAINED, judged=JUDGED, encoding: str = "utf-16") -> dict[str, bytes]:
    return {
        **IMAGES,
        "data_json/image/open_ended_vqa.json": json.dumps(explained, ensure_ascii=False).encode(encoding),
        "data_json/image/true_or_false.json": json.dumps(judged).encode(),
        "data_json/video/true_or_false.json": b"not read",
    }


def test_open_ended(tmp_path):
    loaded = assert_three_ways_equal("loki", write_tree(tmp_path / "data", layout()), tmp_path)
    assert list(loaded) == ["test"]
    rows = list(loaded["test"])
    assert [row["id"] for row in rows] == [f"media_data/image/{name}" for name in ("a.jpg", "b.png", "c.png")]
    assert {row["label"] for row in rows} == {1}
    assert rows[0]["regions"] == [
        {"explanation": "six fingers", "bbox": [1.0, 1.0, 3.0, 2.0]},
        {"explanation": "手", "bbox": [6.0, 2.0, 2.0, 3.0]},
    ]
    assert rows[0]["global_explanations"] == ["too smooth"]
    expected = np.zeros((8, 12), np.uint8)
    expected[1:4, 1:5] = 1
    expected[2:6, 6:9] = 1
    assert (np.asarray(rows[0]["mask"]) == expected).all()
    assert (len(rows[1]["regions"]), int(np.asarray(rows[1]["mask"]).sum())) == (1, 4)
    assert (rows[2]["mask"], rows[2]["regions"]) == (None, [])


def test_quirks_of_open_ended_are_counted(tmp_path):
    bad = [
        *EXPLAINED,
        {"image_path": "media_data/image/a.jpg", "problems": "none"},
        {"image_path": "media_data/image/a.jpg", "problems": {"regional": ["text", box(0, 0, 2, 2, desc="")]}},
        {"problems": {}},
        "text",
    ]
    rows, notes = direct_rows("loki", write_tree(tmp_path, layout(bad)))
    assert len(rows["test"]) == 5
    assert notes.counts == {
        "box beyond the border": 1,
        "degenerate box": 1,
        "not a box": 1,
        "region without a usable box, left out": 2,
        "image without a usable region": 2,
        "entry without problems": 1,
        "problem that is no object": 1,
        "empty desc": 1,
        "entry without image_path": 2,
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16"])
def test_every_encoding_gives_the_same_rows(tmp_path, encoding):
    rows, _ = direct_rows("loki", write_tree(tmp_path, layout(encoding=encoding)))
    assert rows["test"][0]["regions"][1]["explanation"] == "手"


def test_true_or_false(tmp_path):
    root = write_tree(tmp_path / "data", layout())
    loaded = assert_three_ways_equal("loki", root, tmp_path, "true_or_false")
    assert [(row["id"][-5:], row["label"], row["category"], row["mask"]) for row in loaded["test"]] == [
        ("a.jpg", 1, "person", None),
        ("b.png", 0, "scene", None),
        ("c.png", 1, "doc", None),
    ]
    asked = assert_three_ways_equal("loki", root, tmp_path, "true_or_false", questions=True)
    assert asked["test"][1]["questions"] == [
        {name: one[name] for name in ("id", "question", "question_type", "answer")} for one in JUDGED[2:4]
    ]
    _, notes = direct_rows("loki", root, "true_or_false")
    assert notes.counts == {"category sence read as scene": 1}


def test_conflicts_and_malformed_types_are_counted(tmp_path):
    pair = questions("c.png", "fake", "doc")
    judged = [
        # one answer contradicts its type, the other tells
        *questions("a.jpg", "fake", "person", answers=("No", "no.")),
        # the types contradict each other
        questions("b.png", "real", "scene")[0],
        questions("b.png", "fake", "scene")[0],
        # nothing that can be read
        {**pair[0], "question_type": "image_tf_fake_doc"},
        {**pair[1], "answer": "Perhaps"},
        {key: value for key, value in pair[0].items() if key != "image_path"},
    ]
    rows, notes = direct_rows("loki", write_tree(tmp_path, layout(judged=judged)), "true_or_false")
    assert [(row["id"], row["label"]) for row in rows["test"]] == [("media_data/image/a.jpg", "fake")]
    assert notes.counts == {
        "answer that contradicts its question type": 1,
        "image whose questions contradict each other, left out": 1,
        "question type that cannot be read": 1,
        "answer that is neither yes nor no": 1,
        "image without a usable question, left out": 1,
        "entry without image_path": 1,
    }


class TestLayouts:
    def test_zip_of_images_beside_the_annotations(self, tmp_path):
        files = layout()
        packed = {f"LOKI/{name}": files.pop(name) for name in IMAGES}
        write_zip(write_tree(tmp_path / "zip", files) / "media_data.zip", packed)
        tree = load_corpus("loki", write_tree(tmp_path / "tree", layout()), cache_dir=tmp_path / "cache")
        zipped = load_corpus("loki", tmp_path / "zip", cache_dir=tmp_path / "cache")
        assert rows_of(tree["test"]) == rows_of(zipped["test"])

    def test_one_annotation_file_is_enough_for_its_configuration(self, tmp_path):
        files = layout()
        del files["data_json/image/open_ended_vqa.json"]
        root = write_tree(tmp_path / "data", files)
        assert len(direct_rows("loki", root, "true_or_false")[0]["test"]) == 3
        with pytest.raises(FileNotFoundError, match=r"holds no LOKI: expected open_ended_vqa\.json"):
            load_corpus("loki", root, cache_dir=tmp_path / "cache")

    def test_paper_numbers_follow_the_configuration(self, tmp_path):
        stated = {
            name: [(one.quantity, one.value) for one in corpus_builder("loki", tmp_path, name).CARD.paper_counts]
            for name in ("open_ended", "true_or_false")
        }
        assert stated == {"open_ended": [("rows", 229)], "true_or_false": [("real", 900), ("fake", 1_317)]}


class TestBadInput:
    def test_images(self, tmp_path):
        files = {**layout(), "media_data/image/a.jpg": b"", "media_data/image/b.png": b"text"}
        del files["media_data/image/c.png"]
        for config in ("open_ended", "true_or_false"):
            rows, notes = direct_rows("loki", write_tree(tmp_path / config, files), config)
            assert rows == {"test": []}
            assert [notes.counts[kind] for kind in ("empty file", "not an image", "missing file")] == [1, 1, 1]

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            ('[\n{"image_path" 1}]'.encode("utf-16"), r"open_ended_vqa\.json line 2 is not JSON"),
            (b"", r"open_ended_vqa\.json is empty"),
            (b"{}", "holds a JSON dict: expected a list"),
        ],
    )
    def test_damaged_json_is_named(self, tmp_path, data, message):
        files = {**layout(), "data_json/image/open_ended_vqa.json": data}
        with pytest.raises(ValueError, match=message):
            load_corpus("loki", write_tree(tmp_path / "data", files), cache_dir=tmp_path / "cache")

    def test_nothing_there(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="holds no LOKI"):
            load_corpus("loki", tmp_path, cache_dir=tmp_path / "cache")
