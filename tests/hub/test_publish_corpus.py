"""Export a corpus, push it to a real HTTP server, load it from there with plain `datasets`, push another over it."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import DatasetCard
from PIL import Image

HERE = Path(__file__).parent
CARD = """---
license: mit
language: en
configs:
- config_name: old
  data_files: nothing
tags:
- mine
---
# A card of my own
"""


def write_tree(root, splits):
    """A GenImage tree with two images a split; the pixels of each by its id."""
    pixels = {}
    for split in splits:
        for number, label in enumerate(("ai", "nature")):
            path = root / "BigGAN/imagenet_ai_0419_biggan" / split / label / f"{root.name}{number}.png"
            path.parent.mkdir(parents=True)
            image = Image.fromarray(np.random.default_rng(len(pixels)).integers(0, 256, (6, 8, 3), dtype=np.uint8))
            image.save(path)
            pixels[str(path.relative_to(root))] = image.tobytes().hex()
    return pixels


@pytest.fixture(scope="module")
def pushed(mini_hub, tmp_path_factory):
    """Results of the child, what it printed, and the pixels of both trees."""
    folder = tmp_path_factory.mktemp("pushed")
    pixels = write_tree(folder / "first", ["train", "val"]), write_tree(folder / "second", ["train"])
    mini_hub.create("datasets/org/carded")
    mini_hub.commit("datasets/org/carded", {"README.md": CARD.encode(), "data/old-00000-of-00001.parquet": b"old"})
    environment = {
        **os.environ,
        "HF_ENDPOINT": mini_hub.url,
        "HF_TOKEN": "hf_test",
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(folder / "home"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    child = subprocess.run(
        [sys.executable, str(HERE / "publish_corpus_child.py"), str(folder)],
        env=environment,
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    return json.loads((folder / "results.json").read_text()), child.stdout, pixels


def test_exit_statuses_and_addresses(pushed, mini_hub):
    results, printed, _ = pushed
    assert results["statuses"] == dict.fromkeys(["new", "again", "changed", "carded"], 0)
    assert printed.count(f"{mini_hub.url}/datasets/org/photos\n") == 3
    assert printed.count("an equal export was there already") == 2


@pytest.mark.parametrize("state", [0, 1])
def test_plain_datasets_loads_the_pixels_from_the_hub(pushed, state):
    results, _, pixels = pushed
    loaded = results["states"][state]
    assert list(loaded) == (["train", "validation"] if state == 0 else ["train"])
    rows = [row for split in loaded.values() for row in split]
    assert {row_id: found for row_id, _, found in rows} == pixels[state]
    assert all(label == ("/ai/" in row_id) for row_id, label, _ in rows)


def test_shards_of_an_earlier_push_are_gone(pushed, mini_hub):
    names = set(mini_hub.files("datasets/org/photos"))
    assert names == {".gitattributes", "README.md", "data/train-00000-of-00001.parquet"}
    assert "data/old-00000-of-00001.parquet" not in mini_hub.files("datasets/org/carded")


def test_a_push_is_one_commit(pushed, mini_hub):
    # one that makes the repository, then one a push
    assert len(mini_hub.repositories["datasets/org/photos"]) == 1 + 3


def test_new_repositories_are_private_where_asked(pushed, mini_hub):
    assert mini_hub.private["datasets/org/photos"]


def test_the_snippet_names_the_repository(pushed, mini_hub):
    card = DatasetCard(mini_hub.files("datasets/org/photos")["README.md"].decode())
    assert 'load_dataset("org/photos")' in card.text
    assert card.text.count("# GenImage") == 1


def test_a_card_that_was_there_keeps_its_text_and_metadata(pushed, mini_hub):
    card = DatasetCard(mini_hub.files("datasets/org/carded")["README.md"].decode())
    assert card.text.startswith("# A card of my own\n\n<!-- written by forgescope")
    assert (card.data.license, card.data.language) == ("mit", "en")
    assert card.data.tags == ["mine", "forgescope", "image-forensics"]
    assert [config["config_name"] for config in card.data.configs] == ["default"]


def test_the_folder_here_is_not_changed_by_the_push(pushed, tmp_path_factory):
    out = next(Path(tmp_path_factory.getbasetemp()).glob("pushed*/out/README.md"))
    assert 'load_dataset("./out")' in out.read_text()


def test_images_survive_as_files(pushed, mini_hub):
    import pyarrow.parquet as pq

    shard = pq.read_table(io.BytesIO(mini_hub.files("datasets/org/photos")["data/train-00000-of-00001.parquet"]))
    first = shard["image"][0].as_py()
    assert Image.open(io.BytesIO(first["bytes"])).tobytes().hex() in pushed[2][1].values()
