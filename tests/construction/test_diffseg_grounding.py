import numpy as np
import pytest
from tiny_grounding import QUERIES, tiny_grounding_dino, tiny_sam, tiny_sam2

from forgescope.construction.diffseg.grounding import GroundedSam, GroundingSettings, SamSettings, load_grounded_sam
from forgescope.construction.diffseg.regions import NamedObject

THINGS = [NamedObject("A dog. Big"), NamedObject("woman in a U.S. shirt", True)]


@pytest.mark.parametrize("sam", [tiny_sam, tiny_sam2])
def test_boxes_and_masks_of_both_generations(photo, sam):
    find = GroundedSam(*tiny_grounding_dino(), *sam(), box_threshold=0.0)
    found = find(photo, THINGS, 3)
    assert [region.thing for region in found] == [THINGS[0]] * 3 + [THINGS[1]] * 3
    for region in found:
        left, top, right, bottom = region.box
        assert 0 <= left < right <= photo.width
        assert 0 <= top < bottom <= photo.height
        assert (region.mask.shape, region.mask.dtype) == ((photo.height, photo.width), bool)
    for one in (found[:3], found[3:]):
        assert [region.score for region in one] == sorted((region.score for region in one), reverse=True)
    assert found[0].box != found[3].box
    assert not np.array_equal(found[0].mask, found[1].mask)
    again = find(photo, THINGS[1:], 2)
    assert [region.box for region in again] == [region.box for region in found[3:5]]
    assert len(find(photo, THINGS[:1], 99)) <= QUERIES


def test_boxes_below_the_threshold_are_left_out(photo):
    find = GroundedSam(*tiny_grounding_dino(), *tiny_sam(), box_threshold=1.0)
    assert find(photo, THINGS, 3) == []
    assert find(photo, [], 3) == []


def test_loading(photo, tmp_path):
    for part, name in ((tiny_grounding_dino(), "dino"), (tiny_sam(), "sam")):
        for one in part:
            one.save_pretrained(tmp_path / name)
    loaded = load_grounded_sam(
        GroundingSettings(str(tmp_path / "dino"), 0.0, "cpu"), SamSettings(str(tmp_path / "sam"), "cpu")
    )
    direct = GroundedSam(*tiny_grounding_dino(), *tiny_sam(), box_threshold=0.0)
    for one, other in zip(loaded(photo, THINGS, 2), direct(photo, THINGS, 2), strict=True):
        assert one.box == pytest.approx(other.box, abs=1e-2)
        assert (one.mask != other.mask).mean() < 0.01
    with pytest.raises(ValueError, match="box_threshold must be between 0 and 1"):
        GroundingSettings("x", 2)
