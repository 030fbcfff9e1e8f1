"""Which images DiffSeg30k's protocols choose, by what their masks say, and how foreign classifiers are read."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from edited_corpus import ids, photo, write_corpus
from PIL import Image

from forgescope.datasets_scripts.diffseg30k import FIGURE_6_EDITORS, side_of
from forgescope.edit_bases import read_bases
from forgescope.edit_protocol_data import EditData, draw_edited_images
from forgescope.evaluation.protocols import PROTOCOLS
from forgescope.evaluation.results import Skipped
from forgescope.image_classifier import fake_index

SEMANTIC, CLASSIFICATION = PROTOCOLS["diffseg-semantic"], PROTOCOLS["diffseg-classification"]


def names(images):
    return [int(example.name) for example in images.examples()]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"), range(16), range(16, 19))


def test_edited_images_come_with_their_ids(corpus):
    images = draw_edited_images(SEMANTIC, EditData(corpus))
    assert images.counts == {("diffseg30k", "fake"): 16}
    for example in images.examples():
        number = int(example.name)
        np.testing.assert_array_equal(example.mask, ids(number))
        assert example.image.tobytes() == photo(number).tobytes()
        assert (example.source, example.label) == ("diffseg30k", 1)


def test_the_draw_follows_seed_and_ids_alone(corpus, tmp_path):
    first = names(draw_edited_images(SEMANTIC, EditData(corpus), per_class=5))
    assert len(first) == 5
    assert names(draw_edited_images(SEMANTIC, EditData(corpus), per_class=5)) == first
    assert names(draw_edited_images(SEMANTIC, EditData(corpus), per_class=5, seed=1)) != first
    assert set(names(draw_edited_images(SEMANTIC, EditData(corpus), per_class=3))) < set(first)
    elsewhere = write_corpus(tmp_path, range(16), folder="deep/validation")
    assert names(draw_edited_images(SEMANTIC, EditData(elsewhere), per_class=5)) == first


def test_without_stated_splits_two_tenths_are_taken(tmp_path):
    data = write_corpus(tmp_path, range(40), folder="train_copy")
    expected = [number for number in range(40) if side_of(f"{number:08d}") == "validation"]
    assert names(draw_edited_images(SEMANTIC, EditData(data))) == expected
    assert sorted(names(draw_edited_images(SEMANTIC, EditData(data, split="all")))) == list(range(40))


def test_as_many_unedited_images_as_edited_ones(corpus, tmp_path):
    images = draw_edited_images(CLASSIFICATION, EditData(corpus))
    assert images.counts == {("diffseg30k", label): 3 for label in ("fake", "real")}
    labels = Counter((example.label, int(example.name) > 15) for example in images.examples())
    assert labels == {(1, False): 3, (0, True): 3}
    for number in range(9):
        photo(number + 70).save(tmp_path / f"{number}.jpg")
    images = draw_edited_images(CLASSIFICATION, EditData(corpus, real=tmp_path))
    assert images.counts == {("diffseg30k", label): 12 for label in ("fake", "real")}
    assert sum(example.name.endswith(".jpg") for example in images.examples()) == 9
    assert draw_edited_images(CLASSIFICATION, EditData(corpus, real=tmp_path), per_class=2).total == 4


@pytest.mark.parametrize("pair", ["flux-hunyuan", "sd2-sd3.5", "glide-kolors"])
def test_unseen_editors_are_alone_in_their_images(pair, tmp_path):
    """Each pair alone in four images, with another editor in two."""
    protocol = PROTOCOLS[f"diffseg-unseen-{pair}"]
    first, second = (FIGURE_6_EDITORS.index(name) + 1 for name in protocol.editors)
    data = write_corpus(tmp_path, range(6))
    for number, editors in enumerate([(first,), (second,), (first, second), (second, first), (first, 8), (5, second)]):
        mask = np.zeros((40, 48), np.uint8)
        mask[:9], mask[20:30] = editors[0], editors[-1]
        Image.fromarray(mask).save(data / f"val/{number:08d}.mask.png")
    assert names(draw_edited_images(protocol, EditData(data))) == [0, 1, 2, 3]


def test_the_corpus_is_read_with_the_checkpoints_editors(tmp_path):
    data = write_corpus(tmp_path, range(2))
    lora = PROTOCOLS["diffseg-lora"]
    with pytest.raises(ValueError, match="diffseg-lora needs the editors sdxl: the checkpoint names telea, ns"):
        draw_edited_images(lora, EditData(data, variant=data, editors=("telea", "ns")))
    with pytest.raises(ValueError, match="values 0, 1, 2, 6 where the map has ids 1 to 2"):
        draw_edited_images(SEMANTIC, EditData(data, editors=("telea", "ns")))


def test_unreadable_files_are_named(tmp_path):
    data = write_corpus(tmp_path, range(4))
    (data / "val/00000000.image.png").write_bytes(b"")
    (data / "val/00000001.mask.png").unlink()
    found = list(draw_edited_images(SEMANTIC, EditData(data)).examples())
    lost = {one.name: one.reason for one in found if isinstance(one, Skipped)}
    assert len(found) - len(lost) == 2
    assert set(lost) == {"val/00000001", "val/00000000.image.png"}
    assert "image without mask" in lost["val/00000001"]
    assert "empty file" in lost["val/00000000.image.png"]


class TestBases:
    PROTOCOL = PROTOCOLS["diffseg-base-binary"]

    def test_what_construct_writes(self, corpus, tmp_path):
        data = write_corpus(tmp_path, range(4))
        rows = [{"id": f"{number:08d}", "base": ("real", "ai")[number % 2]} for number in range(3)]
        rows[0]["prompt"] = "a cat\u2028and a dog"  # no end of a line of JSON
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        (data / "metadata.jsonl").write_bytes("".join(lines).encode())
        images = draw_edited_images(self.PROTOCOL, EditData(data))
        assert images.counts == {("real-base", "fake"): 2, ("ai-base", "fake"): 1}
        found = list(images.examples())
        assert [(one.name, one.source) for one in found if not isinstance(one, Skipped)] == [
            ("00000000", "real-base"),
            ("00000001", "ai-base"),
            ("00000002", "real-base"),
        ]
        assert Skipped("00000003", "its base is not stated") in found

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("id,base\n1,photo\n", "row 1 of .*expected an id and a base, real or ai, got .*photo"),
            ("name,base\n1,real\n", "row 1 of .*expected an id and a base, real or ai"),
            ("id,base\n", "is empty: expected the columns id and base"),
        ],
    )
    def test_lists_that_say_nothing(self, text, message, tmp_path):
        (tmp_path / "bases.csv").write_text(text)
        with pytest.raises(ValueError, match=message):
            read_bases(tmp_path, tmp_path / "bases.csv")

    def test_nothing_that_says_it(self, corpus, tmp_path):
        with pytest.raises(ValueError, match="the published corpus does not say it: give --bases FILE, a CSV"):
            draw_edited_images(self.PROTOCOL, EditData(corpus))
        with pytest.raises(FileNotFoundError):
            draw_edited_images(self.PROTOCOL, EditData(corpus, bases=tmp_path / "none.csv"))
        (tmp_path / "metadata.jsonl").write_text("{\n")
        with pytest.raises(ValueError, match="holds a line that is not JSON"):
            read_bases(tmp_path, None)


class TestErrors:
    def test_nothing_to_measure(self, tmp_path):
        empty = write_corpus(tmp_path / "a", range(0), range(3))
        with pytest.raises(ValueError, match="diffseg-semantic: .* has no image that is edited"):
            draw_edited_images(SEMANTIC, EditData(empty))
        data = write_corpus(tmp_path / "b", range(2))
        unseen = PROTOCOLS["diffseg-unseen-flux-hunyuan"]
        with pytest.raises(ValueError, match="has no image whose every edit is by flux.1 or hunyuandit"):
            draw_edited_images(unseen, EditData(data))
        with pytest.raises(ValueError, match="has no image with pixels of kandinsky2.2"):
            draw_edited_images(replace(SEMANTIC, of_editor="kandinsky2.2"), EditData(data))
        (tmp_path / "c").mkdir()
        with pytest.raises(FileNotFoundError, match="holds no DiffSeg30k: expected train.zip"):
            draw_edited_images(SEMANTIC, EditData(tmp_path / "c"))
        with pytest.raises(FileNotFoundError, match="does not exist"):
            draw_edited_images(SEMANTIC, EditData(tmp_path / "d"))

    def test_folders_that_mean_nothing(self, corpus):
        for name in ("real", "variant", "bases"):
            with pytest.raises(ValueError, match=f"diffseg-semantic has no use for --{name}: leave it out"):
                draw_edited_images(SEMANTIC, EditData(corpus, **{name: corpus}))


@pytest.mark.parametrize(
    ("id2label", "wanted", "index"),
    [
        ({0: "Real", 1: "Fake"}, None, 1),
        ({0: "AI_Generated", 1: "human"}, None, 0),
        ({0: "LABEL_0"}, None, 0),
        ({0: "nature", 1: "diffusion"}, "Diffusion", 1),
    ],
)
def test_the_class_of_fake_images(id2label, wanted, index):
    assert fake_index(id2label, wanted) == index


@pytest.mark.parametrize(
    ("id2label", "wanted"),
    [({0: "LABEL_0", 1: "LABEL_1"}, None), ({0: "ai", 1: "edited"}, None), ({0: "real", 1: "fake"}, "dog")],
)
def test_a_class_that_could_be_none_or_several_has_to_be_named(id2label, wanted):
    message = f"which class means fake is not clear, the checkpoint has {id2label[0]}, {id2label[1]}: name it with"
    with pytest.raises(ValueError, match=message):
        fake_index(id2label, wanted)
