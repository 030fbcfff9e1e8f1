"""Artifacts in pictures: one colour and one number each, and a legend that can be read at any size."""

import numpy as np
import pytest
from PIL import Image, ImageFont

from forgescope.artifact_picture import LEGEND_WIDTH, LONGEST_EDGE, SHORTEST_EDGE, draw_artifacts, wrapped
from forgescope.phrase_overlay import draw_phrases, label_places, phrase_color
from forgescope.processing.grounded_explanation import GroundedArtifact

GREY = (100, 100, 100)
FONT = ImageFont.load_default(17)


def box_mask(size, box):
    mask = np.zeros(size[::-1], np.uint8)
    left, top, right, bottom = box
    mask[top:bottom, left:right] = 1
    return mask


def artifact(size, box, phrase="The hand", explanation="It has six fingers."):
    return GroundedArtifact(phrase, explanation, box_mask(size, box), 0.9)


def of_color(picture, color):
    return np.all(np.asarray(picture) == color, axis=-1)


def test_a_region_is_tinted_outlined_and_numbered():
    size = (300, 200)
    drawn = np.asarray(draw_phrases(Image.new("RGB", size, GREY), {2: box_mask(size, (50, 40, 150, 140))}))
    color = phrase_color(2)
    # a quarter of the colour within, its line and a black one around
    assert drawn[45, 55].tolist() == [round(0.75 * 100 + 0.25 * one) for one in color]
    assert drawn[45, 46:50].tolist() == [[0, 0, 0]] * 2 + [list(color)] * 2
    assert drawn[45, 45].tolist() == list(GREY)
    # the number's square lies in the middle
    assert of_color(drawn, color)[85:95, 95:105].any()
    assert (drawn[170:] == 100).all()


def test_colours_differ_for_six_phrases_and_begin_anew():
    colors = [phrase_color(number) for number in range(1, 7)]
    assert len(set(colors)) == 6
    assert phrase_color(7) == phrase_color(1)


def test_nothing_is_drawn_without_pixels():
    photo = Image.new("RGB", (30, 20), GREY)
    assert draw_phrases(photo, {}) is not photo
    np.testing.assert_array_equal(draw_phrases(photo, {1: np.zeros((20, 30), np.uint8)}), photo)
    with pytest.raises(ValueError, match="expected masks of 30 x 20, got 20 x 30"):
        draw_phrases(photo, {1: np.zeros((30, 20), np.uint8)})


def test_the_lines_of_a_small_region_within_a_large_one_are_seen():
    size = (300, 200)
    masks = {1: box_mask(size, (140, 90, 150, 100)), 2: box_mask(size, (0, 0, 300, 200))}
    drawn = draw_phrases(Image.new("RGB", size, GREY), masks)
    assert of_color(drawn, phrase_color(1))[88, 145]


def test_numbers_stand_in_their_regions_or_beside_small_ones():
    size = (300, 200)
    masks = {1: box_mask(size, (20, 20, 120, 120)), 2: box_mask(size, (200, 100, 206, 106))}
    places = label_places(masks, 20)
    assert places[1] == pytest.approx((60, 60, 80, 80), abs=1)
    left, top, right, bottom = places[2]
    assert masks[2][top:bottom, left:right].sum() == 0
    # above it, with a gap of a quarter of the square
    assert ((left + right) / 2, 100 - bottom) == (203, 5)


def test_numbers_of_equal_regions_do_not_cover_each_other():
    size = (300, 200)
    masks = {number: box_mask(size, (100, 60, 180, 140)) for number in (1, 2, 3, 4)}
    boxes = list(label_places(masks, 20).values())
    covered = np.zeros(size[::-1], int)
    for left, top, right, bottom in boxes:
        covered[top:bottom, left:right] += 1
    assert covered.max() == 1
    assert covered.sum() == 4 * 400


def test_a_number_does_not_stand_in_another_region():
    size = (300, 200)
    masks = {1: box_mask(size, (100, 100, 108, 108)), 2: box_mask(size, (60, 40, 200, 95))}
    left, top, right, bottom = label_places(masks, 20)[1]
    assert masks[2][top:bottom, left:right].sum() == 0


@pytest.mark.parametrize("size", [(10, 8), (1, 1), (400, 12), (12, 400)])
def test_pictures_of_any_size_are_drawn(size):
    photo = Image.new("RGB", size, GREY)
    mask = np.ones(size[::-1], np.uint8)
    assert draw_phrases(photo, {1: mask, 2: mask}).size == size
    picture = draw_artifacts(photo, [artifact(size, (0, 0, 1, 1))], "fake")
    shown = SHORTEST_EDGE
    if size[1] > size[0]:
        assert picture.size == (max(1, round(size[0] * shown / size[1])) + LEGEND_WIDTH, shown)
    else:
        assert picture.width == max(shown, LEGEND_WIDTH)
        assert picture.height > round(size[1] * shown / size[0])


def test_the_legend_has_every_colour_and_grows_with_the_artifacts():
    size = (800, 600)
    photo = Image.new("RGB", size, GREY)
    boxes = [(100 * place, 50, 100 * place + 60, 120) for place in range(6)]
    few, many = (draw_artifacts(photo, [artifact(size, box) for box in boxes[:count]], "fake") for count in (2, 6))
    assert few.size[0] == many.size[0] == 800
    legend = np.asarray(many)[600:]
    for number in range(1, 7):
        assert of_color(legend, phrase_color(number)).sum() > 100
    assert not of_color(np.asarray(few)[600:], phrase_color(3)).any()
    assert many.height - few.height == 4 * (2 * 24 + 8)


def test_a_picture_without_artifacts_is_the_photograph_and_a_line():
    photo = Image.effect_noise((900, 700), 60).convert("RGB")
    picture = draw_artifacts(photo, [], "real")
    np.testing.assert_array_equal(np.asarray(picture)[:700], np.asarray(photo))
    assert 700 < picture.height < 800


def test_large_photographs_are_reduced_and_small_regions_stay():
    size = (6000, 4000)
    picture = draw_artifacts(Image.new("RGB", size, GREY), [artifact(size, (3000, 2000, 3001, 2001))], "fake")
    assert picture.width == LONGEST_EDGE
    assert of_color(np.asarray(picture)[530:537, 797:804], phrase_color(1)).any()


def test_texts_are_broken_at_words_and_within_long_ones():
    text = "one two three four"
    lines = list(wrapped(text, FONT, round(FONT.getlength("one two three"))))
    assert lines == ["one two three", "four"]
    broken = list(wrapped("a " + "x" * 50, FONT, 100))
    assert "".join(broken) == "a" + "x" * 50
    assert all(FONT.getlength(line) <= 100 for line in broken)
    assert list(wrapped(" ", FONT, 100)) == []
    assert list(wrapped("word", FONT, 1)) == list("word")
