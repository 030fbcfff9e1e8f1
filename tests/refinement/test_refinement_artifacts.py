import json
import re

import numpy as np
import pytest
from PIL import Image

from forgescope.refinement.artifacts import Artifact, check_artifacts, read_artifacts, union_of
from forgescope.refinement.records import Step
from forgescope.refinement.stopping import StopRule, best_step, is_clean, why_stop

IMAGE = Image.new("RGB", (6, 4))


def artifact(mask, phrase="hand") -> Artifact:
    return Artifact(phrase, "six fingers", mask)


class TestCheck:
    def test_boolean_masks_become_uint8(self):
        mask = np.eye(4, 6, dtype=bool)
        (checked,) = check_artifacts(IMAGE, [artifact(mask)])
        assert checked.mask.dtype == np.uint8
        assert np.array_equal(checked.mask, mask)

    @pytest.mark.parametrize(
        ("found", "message"),
        [
            (None, "explain must return a list of Artifact, got NoneType"),
            (["hand"], "explain must return a list of Artifact, got list"),
            ([artifact(np.zeros((6, 4), np.uint8))], "artifact 1 ('hand'): expected a mask of 6 x 4 pixels as the "
             "image, got 4 x 6"),
            ([artifact(np.zeros((1, 4, 6), np.uint8))], "got shape (1, 4, 6)"),
            ([artifact(np.full((4, 6), 255, np.uint8))], "expected a mask of uint8 with 1 = artifact, got uint8 up "
             "to 255"),
            ([artifact(np.ones((4, 6), np.float32))], "got float32 up to 1.0"),
        ],
    )  # fmt: skip
    def test_bad_results(self, found, message):
        with pytest.raises(ValueError, match=re.escape(message)):
            check_artifacts(IMAGE, found)

    def test_union(self):
        first, second = np.zeros((2, 4, 6), np.uint8)
        first[0, :2], second[0, 1:4] = 1, 1
        assert union_of([artifact(first), artifact(second)], (4, 6)).sum() == 4
        assert first.sum() == 2
        assert union_of([], (4, 6)).shape == (4, 6)


class TestFile:
    def write(self, folder, entries):
        Image.fromarray(np.eye(4, 6, dtype=np.uint8) * 255).save(folder / "0.png")
        (folder / "no.png").write_text("no image")
        file = folder / "artifacts.json"
        file.write_text(json.dumps({"artifacts": entries}))
        return file

    def test_equal_phrases_keep_their_own_masks_and_explanations(self, tmp_path):
        Image.new("L", (6, 4), 1).save(tmp_path / "1.png")
        entries = [
            {"phrase": "hand", "explanation": "six fingers", "mask": "0.png"},
            {"phrase": "hand", "explanation": "no nails", "mask": "1.png", "score": 0.25},
        ]
        first, second = read_artifacts(self.write(tmp_path, entries))
        assert (first.phrase, first.explanation, first.mask.sum(), first.score) == ("hand", "six fingers", 4, None)
        assert (second.phrase, second.explanation, second.mask.sum(), second.score) == ("hand", "no nails", 24, 0.25)

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            ({"phrase": "hand"}, "artifact 1 needs texts named phrase, explanation, mask"),
            ("hand", "artifact 1 needs texts"),
            ({"phrase": "a", "explanation": "b", "mask": "2.png"}, "2.png does not exist"),
            ({"phrase": "a", "explanation": "b", "mask": "no.png"}, "no.png cannot be read as an image"),
            (
                {"phrase": "a", "explanation": "b", "mask": "0.png", "score": "high"},
                "score must be a number, got 'high'",
            ),
        ],
    )
    def test_bad_entries(self, tmp_path, entry, message):
        with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
            read_artifacts(self.write(tmp_path, [entry]))

    def test_bad_files(self, tmp_path):
        file = tmp_path / "artifacts.json"
        with pytest.raises(FileNotFoundError, match="does not exist: expected a JSON file with artifacts"):
            read_artifacts(file)
        for text, message in [("{", "is no JSON file"), ("[]", "must hold"), ('{"artifacts": 1}', "must hold")]:
            file.write_text(text)
            with pytest.raises(ValueError, match=message):
                read_artifacts(file)


class TestStopping:
    def steps(self, *found, scores=()):
        scores = scores or [None] * len(found)
        return [
            Step(number, IMAGE, artifacts=artifacts, preference=score)
            for number, (artifacts, score) in enumerate(zip(found, scores, strict=True))
        ]

    def test_the_first_reason_that_holds(self):
        some = (artifact(np.eye(4, 6, dtype=np.uint8)),)
        rule = StopRule(2)
        assert why_stop(rule, []) is None
        assert why_stop(rule, self.steps(some)) is None
        assert why_stop(rule, self.steps(some, some)) is None
        assert why_stop(rule, self.steps(some, some, some)) == "rounds"
        assert why_stop(rule, self.steps(some, ())) == "clean"
        assert why_stop(rule, self.steps(some, some, None)) == "rounds"

    def test_area(self):
        (step,) = self.steps((artifact(np.eye(4, 6, dtype=np.uint8)), artifact(np.eye(4, 6, dtype=np.uint8))))
        assert is_clean(step, 4 / 24)
        assert not is_clean(step, 0.16)
        (empty,) = self.steps((artifact(np.zeros((4, 6), np.uint8)),))
        assert is_clean(empty, 0.0)
        assert not is_clean(empty)
        (unknown,) = self.steps(None)
        assert not is_clean(unknown, 1.0)

    def test_preference(self):
        some = (artifact(np.eye(4, 6, dtype=np.uint8)),)
        steps = self.steps(some, some, some, some, scores=[0.1, 0.5, 0.4, 0.5])
        assert best_step(steps).number == 1
        assert why_stop(StopRule(9, patience=2), steps) == "no gain"
        assert why_stop(StopRule(9, patience=3), steps) is None
        assert why_stop(StopRule(9, patience=1), self.steps(some, some)) is None
        assert best_step(self.steps(some, some)).number == 1

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"rounds": 0}, "rounds must be at least 1, got 0"),
            ({"largest_clean_area": 1.5}, "between 0 and 1, got 1.5"),
            ({"patience": 0}, "patience must be at least 1, got 0"),
        ],
    )
    def test_bad_rules(self, change, message):
        with pytest.raises(ValueError, match=message):
            StopRule(**{"rounds": 1, **change})
