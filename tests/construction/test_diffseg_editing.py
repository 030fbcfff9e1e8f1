import dataclasses

import numpy as np
import pytest
from chat_server import ChatServer
from diffseg_tools import EDITORS, answer_diffseg, edit_tools
from PIL import Image
from tiny_vision_language import tiny_llava

from forgescope.construction.diffseg.editing import EditorError, RejectReason, Tools, edit_photo, square_photo
from forgescope.construction.diffseg.editors import Editor
from forgescope.construction.diffseg.plan import draw_plan
from forgescope.construction.diffseg.prompts import outlined
from forgescope.construction.diffseg.regions import NamedObject, Region
from forgescope.construction.diffseg.settings import EditSettings
from forgescope.construction.vision_language import RefusedRequest, ServerError, TransformersVisionLanguage

SIZE = 64
SETTINGS = EditSettings(image_size=SIZE, min_area=0.02, max_area=0.9, min_quality=0)


@pytest.fixture(scope="module")
def made(photographs):
    """What becomes of the photographs with real tiny models behind a real server."""
    with pytest.MonkeyPatch.context() as patch, ChatServer(answer_diffseg) as server:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        tools = edit_tools(server.url)
        return [edit_photo(Image.open(photo), index, tools, SETTINGS) for index, photo in enumerate(photographs)]


@pytest.fixture(scope="module")
def kept(made):
    found = [(index, one) for index, one in enumerate(made) if one.reject is None]
    assert len(found) >= 5
    return found


def test_pixels_outside_the_regions_are_those_of_the_photograph(kept, photographs):
    for index, one in kept:
        original = np.asarray(square_photo(Image.open(photographs[index]), SIZE))
        changed = (np.asarray(one.image) != original).any(axis=2)
        union = np.any([turn.region.mask for turn in one.turns], axis=0)
        assert not changed[~union].any()
        assert changed[union].mean() > 0.5
        assert np.array_equal(one.ids > 0, union)


def test_every_turn_changes_its_region_alone(kept):
    for _, one in kept:
        before = np.asarray(one.original)
        for turn in one.turns:
            after = np.asarray(turn.image)
            assert np.array_equal(before[~turn.region.mask], after[~turn.region.mask])
            before = after


def test_ids_are_those_of_the_last_editor(kept):
    for index, one in kept:
        expected = np.zeros((SIZE, SIZE), dtype=int)
        for turn in one.turns:
            for row, column in zip(*np.nonzero(turn.region.mask), strict=True):
                expected[row, column] = SETTINGS.id2editor.index(turn.plan.editor) + 1
        assert np.array_equal(one.ids, expected), index


def test_turns_follow_the_plan(kept):
    for index, one in kept:
        plan = draw_plan(SETTINGS, EDITORS, index)
        assert one.planned_turns == len(plan)
        assert [turn.plan for turn in one.turns] == plan[: len(one.turns)]
        assert len({id(turn.region) for turn in one.turns}) == len(one.turns)


def test_every_reason_to_reject_but_quality_occurs(made):
    reasons = {one.reject for one in made}
    assert {RejectReason.NO_OBJECT, RejectReason.UNUSABLE_REPLY, None} <= reasons


def square_region(name: str = "dog", start: int = 8, stop: int = 40) -> Region:
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[start:stop, start:stop] = True
    return Region(NamedObject(name), (start, start, stop, stop), 0.9, mask)


class Recorder:
    """A vision-language model and an editor that write down what they are asked."""

    def __init__(self, regions=None, score=5, objects='[{"name": "dog", "person": false}]'):
        self.regions, self.score, self.objects = regions or [square_region()], score, objects
        self.asked, self.edits = [], []

    def answer(self, images, prompt):
        self.asked.append((images, prompt))
        if '"objects"' in prompt:
            return f'{{"objects": {self.objects}}}'
        if '"score"' in prompt:
            return f'{{"score": {self.score}, "reason": "so"}}'
        return f'{{"prompt": "text {len(self.asked)}", "object": "hat"}}'

    def edit(self, image, mask, prompt, seed):
        self.edits.append((image, mask, prompt, seed))
        return Image.new("RGB", image.size, (seed % 256, len(self.edits), 7))

    def tools(self, **changes):
        find = lambda image, things, most: self.regions  # noqa: E731
        return Tools(self.answer, find, {"sd2": Editor(self.edit)}, **changes)


def item_of(edit_type: str, turns: int = 1) -> int:
    """Number of an item whose first edit is of a type."""
    for index in range(200):
        plan = draw_plan(SETTINGS, ["sd2"], index)
        if plan[0].edit_type == edit_type and len(plan) == turns:
            return index
    raise AssertionError(edit_type)


def test_an_addition_removes_first_and_then_adds_at_the_same_place(photo):
    recorder, index = Recorder(), item_of("addition")
    one = edit_photo(photo, index, recorder.tools(), SETTINGS)
    plan = draw_plan(SETTINGS, ["sd2"], index)[0]
    first, second = recorder.edits
    assert np.array_equal(np.asarray(first[1]), np.asarray(second[1]))
    assert np.array_equal(np.asarray(first[1]) > 0, one.turns[0].region.mask)
    assert (first[2:], second[2:]) == (("text 2", plan.removal_seed), ("text 3", plan.seed))
    turn = one.turns[0]
    assert (turn.removal_prompt, turn.prompt, turn.new_object) == ("text 2", "text 3", "hat")
    # the second edit and the second question see what the first one left, pasted into the photograph
    after_removal = np.asarray(one.original).copy()
    after_removal[turn.region.mask] = (plan.removal_seed % 256, 1, 7)
    assert np.array_equal(np.asarray(second[0]), after_removal)
    images, prompt = recorder.asked[2]
    assert np.array_equal(np.asarray(images[0]), after_removal)
    assert np.array_equal(np.asarray(images[1]), np.asarray(outlined(images[0], turn.region.mask)))
    assert "Until now dog was there" in prompt


@pytest.mark.parametrize("edit_type", ["removal", "attribute_change"])
def test_other_edits_are_one_call(photo, edit_type):
    recorder = Recorder()
    one = edit_photo(photo, item_of(edit_type), recorder.tools(), SETTINGS)
    assert len(recorder.edits) == 1
    assert len(recorder.asked) == 3
    assert (one.turns[0].removal_prompt, one.turns[0].new_object) == (None, None)
    assert (one.quality, one.quality_reason, one.reject) == (5, "so", None)


def test_later_turns_see_the_image_as_it_is_then(photo):
    regions = [square_region("dog", 0, 30), square_region("cat", 20, 60), square_region("car", 34, 46)]
    recorder = Recorder(regions)
    one = edit_photo(photo, item_of("removal", turns=3), recorder.tools(), SETTINGS)
    assert len(one.turns) == 3
    assert {turn.region.thing.name for turn in one.turns} == {"dog", "cat", "car"}
    assert np.array_equal(np.asarray(recorder.asked[-1][0][0]), np.asarray(one.turns[-1].image))


def test_the_whole_picture_is_taken_where_the_background_need_not_stay(photo):
    settings = EditSettings(**{**SETTINGS.to_dict(), "keep_background": False})
    one = edit_photo(photo, item_of("removal"), Recorder().tools(), settings)
    assert len(np.unique(np.asarray(one.image).reshape(-1, 3), axis=0)) == 1
    assert 0 < (one.ids > 0).mean() < 1


@pytest.mark.parametrize(
    ("score", "reject"), [(2, RejectReason.LOW_QUALITY), (3, None), (2.9, RejectReason.LOW_QUALITY)]
)
def test_quality_below_three_is_rejected(photo, score, reject):
    settings = EditSettings(image_size=SIZE)
    one = edit_photo(photo, 0, Recorder(score=score).tools(), settings)
    assert (one.quality, one.reject, one.detail) == (score, reject, "so" if reject else None)
    assert one.turns


def test_examples_go_before_the_image_that_is_judged(photo):
    recorder = Recorder()
    example = Image.new("RGB", (5, 5))
    one = edit_photo(photo, 0, recorder.tools(examples=[(example, 4, "fine"), (example, 1, "torn")]), SETTINGS)
    images, prompt = recorder.asked[-1]
    assert [image.size for image in images] == [(5, 5), (5, 5), (SIZE, SIZE)]
    assert images[2] is one.image
    assert "Picture 2 deserves 1: torn" in prompt


def test_rejects(photo):
    assert edit_photo(photo, 0, Recorder(objects="[]").tools(), SETTINGS).reject is RejectReason.NO_OBJECT
    tiny = square_region(start=0, stop=2)
    assert edit_photo(photo, 0, Recorder([tiny]).tools(), SETTINGS).reject is RejectReason.NO_REGION
    recorder = Recorder(objects='"dog"')
    one = edit_photo(photo, 0, recorder.tools(), SETTINGS)
    assert one.reject is RejectReason.UNUSABLE_REPLY
    assert one.detail.startswith('no usable reply in 3 tries; the last: "objects" must be a list')
    assert len(recorder.asked) == 3

    def refuse(images, prompt):
        raise RefusedRequest("too long")

    tools = Tools(refuse, recorder.tools().find_regions, {"sd2": Editor(recorder.edit)})
    one = edit_photo(photo, 0, tools, SETTINGS)
    assert (one.reject, one.detail) == (RejectReason.REFUSED, "too long")


def test_a_model_that_talks_nonsense_is_a_reject(photo):
    model = TransformersVisionLanguage(*tiny_llava(), max_new_tokens=5)
    one = edit_photo(photo, 0, dataclasses.replace(Recorder().tools(), vision_language=model), SETTINGS)
    assert one.reject is RejectReason.UNUSABLE_REPLY
    assert model.usage.calls == SETTINGS.tries


def test_errors_of_the_tools(photo):
    def fail(*arguments):
        raise MemoryError("no memory")

    def vanish(images, prompt):
        raise ServerError("gone")

    recorder = Recorder()
    with pytest.raises(EditorError, match=r"sd2 failed \(MemoryError: no memory\)"):
        edit_photo(photo, 0, Tools(recorder.answer, recorder.tools().find_regions, {"sd2": Editor(fail)}), SETTINGS)
    with pytest.raises(ServerError, match="gone"):
        edit_photo(photo, 0, Tools(vanish, recorder.tools().find_regions, {"sd2": Editor(fail)}), SETTINGS)


def test_regions_grow_before_they_are_compared(photo):
    settings = EditSettings(**{**SETTINGS.to_dict(), "mask_dilation": 2})
    one = edit_photo(photo, item_of("removal"), Recorder().tools(), settings)
    assert one.turns[0].region.mask.sum() > square_region().mask.sum()


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (100, 100), (1000, 64), (31, 77)])
def test_photographs_are_resized_and_cut(size):
    ramp = np.linspace(0, 255, size[0])[None, :, None].repeat(size[1], 0).repeat(3, 2)
    square = square_photo(Image.fromarray(ramp.astype(np.uint8)), 64)
    assert square.size == (64, 64)
    # the middle stays the middle
    assert np.asarray(square)[:, 31:33].mean() == pytest.approx(127.5, abs=4)
    scale = 64 / min(size)
    reach = 255 / size[0] * 64 / scale
    columns = np.asarray(square)[32, :, 0].astype(int)
    assert columns[-1] - columns[0] == pytest.approx(reach, abs=6)
