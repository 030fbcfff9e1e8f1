"""Every verb keeps to the same rules: names of options, help with an example, exit status, JSON for programs."""

import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import typer

from forgescope.cli import VERBS, app, main
from forgescope.cli.output import json_output, json_writer, print_json
from forgescope.cli.renamed import RENAMED

# Options that several verbs have: what their value is shown as, or "flag".
AGREED = {
    "--model": "text",
    "--out": "path",
    "--device": "text",
    "--dtype": "text",
    "--batch-size": "number",
    "--seed": "number",
    "--overwrite": "flag",
    "--json": "flag",
    "--data": "path",
    "--split": "text",
    "--num-proc": "number",
    "--workers": "number",
    "--resume": "flag",
    "--plots": "flag",
    "--private": "flag",
    "--settings": "path",
    "--rasterizer": "text",
    "--size": "number",
}
# Verbs that write JSON into a file, or print it for `-`.
JSON_FILES = ("evaluate", "annotate tally", "data inspect")
# `datasets` calls the variant of a corpus --config; a file of settings is --settings everywhere.
VARIANT_OF_A_CORPUS = ("data inspect", "data export")
# Other names for the same things.
FOREIGN = {
    *("--output", "--output-dir", "--outdir", "--output-folder", "--checkpoint", "--ckpt", "--model-id", "--weights"),
    *("--cuda", "--gpu", "--cpu", "--precision", "--fp16", "--bf16", "--bs", "--batch", "--batchsize"),
    *("--random-seed", "--force", "--replace", "--clobber", "--as-json", "--jsonl", "--n-jobs", "--jobs", "--quiet"),
}
EXAMPLE = "Example: "
GROUPS = ("annotate", "construct", "convert", "data", "train")


def leaves(command, path=()):
    """Name and command of every verb that does something."""
    for name in command.list_commands(None):
        one = command.commands[name]
        if hasattr(one, "commands"):
            yield from leaves(one, (*path, name))
        else:
            yield " ".join((*path, name)), one


ROOT = typer.main.get_command(app)
COMMANDS = dict(leaves(ROOT))
EACH = pytest.mark.parametrize("name", COMMANDS)


def options_of(command):
    return [one for one in command.params if one.param_type_name == "option" and not one.hidden]


def context_of(command, name):
    return command.context_class(command, info_name=f"forgescope {name}")


def kind_of(option, command, name):
    """`flag`, `number`, `path` or `text`, as the help shows it."""
    if option.is_flag:
        return "flag"
    shown = option.get_help_record(context_of(command, name))[0]
    if re.search(r"<(int|float)( range)?>|INTEGER|FLOAT", shown):
        return "number"
    return "path" if re.search("<path>|PATH", shown) else "text"


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["forgescope", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return stopped.value.code, *capsys.readouterr()

    return call


def test_verbs_are_listed_in_their_order(run):
    status, out, _ = run("--help")
    listed = [line.split()[0] for line in out.partition("Commands:\n")[2].splitlines() if line.startswith("  ")]
    assert status == 0
    assert listed == [verb for verb in VERBS if verb in listed]
    assert set(listed) == set(ROOT.commands)
    assert "..." not in out.partition("Commands:\n")[2], "a verb's first line is too long to be shown whole"


@EACH
def test_every_option_has_help(name):
    command = COMMANDS[name]
    # what was declared, for some versions of typer lose the help of arguments
    declared = inspect.signature(command.callback).parameters
    infos = {one.name: get_args(declared[one.name].annotation)[1] for one in command.params if one.name in declared}
    assert [name for name, info in infos.items() if not info.help] == []
    assert command.help.splitlines()[0].endswith(".")


@EACH
def test_options_have_the_agreed_names(name):
    command = COMMANDS[name]
    for option in options_of(command):
        (flag,) = [one for one in option.opts if one.startswith("--")]
        assert flag not in FOREIGN
        expected = AGREED.get(flag)
        if flag == "--json" and name in JSON_FILES:
            assert option.metavar == "FILE"
        elif flag == "--config":
            assert name in VARIANT_OF_A_CORPUS
        elif expected is not None:
            assert kind_of(option, command, name) == expected, flag


@EACH
def test_flags_that_are_off_have_no_second_name(name):
    flags = [one for one in options_of(COMMANDS[name]) if one.is_flag and one.default is False]
    assert [one.secondary_opts for one in flags if one.secondary_opts] == []


@EACH
def test_every_verb_prints_json(name):
    flags = {flag for option in options_of(COMMANDS[name]) for flag in option.opts}
    assert "--json" in flags


@EACH
def test_help_has_an_example_that_parses(name):
    command = COMMANDS[name]
    examples = [part for part in command.help.split("\n\n") if part.strip().startswith(EXAMPLE)]
    assert len(examples) == 1, "expected one paragraph that begins with 'Example: '"
    words = shlex.split(" ".join(examples[0].split()).removeprefix(EXAMPLE))
    path = name.removesuffix(" run").split()
    assert words[: 1 + len(path)] == ["forgescope", *path]
    command.make_context(name, words[1 + len(path) :])


@EACH
def test_a_wrong_option_is_one_line_and_status_2(name, run):
    status, out, err = run(*name.split(), "--no-such-option")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert re.match("error: No such option:? '?--no-such-option", err)
    assert err.endswith(f"see forgescope {name} --help\n")


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_alone_shows_its_help(group, run):
    status, out, err = run(group)
    assert status in (0, 2)  # as the version of typer has it
    assert f"Usage: forgescope {group}" in out + err
    assert "..." not in (out + err).partition("Commands:\n")[2], "a verb's first line is too long to be shown whole"
    assert run(group, "no-such-verb" if group != "annotate" else "--no-such-option")[0] == 2


@pytest.mark.parametrize("verb", ["env", "protocols"])
def test_help_itself_is_no_error(verb, run):
    status, out, err = run(verb, "--help")
    assert (status, err) == (0, "")
    assert out.startswith(f"Usage: forgescope {verb}")


def test_square_brackets_in_help_are_kept(run):
    assert "needs forgescope[plot]" in " ".join(run("evaluate", "--help")[1].split())


@pytest.mark.parametrize("old", [["--output", "there"], ["--output=there"]])
def test_old_names_still_mean_the_new_options(old, run):
    command = COMMANDS["train iclnet"]
    context = command.make_context("iclnet", ["--data", "forged", *old])
    assert str(context.params["out"]) == "there"
    assert "--output" not in run("train", "iclnet", "--help")[1]
    assert RENAMED["--output"] == "--out"


@pytest.mark.parametrize("verb", ["diffseg", "mmfr", "synthscars"])
def test_files_of_settings_have_one_name(verb, run):
    command = COMMANDS[f"construct {verb}"]
    for name in ("--settings", "--config"):
        context = command.make_context(verb, ["images", "--out", "there", name, "file.yaml"])
        assert str(context.params["settings"]) == "file.yaml"
    assert "--config" not in run("construct", verb, "--help")[1]


def test_an_old_name_behind_two_dashes_is_a_value():
    command = COMMANDS["train iclnet"]
    with pytest.raises(typer.BadParameter.__mro__[1], match="unexpected extra argument"):
        command.make_context("iclnet", ["--data", "forged", "--", "--output"])


@pytest.mark.parametrize("error", [ValueError("a\n  b"), FileNotFoundError("a b"), ImportError("a b")])
def test_expected_errors_are_one_line(error, run, monkeypatch):
    def fail(**_):
        raise error

    monkeypatch.setattr("forgescope.environment.describe_environment", fail)
    assert run("env") == (2, "", "error: a b\n")


def test_an_interrupted_verb_says_so_in_one_line(run, monkeypatch):
    def interrupt(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr("forgescope.environment.describe_environment", interrupt)
    status, _, err = run("env")
    assert (status, err.strip()) == (130, "interrupted; what was written until now is kept")


def test_errors_of_the_system_name_place_and_reason(run, tmp_path):
    (tmp_path / "photo.jpg").write_text("no folder")
    place = tmp_path / "photo.jpg" / "report"
    assert run("detect", tmp_path / "photo.jpg", "--out", place) == (2, "", f"error: {place}: Not a directory\n")


def test_a_value_that_is_none_of_a_list_is_one_plain_sentence(run):
    status, _, err = run("detect", "photo.jpg", "--format", "xml")
    assert status == 2
    assert "xml" in err
    assert "jsonl" in err
    assert "Value error" not in err


def test_json_stands_alone_on_standard_output(capsys):
    with json_output(True) as answer:
        typer.echo("for people")
        print("of a library")  # noqa: T201
        answer["value"] = {"nan": float("nan"), "list": (1, 2.5), "path": sys}
    out, err = capsys.readouterr()
    assert json.loads(out)["value"] == {"nan": None, "list": [1, 2.5], "path": str(sys)}
    assert err == "for people\nof a library\n"


def test_json_is_printed_where_items_failed_and_not_after_an_error(capsys):
    def end_with(error):
        with json_output(True) as answer:
            answer["failed"] = 1
            raise error

    with pytest.raises(typer.Exit):
        end_with(typer.Exit(1))
    assert capsys.readouterr().out == '{"failed": 1}\n'
    with pytest.raises(ValueError, match="no"):
        end_with(ValueError("no"))
    assert capsys.readouterr().out == ""


def test_of_several_processes_the_first_prints(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with json_output(True) as answer:
        answer["value"] = 1
    assert capsys.readouterr().out == ""


def test_without_json_nothing_changes(capsys):
    with json_output(False) as answer:
        typer.echo("for people")
        answer["value"] = 1
    assert capsys.readouterr() == ("for people\n", "")


def test_json_files_may_be_standard_output(capsys, tmp_path):
    for file in (None, tmp_path / "rows.json", Path("-")):
        with json_writer(file) as write:
            typer.echo("for people")
            write("[1]\n")
        out, err = capsys.readouterr()
        assert (out, err) == (("[1]\n", "for people\n") if str(file) == "-" else ("for people\n", ""))
    assert (tmp_path / "rows.json").read_text() == "[1]\n"
    assert list(tmp_path.iterdir()) == [tmp_path / "rows.json"]


def test_text_of_other_alphabets_is_printed(capsys):
    print_json({"text": "编辑"})
    assert json.loads(capsys.readouterr().out) == {"text": "编辑"}


ARCHITECTURES = ("-deeplabv3plus", "-fcn8s", "-segformer")


def complete(*words, tmp_path):
    """What bash is offered for the last word, and whether anything heavy was imported for it."""
    code = (
        "import sys\n"
        "sys.argv = ['forgescope']\n"
        "from forgescope.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    print(sorted({'torch', 'transformers', 'datasets'} & set(sys.modules)), file=sys.stderr)\n"
    )
    environment = os.environ | {
        "_FORGESCOPE_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("forgescope", *words)),
        "COMP_CWORD": str(len(words)),
    }
    child = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert child.stderr == "[]\n"
    return child.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("ev",), ["evaluate"]),
        (("protocols", "gamma-s"), ["gamma-synthwildx", "gamma-sharegpt4o"]),
        (("evaluate", "m", "--protocol", "iclnet-r"), ["iclnet-robustness"]),
        (("construct", "mmfr", "--conclusion", ""), ["this_image", "based_on_analysis"]),
        (("evaluate", "m", "--preset", "i"), ["iclnet", "imdlbenco"]),
        (("evaluate", "m", "--by", ""), ["source", "task"]),
        (("data", "inspect", "s"), ["sharegpt4o", "synthscars", "synthwildx"]),
        (("train", "gamma", "--corpus", "ge"), ["genimage"]),
        (("train", "legion", "--recipe", ""), ["legion", "legion-mini", "legion-published"]),
        (("train", "legion-detection", "--recipe", ""), ["legion-detection"]),
        (("train", "diffseg", "--recipe", "diffseg-m"), [f"diffseg-mini{one}" for one in ("", *ARCHITECTURES)]),
    ],
)
def test_completion_is_quick_and_knows_verbs_and_values(words, offered, tmp_path):
    assert complete(*words, tmp_path=tmp_path) == offered
