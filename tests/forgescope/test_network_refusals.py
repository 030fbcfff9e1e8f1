"""What an export and an exported network refuse, each with one sentence; and the verb on the command line."""

import json
import shutil
import sys
from importlib.util import find_spec

import pytest
from exported_networks import SIZE, save_checkpoint
from transformers.utils import logging as transformers_logging

from forgescope.analyze import Analyzer, Failure
from forgescope.cli import main
from forgescope.export import export_checkpoint
from forgescope.hub import EXPORT_FILE, load_checkpoint

# the family that is traced quickest
FCN8S = {"architecture": "fcn8s", "backbone": "vgg11", "fully_connected_size": 16}
AGAIN = "export the checkpoint again"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, photos):
    """A checkpoint whose processor keeps the pixels of photographs."""
    folder = tmp_path_factory.mktemp("checkpoint") / "fcn8s"
    return save_checkpoint(folder, "diffseg", photos[:2], {"do_resize": False}, **FCN8S)


@pytest.fixture(scope="module")
def network(checkpoint, tmp_path_factory):
    """It, exported for 64 x 64 pixels."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    folder = tmp_path_factory.mktemp("network") / "onnx"
    export_checkpoint(checkpoint, "onnx", folder, size=SIZE)
    return folder


@pytest.fixture
def damaged(network, tmp_path):
    """A copy of the network, to be damaged."""
    return shutil.copytree(network, tmp_path / "network")


@pytest.fixture
def forgescope(monkeypatch, capsys):
    """Run the command line in this process; gives exit status, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["forgescope", *map(str, arguments)])
        with pytest.raises(SystemExit) as status:
            main()
        captured = capsys.readouterr()
        return status.value.code, captured.out, captured.err

    verbosity = transformers_logging.get_verbosity()
    yield run
    transformers_logging.set_verbosity(verbosity)
    transformers_logging.enable_progress_bar()


@pytest.mark.parametrize("model_type", ["fakereasoning", "legion", "segformer"])
def test_models_that_write_texts_are_refused(model_type, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    with pytest.raises(ValueError, match=f"has model type '{model_type}', .* expected iclnet or gamma or diffseg"):
        export_checkpoint(tmp_path, "onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"to": "tflite"}, "unknown format 'tflite': expected onnx or openvino"),
        ({"dtype": "int8"}, "unknown dtype 'int8': expected float32, bfloat16, float16"),
        (
            {"dtype": "bfloat16"},
            "ONNX Runtime has no bfloat16 convolution for CPUs: export to openvino, or with dtype",
        ),
        ({"size": 100}, "expected a size that is a positive multiple of 32, got 100"),
        ({"size": 0}, "expected a size that is a positive multiple of 32, got 0"),
        ({"model": "no/such/folder"}, "unknown checkpoint 'no/such/folder'"),
    ],
)
def test_arguments_are_checked(checkpoint, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        export_checkpoint(**{"model": checkpoint, "to": "onnx", "out": tmp_path / "out"} | arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_written_over(checkpoint, tmp_path):
    (tmp_path / "kept").write_text("kept")
    with pytest.raises(ValueError, match="exists: give a new folder, or remove it"):
        export_checkpoint(checkpoint, "onnx", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


@pytest.mark.usefixtures("network")
def test_outputs_that_differ_leave_nothing(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules["forgescope.export"].TOLERANCES, "float32", 0.0)
    with pytest.raises(ValueError, match=r"differs from PyTorch by more than 0e\+00, .* in float32: logits for 1 x 3"):
        export_checkpoint(checkpoint, "onnx", tmp_path / "out", size=SIZE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("to", "package"), [("onnx", "onnx_ir.passes.common"), ("openvino", "openvino")])
def test_a_missing_package_is_named(checkpoint, tmp_path, monkeypatch, to, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r'pip install "forgescope\[export\]"'):
        export_checkpoint(checkpoint, to, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_network_without_its_runtime(network, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r'pip install "forgescope\[export\]"'):
        Analyzer(network)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": "cuda"}, "exported networks run on the CPU, got device 'cuda': give the PyTorch checkpoint"),
        ({"dtype": "bfloat16"}, "was exported in float32, got dtype 'bfloat16': leave it out, or export"),
        ({"dtype": "int8"}, "expected dtype auto, float32, bfloat16, got 'int8'"),
        ({"tile": 96}, "was exported for 64 x 64 pixels alone, got 96 x 96; .* exported without --size, takes any"),
    ],
)
def test_a_network_says_what_it_does_not_take(network, settings, message):
    with pytest.raises(ValueError, match=message):
        Analyzer(network, overlap=32, **settings)


def test_photographs_smaller_than_the_network(network, photos):
    small, good = photos[3].crop((0, 0, 40, 30)), photos[5]
    results = list(Analyzer(network, overlap=32).results([small, good]))
    assert isinstance(results[0], Failure)
    assert "40 x 30 pixels" in results[0].error
    assert "was exported for 64 x 64 pixels alone, got 64 x 32" in results[0].error
    assert results[1].mask.shape == (64, 64)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("model.onnx", None, f"has no model.onnx: {AGAIN}"),
        ("model.onnx", "no network", "model.onnx' is no network that ONNX Runtime can read: "),
        (EXPORT_FILE, "{", f"does not describe a network: {AGAIN}"),
        (EXPORT_FILE, "{}", f"does not describe a network: {AGAIN}"),
        (EXPORT_FILE, '{"network": {"to": "onnx"}}', f"does not describe a network: {AGAIN}"),
        ("preprocessor_config.json", None, f"has no processor: {AGAIN}"),
        ("config.json", '{"model_type": "segformer"}', "has model type 'segformer', expected iclnet, gamma, diffseg"),
    ],
)
def test_damaged_folders(damaged, file, content, message):
    if content is None:
        (damaged / file).unlink()
    else:
        (damaged / file).write_text(content)
    with pytest.raises(ValueError, match=message):
        Analyzer(damaged)


def test_an_unknown_runtime_in_the_report(damaged):
    report = json.loads((damaged / EXPORT_FILE).read_text())
    report["network"]["to"] = "tflite"
    (damaged / EXPORT_FILE).write_text(json.dumps(report))
    with pytest.raises(ValueError, match="names a network of float32 for tflite, which are unknown here"):
        Analyzer(damaged)


def test_what_needs_weights_says_so(network):
    with pytest.raises(
        ValueError, match="holds an exported network, .* give the checkpoint that it was exported from"
    ):
        load_checkpoint(network)
    with pytest.raises(ValueError, match="holds an exported network"):
        export_checkpoint(network, "onnx", network.parent / "again")


@pytest.mark.usefixtures("network")
def test_the_command_line(checkpoint, forgescope, photos, tmp_path):
    out = tmp_path / "network"
    arguments = ("export", checkpoint, "--to", "onnx", "--size", SIZE, "--dynamic-batch", "--out", out, "--json")
    status, printed, errors = forgescope(*arguments)
    assert status == 0
    answer = json.loads(printed)
    assert (answer["folder"], answer["network"]["batch"], answer["network"]["height"]) == (str(out), None, SIZE)
    assert [row["shape"] for row in answer["differences"]] == [[1, 3, SIZE, SIZE], [2, 3, SIZE, SIZE]]
    assert "difference from PyTorch, of which 1e-04 is allowed in float32:" in errors
    assert "logits for 2 x 3 x 64 x 64: largest " in errors
    photos[5].save(tmp_path / "photo.png")
    rows = {}
    for model in (out, checkpoint):
        report = tmp_path / f"report-{model.name}"
        command = ("detect", tmp_path / "photo.png", "--model", model, "--out", report, "--overlap", 32)
        assert forgescope(*command, "--batch-size", 2)[0] == 0
        rows[model] = json.loads((report / "report.jsonl").read_text().splitlines()[-1])
    assert rows[out]["verdict"] == rows[checkpoint]["verdict"]
    assert rows[out]["score"] == pytest.approx(rows[checkpoint]["score"], abs=1e-4)
    assert rows[out]["forged_fraction"] == pytest.approx(rows[checkpoint]["forged_fraction"], abs=1e-3)
    status, _, errors = forgescope(*arguments)
    assert (status, errors.splitlines()[-1]) == (2, f"error: {out} exists: give a new folder, or remove it")
    status, _, errors = forgescope("export", checkpoint, "--to", "tflite", "--out", tmp_path / "other")
    assert status == 2
    assert "'tflite' is not one of 'onnx', 'openvino'" in errors
