import builtins
import json
import sys

import pytest
from PIL import Image
from tiny_corpus import ROWS, image_bytes, register, row, write_corpus

from forgescope.cli import main
from forgescope.datasets_scripts.load import CORPORA


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run `forgescope data` in this process: exit status, standard output, standard error."""
    register(monkeypatch)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["forgescope", "data", *(str(word) for word in words)])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return exit_.value.code or 0, captured.out, captured.err

    return call


@pytest.fixture
def folder(tmp_path):
    return write_corpus(tmp_path / "data")


def test_list_names_every_corpus(run, monkeypatch):
    status, out, _ = run("list")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines() if not line.startswith(" ")] == list(CORPORA)
    assert "Tiny Corpus (cc-by-4.0)" in out
    assert "configs: all, masks_only" in out
    assert "DIR: rows.jsonl" in out


class TestInspect:
    def test_a_good_corpus(self, run, folder, tmp_path):
        status, out, err = run("inspect", "tiny_corpus", folder, "--json", tmp_path / "report.json")
        assert (status, err) == (0, "")
        report = json.loads((tmp_path / "report.json").read_text())
        assert report["rows"] == {"train": 4, "test": 2}
        for words in ("Tiny Corpus, configuration all", "Rows by label", "Against the paper", "Table 1"):
            assert words in out

    def test_options_reach_the_corpus(self, run, folder, tmp_path):
        words = ("--config", "masks_only", "-o", "invert=true", "-o", "verify-images=decode", "--split", "train")
        status, _, _ = run("inspect", "tiny_corpus", folder, *words, "--json", tmp_path / "report.json")
        assert status == 0
        report = json.loads((tmp_path / "report.json").read_text())
        assert (report["config"], report["rows"]) == ("masks_only", {"train": 3})
        # inverted masks: nothing is marked but what was not
        assert report["coverage"]["mask"]["empty"] == 0

    def test_limit_and_probe(self, run, folder, tmp_path):
        status, out, _ = run(
            "inspect", "tiny_corpus", folder, "--limit", 2, "--probe", 1, "--no-decode", "--json", tmp_path / "r.json"
        )
        report = json.loads((tmp_path / "r.json").read_text())
        assert (status, report["rows"], report["coverage"]["mask"]["probed"]) == (0, {"train": 2, "test": 2}, 1)
        assert "at most 2 rows of each split" in out

    def test_unusable_files_are_named_and_the_status_is_1(self, run, folder):
        data = image_bytes(0, (64, 64))
        (folder / "one.png").write_bytes(data[: len(data) // 2])
        (folder / "six.png").write_bytes(b"")
        status, out, err = run("inspect", "tiny_corpus", folder)
        assert status == 1
        assert "six.png" in out
        assert "one.png" in out
        assert err.strip() == "3 files cannot be used"

    def test_pictures(self, run, folder, tmp_path):
        pytest.importorskip("matplotlib")
        status, out, _ = run("inspect", "tiny_corpus", folder, "--out", tmp_path / "out")
        assert status == 0
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
            "contact_sheet.png",
            "counts.png",
            "coverage.png",
            "report.json",
            "sizes.png",
        ]
        with Image.open(tmp_path / "out/contact_sheet.png") as sheet:
            assert sheet.width == 6 * 250 + 10
        assert f"written to {tmp_path / 'out'}" in out

    def test_without_matplotlib_there_are_no_charts_and_that_is_said(self, run, folder, tmp_path, monkeypatch):
        real = builtins.__import__

        def without(name, *args, **kwargs):
            if name.startswith("matplotlib"):
                raise ImportError(name)
            return real(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", without)
        status, _, err = run("inspect", "tiny_corpus", folder, "--out", tmp_path / "out")
        assert status == 0
        assert err.strip() == 'no charts: charts need matplotlib: pip install "forgescope[plot]"'
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["contact_sheet.png", "report.json"]

    def test_names_are_no_markup(self, run, tmp_path):
        folder = write_corpus(tmp_path / "data", [row("a.png", source="[red]x[/]")])
        _, out, _ = run("inspect", "tiny_corpus", folder)
        assert "[red]x[/]" in out


class TestExport:
    def test_it_says_what_it_wrote(self, run, folder, tmp_path):
        status, out, err = run("export", "tiny_corpus", folder, "--out", tmp_path / "out", "--rows-per-group", 2)
        assert (status, out) == (0, f"{tmp_path / 'out'}: 4 train, 2 test\n")
        assert err == ""
        status, out, _ = run("export", "tiny_corpus", folder, "--out", tmp_path / "out", "--rows-per-group", 2)
        assert (status, out) == (0, f"{tmp_path / 'out'}: an equal export was there already\n")

    def test_overwrite(self, run, folder, tmp_path):
        run("export", "tiny_corpus", folder, "--out", tmp_path / "out")
        write_corpus(folder, ROWS[:1])
        status, _, err = run("export", "tiny_corpus", folder, "--out", tmp_path / "out")
        assert status == 2
        assert "holds an export of other files or options" in err
        status, out, _ = run("export", "tiny_corpus", folder, "--out", tmp_path / "out", "--overwrite")
        assert (status, out) == (0, f"{tmp_path / 'out'}: 1 train\n")

    def test_unusable_files_are_named_and_the_status_is_1(self, run, folder, tmp_path):
        (folder / "six.png").write_bytes(b"")
        status, out, err = run("export", "tiny_corpus", folder, "--out", tmp_path / "out", "--num-proc", 1)
        assert (status, out) == (1, f"{tmp_path / 'out'}: 4 train, 1 test\n")
        assert err == "empty file: 1 (six.png)\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["inspect", "nothing", "{folder}"], "unknown corpus 'nothing': expected one of cnnspot,"),
        (["inspect", "tiny_corpus", "{folder}/no"], "does not exist: expected rows.jsonl"),
        (["inspect", "tiny_corpus", "{folder}", "--config", "x"], "no configuration 'x': expected one of all, masks"),
        (["inspect", "tiny_corpus", "{folder}", "--split", "x"], "has no split x"),
        (["inspect", "tiny_corpus", "{folder}", "-o", "colour=1"], "has no option colour: expected invert,"),
        (["inspect", "tiny_corpus", "{folder}", "-o", "colour"], "--option must be key=value, got 'colour'"),
        (["export", "tiny_corpus", "{folder}", "--out", "{folder}"], "is not empty and holds no export"),
        (["export", "tiny_corpus", "{folder}", "--out", "x", "--push", "y"], "'y' is no repository"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(run, folder, words, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    status, _, err = run(*(word.format(folder=folder) for word in words))
    assert status == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
