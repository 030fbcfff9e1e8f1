import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archives_layout import image_bytes, write_tree
from direct_rows import direct_rows
from three_ways import assert_three_ways_equal

from forgescope.datasets_scripts.load import corpus_builder, load_corpus
from forgescope.datasets_scripts.notes import Notes
from forgescope.datasets_scripts.parquet_rows import parquet_rows

GPT, OTHERS = "4o-26-3-25", ("flux-1.1", "midjourney")
PROMPTS = 3


def comparisons() -> list[dict]:
    """Every prompt against both others; GPT-4o stands on side 2, but for the last comparison."""
    rows = []
    for number, other in enumerate(OTHERS):
        for prompt in range(PROMPTS):
            own, rival = image_bytes(prompt), image_bytes(100 + 10 * number + prompt)
            rows.append({"prompt": f"prompt {prompt}", "model1": other, "model2": GPT, "image1": rival, "image2": own})
    last = rows[-1]
    last["model1"], last["model2"] = last["model2"], last["model1"]
    last["image1"], last["image2"] = last["image2"], last["image1"]
    return rows


def parquet_bytes(rows: list[dict], row_group_size: int = 2) -> bytes:
    table = pa.Table.from_pylist(
        [
            {**row, **{name: {"bytes": row[name], "path": None} for name in ("image1", "image2")}}
            | {"weighted_results_image1_preference": 0.5}
            for row in rows
        ]
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=row_group_size)
    return buffer.getvalue()


def write_corpus(root):
    rows = comparisons()
    return write_tree(
        root,
        {
            "data/train-00000-of-00002.parquet": parquet_bytes(rows[:2]),
            "data/train-00001-of-00002.parquet": parquet_bytes(rows[2:]),
        },
    )


def test_each_image_of_gpt_4o_once_in_three_ways(tmp_path):
    rows = assert_three_ways_equal("openai4o", write_corpus(tmp_path / "data"), tmp_path)["train"]
    assert list(rows["prompt"]) == [f"prompt {number}" for number in range(PROMPTS)]
    assert list(rows["id"]) == [
        "train-00000-of-00002.parquet#0.2",
        "train-00000-of-00002.parquet#1.2",
        "train-00001-of-00002.parquet#0.2",
    ]
    assert set(rows["source"]) == {GPT}
    assert set(rows["label"]) == {1}
    assert [image.size for image in rows["image"]] == [(12, 8)] * PROMPTS


@pytest.mark.parametrize(
    ("options", "sources"),
    [
        ({"repeats": "all"}, {GPT: 2 * PROMPTS}),
        ({"model": "all"}, {GPT: PROMPTS, **dict.fromkeys(OTHERS, PROMPTS)}),
        ({"model": "FLUX"}, {OTHERS[0]: PROMPTS}),
        ({"model": "all", "repeats": "all"}, {GPT: 2 * PROMPTS, **dict.fromkeys(OTHERS, PROMPTS)}),
    ],
)
def test_the_side_is_told_by_its_own_model(tmp_path, options, sources):
    root = write_corpus(tmp_path)
    rows = direct_rows("openai4o", root, **options)[0]["train"]
    images = {(row["model1"], row["prompt"]): row["image1"] for row in comparisons()}
    images |= {(row["model2"], row["prompt"]): row["image2"] for row in comparisons()}
    assert {source: sum(row["source"] == source for row in rows) for source in sources} == sources
    assert len(rows) == sum(sources.values())
    for row in rows:
        assert row["image"]["bytes"] == images[row["source"], row["prompt"]]


def test_repeated_images_are_counted(tmp_path):
    _, notes = direct_rows("openai4o", write_corpus(tmp_path))
    assert notes.counts == {"image of a generator and prompt that stood before, left out": PROMPTS}


def test_one_item_alone_gives_the_row_that_it_gives_among_others(tmp_path):
    builder = corpus_builder("openai4o", write_corpus(tmp_path), hash_files=False, model="all", repeats="all")
    notes = Notes()
    pieces = builder.splits(notes)["train"]
    for piece in pieces:
        for item in piece:
            (row,) = builder.rows([item], notes)
            assert {key: row[key] for key in ("id", "label", "source")} == builder.facts(item)


def test_row_groups_without_a_wanted_row_are_not_read(tmp_path, monkeypatch):
    root = write_tree(tmp_path, {"x.parquet": parquet_bytes(comparisons(), row_group_size=2)})
    files = corpus_builder("openai4o", root, hash_files=False).files
    read = []
    real = pq.ParquetFile.iter_batches

    def recorded(self, *args, row_groups, **kwargs):
        read.extend(row_groups)
        return real(self, *args, row_groups=row_groups, **kwargs)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", recorded)
    assert [number for number, _ in parquet_rows(files, "x.parquet", ["prompt"], wanted={0, 5})] == [0, 5]
    assert read == [0, 2]
    assert [number for number, _ in parquet_rows(files, "x.parquet", ["prompt"])] == list(range(6))


def test_bad_cells_and_files_are_counted(tmp_path):
    rows = comparisons()
    rows[0]["image2"], rows[1]["image2"] = b"", b"no image"
    other = parquet_bytes([{"prompt": "x", "image1": image_bytes(), "image2": image_bytes()}])
    write_tree(tmp_path, {"a.parquet": parquet_bytes(rows), "b.parquet": other, "c.parquet": b"PAR1 no"})
    found, notes = direct_rows("openai4o", tmp_path)
    assert len(found["train"]) == PROMPTS - 2
    assert notes.examples["empty file"] == ["a.parquet#0.2"]
    assert notes.counts["not an image"] == 1
    assert notes.examples["Parquet file without comparisons"] == [
        "b.parquet: prompt, image1, image2, weighted_results_image1_preference"
    ]
    assert notes.counts["Parquet file that cannot be read"] == 1


def test_a_generator_that_is_not_there_and_a_wrong_option(tmp_path):
    root = write_corpus(tmp_path / "data")
    with pytest.raises(ValueError, match="no generator's name begins with 'imagen': found flux-1.1, 4o-26-3-25, mid"):
        load_corpus("openai4o", root, cache_dir=tmp_path / "cache", model="imagen")
    with pytest.raises(ValueError, match="unknown repeats 'last': expected first, all"):
        load_corpus("openai4o", root, cache_dir=tmp_path / "cache", repeats="last")
    with pytest.raises(FileNotFoundError, match="holds no OpenAI-4o T2I human preference: expected Parquet files"):
        load_corpus("openai4o", write_tree(tmp_path / "empty", {"x.txt": b"-"}), cache_dir=tmp_path / "cache")
