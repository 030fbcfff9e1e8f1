"""Files, folders and patterns become one list of images."""

import os

import pytest

from forgescope.discovery import find_images, find_images_to_examine


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Some images, other files, hidden things and a folder in a folder."""
    names = ["b.JPG", "a.png", "notes.txt", ".hidden.jpg", "sub/c.webp", "sub/deep/d.tif", ".git/e.jpg", "odd[1].jpg"]
    for name in names:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def test_a_folder_gives_its_images_sorted(tree):
    assert find_images(["photos"]) == [
        "photos/a.png",
        "photos/b.JPG",
        "photos/odd[1].jpg",
        "photos/sub/c.webp",
        "photos/sub/deep/d.tif",
    ]
    assert find_images(["photos/"], recursive=False) == ["photos/a.png", "photos/b.JPG", "photos/odd[1].jpg"]


def test_patterns_give_images_and_folders(tree):
    assert find_images(["photos/*.???"]) == ["photos/a.png", "photos/b.JPG", "photos/odd[1].jpg"]
    assert find_images(["photos/**/*.tif"]) == ["photos/sub/deep/d.tif"]
    assert find_images(["photos/s*"], recursive=False) == ["photos/sub/c.webp"]
    assert find_images(["photos/*.nothing"]) == []


def test_a_named_file_is_listed_whatever_it_is(tree):
    assert find_images(["photos/notes.txt", "photos/missing.jpg"]) == ["photos/notes.txt", "photos/missing.jpg"]
    # a name with brackets is a file first, a pattern second
    assert find_images(["photos/odd[1].jpg"]) == ["photos/odd[1].jpg"]


def test_each_file_comes_once_in_the_order_it_was_named(tree):
    paths = ["photos/b.JPG", "photos", str(tree / "a.png")]
    assert find_images(paths, recursive=False) == ["photos/b.JPG", "photos/a.png", "photos/odd[1].jpg"]


def test_earlier_results_are_left_out(tree):
    assert find_images(["photos"], leave_out=tree / "sub") == ["photos/a.png", "photos/b.JPG", "photos/odd[1].jpg"]
    assert len(find_images(["photos"], leave_out=tree / "su")) == 5


def test_images_that_are_all_in_the_folder_of_the_results_are_not_called_missing(tree):
    assert find_images_to_examine(["photos/sub"], True, tree / "sub/deep") == ["photos/sub/c.webp"]
    with pytest.raises(ValueError, match="all images of photos/sub are in .*sub, the folder of --out, and left out"):
        find_images_to_examine(["photos/sub"], True, tree / "sub")
    with pytest.raises(ValueError, match="no image found in photos/z., photos/none"):
        find_images_to_examine(["photos/z*", "photos/none*"], False, None)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_is_an_image_that_fails(tree):
    (tree / "sub").chmod(0)
    found = find_images(["photos"])
    (tree / "sub").chmod(0o700)
    assert found == ["photos/a.png", "photos/b.JPG", "photos/odd[1].jpg", "photos/sub"]


def test_names_of_any_bytes_survive(tree):
    name = os.path.join(os.fsencode(tree), b"\xff.jpg")
    with open(name, "wb"):
        pass
    assert os.fsdecode(name) in find_images([str(tree)])
