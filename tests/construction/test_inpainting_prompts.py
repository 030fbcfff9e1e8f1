from pathlib import Path

import numpy as np
import pytest

from forgescope.construction.inpainting_prompts import check_prompts, choose_prompt, read_prompts

PHOTO = Path("somewhere/a.jpg")


def draw(prompts, count=200, unguided=0.0):
    rng = np.random.default_rng(0)
    return [choose_prompt(prompts, PHOTO, unguided, rng) for _ in range(count)]


def test_none_one_many_and_by_name():
    assert set(draw(None)) == {""}
    assert set(draw("a cat")) == {"a cat"}
    drawn = draw(["a", "b", "c", "d"])
    assert min(drawn.count(text) for text in "abcd") > 30
    assert set(draw({"a.jpg": "a dog", "b.jpg": "a cow"})) == {"a dog"}


def test_a_share_goes_without_text():
    drawn = draw("a cat", 2000, unguided=0.3)
    assert abs(drawn.count("") / 2000 - 0.3) < 0.03
    assert set(draw("a cat", unguided=1.0)) == {""}


def test_the_share_does_not_change_the_other_draws():
    every, half = draw(["a", "b", "c"], 50), draw(["a", "b", "c"], 50, unguided=0.5)
    assert all(one in ("", other) for one, other in zip(half, every, strict=True))


def test_files(tmp_path):
    lines = tmp_path / "prompts.txt"
    lines.write_text("\ufeffa red car\n\n  a tree\u2028in bloom \n", encoding="utf-8")
    assert read_prompts(lines) == ["a red car", "a tree\u2028in bloom"]
    table = tmp_path / "prompts.JSON"
    table.write_text('{"a.jpg": "a red car"}')
    assert read_prompts(table) == {"a.jpg": "a red car"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.txt", " \n", "is empty: expected one prompt a line"),
        ("p.json", "{", "is not JSON"),
        ("p.json", "[1]", "is no object of texts"),
        ("p.json", '{"a": 1}', "is no object of texts"),
    ],
)
def test_bad_files(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_prompts(tmp_path / name)


def test_bad_prompts():
    with pytest.raises(ValueError, match="prompts is empty"):
        check_prompts([], [PHOTO])
    with pytest.raises(ValueError, match=r"no text for 1 photographs, the first a\.jpg"):
        check_prompts({"b.jpg": ""}, [PHOTO, Path("b.jpg")])
    check_prompts("", [PHOTO])
