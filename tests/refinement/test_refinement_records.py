import json

import numpy as np
import pytest
from bright_regions import bright_regions, noisy_photo
from PIL import Image

from forgescope.refinement.inpaint import InpaintingSettings, inpaint_steps
from forgescope.refinement.records import begin_run, read_steps, write_result
from forgescope.refinement.regenerate import regenerate_steps
from forgescope.refinement.stopping import StopRule

PHOTO = noisy_photo(50, 40)


def noise(image, mask, prompt, seed):
    """An inpainting function that a seed and a prompt decide."""
    return noisy_photo(*image.size, seed=seed + len(prompt))


def run(folder, rounds=3, explain=bright_regions, inpaint=noise, **changes):
    return list(inpaint_steps(PHOTO, explain, inpaint, rule=StopRule(rounds), folder=folder, **changes))


def contents(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_same_steps(first, second):
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(np.asarray(one.image), np.asarray(other.image))
        assert (one.number, one.prompt, one.edits, one.preference) == (
            other.number,
            other.prompt,
            other.edits,
            other.preference,
        )
        for left, right in zip(one.artifacts, other.artifacts, strict=True):
            texts = [(artifact.phrase, artifact.explanation, artifact.score) for artifact in (left, right)]
            assert texts[0] == texts[1]
            assert np.array_equal(left.mask, right.mask)


def test_steps_come_back_as_they_were(tmp_path):
    steps = run(tmp_path, preference=lambda image, prompt: float(np.asarray(image).mean()))
    assert_same_steps(steps, read_steps(tmp_path))
    names = sorted(path.name for path in (tmp_path / "steps").iterdir())
    assert [name for name in names if name.startswith("000")] == [
        "000-mask-00.png",
        "000-mask-01.png",
        "000.json",
        "000.png",
    ]
    row = json.loads((tmp_path / "steps" / "001.json").read_text())
    assert set(row) == {"number", "image", "prompt", "preference", "edits", "artifacts"}
    assert set(row["edits"][0]) == {"artifact", "prompt", "seed", "error"}
    assert row["artifacts"][1]["mask"] == "001-mask-01.png"
    assert set(np.unique(np.asarray(Image.open(tmp_path / "steps" / "001-mask-00.png")))) == {0, 255}


@pytest.mark.parametrize("calls", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("tool", ["explain", "inpaint"])
def test_a_killed_run_goes_on_where_it_stopped(tmp_path, tool, calls):
    whole = run(tmp_path / "whole")
    tools = {"explain": bright_regions, "inpaint": noise}
    counts = {"explain": 0, "inpaint": 0}

    def counted(name, limit):
        def call(*arguments):
            if counts[name] == limit:
                raise KeyboardInterrupt  # nothing catches it, as nothing catches a kill
            counts[name] += 1
            return tools[name](*arguments)

        return call

    made = {name: counted(name, calls if name == tool else None) for name in tools}
    try:
        run(tmp_path / "cut", **made)
    except KeyboardInterrupt:
        pass
    else:
        assert tool == "explain"
        assert calls > 3
    before = dict(counts)
    again = {name: counted(name, None) for name in tools}
    assert_same_steps(whole, run(tmp_path / "cut", **again))
    assert contents(tmp_path / "whole") == contents(tmp_path / "cut")
    # what was examined is not examined again, and at most one round is inpainted again
    assert counts["explain"] == 4
    assert 6 <= counts["inpaint"] <= 7
    assert before["explain"] <= 4


def test_finished_runs_ask_nobody(tmp_path):
    steps = run(tmp_path)

    def fail(*arguments):
        pytest.fail("asked again")

    assert_same_steps(steps, run(tmp_path, explain=fail, inpaint=fail))
    assert_same_steps(steps[:2], run(tmp_path, rounds=1, explain=fail, inpaint=fail))


def test_more_rounds_go_on_also_from_an_image_that_was_not_examined(tmp_path):
    short = run(tmp_path, rounds=1, explain_last=False)
    assert short[-1].artifacts is None
    assert_same_steps(run(tmp_path), run(None))


def test_regeneration_goes_on_too(tmp_path):
    def paint(prompt, seed):
        return noisy_photo(20, 20, seed=len(prompt) + seed)

    def revise(steps):
        return steps[-1].prompt + "!"

    def fail(*arguments):
        pytest.fail("asked again")

    steps = regenerate_steps("a cat", bright_regions, paint, revise, folder=tmp_path)
    assert [next(steps).number, next(steps).number] == [0, 1]
    rest = list(regenerate_steps("a cat", bright_regions, paint, revise, folder=tmp_path))
    assert [step.prompt for step in rest] == ["a cat", "a cat!", "a cat!!"]
    assert_same_steps(rest, list(regenerate_steps("a cat", fail, fail, fail, folder=tmp_path)))


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"seed": 1}, "seed"),
        ({"prompt": "a wall"}, "prompt"),
        ({"settings": InpaintingSettings(size=32, kernel=3)}, "kernel, size"),
        ({"origin": {"pipeline": "b"}}, "pipeline"),
        ({"preference": lambda image, prompt: 1.0}, "scored"),
    ],
)
def test_other_settings_are_refused_at_once(tmp_path, change, names):
    begun = {"origin": {"pipeline": "a"}}
    run(tmp_path, rounds=1, **begun)
    with pytest.raises(ValueError, match=f"was begun with other {names}: use the same or another folder"):
        inpaint_steps(PHOTO, bright_regions, noise, folder=tmp_path, **{**begun, **change})


def test_another_image_is_refused(tmp_path):
    run(tmp_path, rounds=1)
    with pytest.raises(ValueError, match="was begun with other image"):
        inpaint_steps(noisy_photo(50, 40, seed=1), bright_regions, noise, folder=tmp_path)
    with pytest.raises(ValueError, match="other dilations, kernel, mode, parallel, prompt: use"):
        regenerate_steps("a cat", bright_regions, noise, len, image=PHOTO, folder=tmp_path)


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "steps").mkdir()
    with pytest.raises(ValueError, match="holds steps of another origin"):
        begin_run(tmp_path, {})


@pytest.mark.parametrize("name", ["001.json", "001.png", "001-mask-00.png"])
def test_a_damaged_step_is_named(tmp_path, name):
    run(tmp_path, rounds=1)
    file = tmp_path / "steps" / name
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(ValueError, match=r"001\.json cannot be read \(.*remove it to make the step again"):
        read_steps(tmp_path)


def test_result(tmp_path):
    steps = run(tmp_path, preference=lambda image, prompt: -float(np.asarray(image).mean()))
    best = max(steps, key=lambda step: step.preference)
    write_result(tmp_path, steps, best, "rounds")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "refined.png")), np.asarray(best.image))
    result = json.loads((tmp_path / "result.json").read_text())
    assert result == {
        "stopped": "rounds",
        "result": best.number,
        "artifacts": [len(step.artifacts) for step in steps],
        "preference": [step.preference for step in steps],
        "failed_edits": 0,
    }
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]
