import os
import tarfile
import zipfile

import pytest
from archives_layout import image_bytes, tar_bytes, write_parts, write_tree, write_zip

from forgescope.datasets_scripts.files import CorpusFiles
from forgescope.datasets_scripts.notes import MAX_EXAMPLES, Notes

FILES = {"a/one.png": b"1" * 700, "a/two.txt": b"two", "b/three.bin": b"3" * 1500}


def contents(files: CorpusFiles) -> dict[str, bytes]:
    return {name: files.read(name) for name in files.names()}


@pytest.mark.parametrize("form", ["tree", "zip in a folder", "zip", "tar in a folder", "tar", "parts", "part"])
def test_every_form_gives_the_same_files(tmp_path, form):
    root = tmp_path
    if form == "tree":
        write_tree(tmp_path, FILES)
    elif form.startswith("zip"):
        root = write_zip(tmp_path / "all.zip", FILES)
    elif form.startswith("tar"):
        root = tmp_path / "all.tar"
        root.write_bytes(tar_bytes(FILES))
    else:
        root = write_parts(tmp_path, FILES, 4)[2]
    files = CorpusFiles(tmp_path if form in ("tree", "parts") or "folder" in form else root)
    assert contents(files) == FILES
    assert files.names() == sorted(FILES)
    assert len(files) == 3
    assert "a/one.png" in files
    assert "a" not in files
    assert files.match(r"\.(png|bin)$") == ["a/one.png", "b/three.bin"]
    assert files.local_path("a/two.txt") == (str(tmp_path / "a/two.txt") if form == "tree" else None)
    with files.open("a/one.png") as stream:
        stream.seek(698)
        assert stream.read() == b"11"
    assert not files.notes.counts
    files.close()


def test_opening_a_tar_member_reads_only_what_is_asked_for(tmp_path):
    (tmp_path / "all.tar").write_bytes(tar_bytes({"small": b"abc", "large": b"x" * 3_000_000 + b"end"}))
    files = CorpusFiles(tmp_path)
    with files.open("large") as large, files.open("small") as small:
        large.seek(-3, os.SEEK_END)
        assert small.read(2) == b"ab"
        assert large.read(10) == b"end"
        assert large.read(10) == b""
        assert small.read() == b"c"
        large.seek(1)
        assert large.tell() == 1
        assert len(large.read()) == 3_000_002


def test_missing_root_and_missing_name_say_what_is_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist: expected a folder or an archive"):
        CorpusFiles(tmp_path / "nowhere")
    write_tree(tmp_path, FILES)
    with pytest.raises(FileNotFoundError, match="other.png is not among the 3 files of"):
        CorpusFiles(tmp_path).read("other.png")


def test_empty_folder_is_empty(tmp_path):
    assert CorpusFiles(tmp_path).names() == []


def test_a_single_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "x.tar").write_bytes(b"no archive at all" * 100)
    with pytest.raises(ValueError, match=r"x\.tar is neither a zip nor a tar archive"):
        CorpusFiles(tmp_path / "x.tar")


def test_a_broken_archive_in_a_folder_is_counted_and_the_others_are_read(tmp_path):
    write_zip(tmp_path / "good.zip", {"in.txt": b"in"})
    (tmp_path / "bad.zip").write_bytes(b"text")
    files = CorpusFiles(tmp_path)
    assert files.names() == ["in.txt"]
    assert files.notes.counts == {"archive that cannot be read": 1}
    assert files.notes.examples["archive that cannot be read"][0].startswith("bad.zip: ")


def test_upper_case_archive_names_are_archives(tmp_path):
    write_zip(tmp_path / "GOOD.ZIP", {"in.txt": b"in"})
    assert CorpusFiles(tmp_path).names() == ["in.txt"]


def test_leftovers_of_operating_systems_are_not_files(tmp_path):
    leftovers = {
        "__MACOSX/._a.png": b"",
        "x/.DS_Store": b"",
        "._y.zip": b"",
        ".cache/huggingface/a.zip": b"",
        ".git/c": b"",
    }
    write_tree(tmp_path, {**leftovers, "a.png": b"a"})
    files = CorpusFiles(tmp_path)
    assert files.names() == ["a.png"]
    assert not files.notes.counts


def test_concatenated_tars_are_read_to_the_end_and_duplicates_are_counted(tmp_path):
    first, second = {"1.txt": b"one", "2.txt": b"two"}, {"2.txt": b"other", "3.txt": b"three"}
    (tmp_path / "all.tar").write_bytes(tar_bytes(first) + tar_bytes(second))
    files = CorpusFiles(tmp_path)
    assert contents(files) == {"1.txt": b"one", "2.txt": b"two", "3.txt": b"three"}
    assert files.notes.counts == {"duplicate member, the first is used": 1}
    assert files.notes.examples["duplicate member, the first is used"] == ["2.txt"]


@pytest.mark.parametrize("single", [False, True])
def test_a_tar_that_breaks_off_keeps_its_complete_files(tmp_path, single):
    data = tar_bytes(FILES)
    path = tmp_path / "all.tar"
    path.write_bytes(data[: data.index(b"3" * 1500) + 10])
    files = CorpusFiles(path if single else tmp_path)
    assert files.names() == ["a/one.png", "a/two.txt"]
    assert files.notes.counts == {"archive that breaks off": 1}


def test_hard_links_in_a_tar_are_counted(tmp_path):
    with tarfile.open(tmp_path / "all.tar", "w") as archive:
        link = tarfile.TarInfo("again.txt")
        link.type, link.linkname = tarfile.LNKTYPE, "one.txt"
        write_tree(tmp_path / "x", {"one.txt": b"one"})
        archive.add(tmp_path / "x/one.txt", "one.txt")
        archive.addfile(link)
    (tmp_path / "x/one.txt").unlink()
    files = CorpusFiles(tmp_path)
    assert files.names() == ["one.txt"]
    assert files.notes.counts == {"link in an archive, left out": 1}


def test_a_damaged_zip_member_is_an_os_error(tmp_path):
    payload = image_bytes(size=(60, 60))
    path = write_zip(tmp_path / "all.zip", {"a.png": payload, "b.txt": b"fine"})
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("a.png").header_offset + 30 + len("a.png")
    data[start : start + 200] = b"\xff" * 200
    path.write_bytes(bytes(data))
    files = CorpusFiles(tmp_path)
    with pytest.raises(OSError, match=r"a\.png in .*all\.zip is damaged"):
        files.read("a.png")
    with pytest.raises(OSError, match=r"a\.png in .*all\.zip is damaged"), files.open("a.png") as stream:
        stream.read()
    assert files.read("b.txt") == b"fine"


def test_no_archive_is_opened_without_patterns(tmp_path):
    write_zip(tmp_path / "a.zip", FILES)
    assert CorpusFiles(tmp_path, archives=()).names() == ["a.zip"]


def test_archives_as_folders_keep_equal_names_of_two_archives_apart(tmp_path):
    write_zip(tmp_path / "val.zip", {"cat/1.png": b"val"})
    write_zip(tmp_path / "train.zip", {"train/cat/1.png": b"train"})
    files = CorpusFiles(tmp_path, archives_as_folders=True)
    assert contents(files) == {"train/cat/1.png": b"train", "val/cat/1.png": b"val"}
    assert CorpusFiles(tmp_path / "val.zip", archives_as_folders=True).names() == ["val/cat/1.png"]


PARTED = {f"dataset/d/{number:03d}.bin": bytes([number]) * (300 * number) for number in range(1, 30)}


class TestParts:
    def test_parts_are_in_natural_order(self, tmp_path):
        write_parts(tmp_path, PARTED, 12)
        assert contents(CorpusFiles(tmp_path)) == PARTED

    @pytest.mark.parametrize("kept", [(1,), (1, 2, 3), (2, 3, 4), (5, 6, 7, 8), (1, 2, 5, 6, 9), (12,), (10, 11, 12)])
    def test_any_subset_gives_whole_files_only(self, tmp_path, kept):
        for number, path in enumerate(write_parts(tmp_path, PARTED, 12), start=1):
            if number not in kept:
                path.unlink()
        files = CorpusFiles(tmp_path)
        found = contents(files)
        assert found == {name: PARTED[name] for name in found}
        whole = tar_bytes(PARTED)
        size = -(-len(whole) // 12)
        present = {number - 1 for number in kept}
        expected = set()
        with tarfile.open(write_tree(tmp_path / "x", {"whole": whole}) / "whole") as archive:
            for member in archive:
                touched = range(member.offset // size, (member.offset_data + max(member.size, 1) - 1) // size + 1)
                if set(touched) <= present:
                    expected.add(member.name)
        assert set(found) == expected

    def test_missing_parts_are_counted(self, tmp_path):
        for number, path in enumerate(write_parts(tmp_path, PARTED, 12), start=1):
            if number in (1, 5, 6):
                path.unlink()
        files = CorpusFiles(tmp_path)
        assert files.notes.counts["missing part"] == 3
        assert files.notes.examples["missing part"] == [
            "before dataset.part2.tar: 1 missing",
            "before dataset.part7.tar: 2 missing",
        ]

    def test_a_part_inside_one_large_file_is_counted(self, tmp_path):
        paths = write_parts(tmp_path, {"large": b"x" * 40_000}, 4)
        for path in (paths[0], paths[1], paths[3]):
            path.unlink()
        files = CorpusFiles(tmp_path)
        assert files.names() == []
        assert files.notes.counts["part without a complete file"] == 1

    def test_patterns_choose_parts_also_for_a_single_part(self, tmp_path):
        paths = write_parts(tmp_path, PARTED, 12)
        for root in (tmp_path, paths[4]):
            chosen = CorpusFiles(root, archives=("*.part1.tar", "*.part2.tar"))
            names = [name for name in chosen.names() if name.startswith("dataset/d/")]
            assert names
            assert set(names) < set(PARTED)


def test_notes_keep_the_first_examples_and_count_all(caplog):
    notes = Notes()
    for number in range(MAX_EXAMPLES + 5):
        notes.add("empty file", f"{number}.png", "seen" if number == 0 else "")
    notes.add("empty file", "many", count=10)
    assert notes.counts == {"empty file": MAX_EXAMPLES + 15}
    assert len(notes.examples["empty file"]) == MAX_EXAMPLES
    every = Notes(most_examples=None)
    for number in range(MAX_EXAMPLES + 5):
        every.add("empty file", f"{number}.png")
    every.merge(notes)
    assert len(every.examples["empty file"]) == 2 * MAX_EXAMPLES + 5
    notes.log("corpus")
    assert caplog.messages == [f"corpus: empty file ({MAX_EXAMPLES + 15} times; 0.png: seen; 1.png; 2.png)"]
