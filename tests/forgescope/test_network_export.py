"""Exported networks: every family in both runtimes gives PyTorch's outputs, verdicts, masks and editors."""

import json
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from exported_networks import SIZE, assert_same_answers, save_checkpoint
from PIL import Image

from forgescope.analyze import Analyzer, analyze
from forgescope.export import TOLERANCES, export_checkpoint
from forgescope.exported import OUTPUTS, load_exported
from forgescope.hub import EXPORT_FILE, load_checkpoint
from forgescope.network_runtimes import NETWORK_FILES, import_openvino

PACKAGES = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("onnx", "onnxscript", "openvino")}


def need(to):
    """Skip where a package is missing; not by importing OpenVINO, which would report that to its makers."""
    for package in PACKAGES[to]:
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


NATIVE = {"do_resize": False}
# model settings, processor settings, arguments of the export
CASES = {
    "iclnet": ("iclnet", {"use_frozen_stream": False}, {}, {}),
    "gamma": ("gamma", {"cross_attention_tokens": "spatial"}, NATIVE | {"smallest_edge": SIZE}, {"size": SIZE}),
    "deeplabv3plus": (
        "diffseg",
        {
            "architecture": "deeplabv3plus",
            "backbone": "resnet10t",
            "pyramid_hidden_size": 16,
            "low_level_hidden_size": 8,
        },
        NATIVE,
        {"dynamic_batch": True},
    ),
    "segformer": ("diffseg", {"architecture": "segformer"}, {}, {"dynamic_batch": True}),
    "fcn8s": ("diffseg", {"architecture": "fcn8s", "backbone": "vgg11", "fully_connected_size": 16}, {}, {}),
    "gamma any size": ("gamma", {"cross_attention": "dual"}, NATIVE, {"dynamic_batch": True}),
    "iclnet fft": ("iclnet", {"noise_filter": "fft"}, NATIVE, {}),
    "iclnet energy": ("iclnet", {"noise_filter": "energy", "feature_stages": (1, 2, 3)}, NATIVE, {}),
}
QUICK = [("iclnet", "onnx"), ("iclnet", "openvino"), ("gamma", "onnx"), ("gamma", "openvino"), ("segformer", "onnx")]
QUICK += [("deeplabv3plus", "openvino")]
EVERY = [
    pytest.param(case, to, id=f"{case} {to}", marks=() if (case, to) in QUICK else pytest.mark.slow)
    for case in CASES
    for to in NETWORK_FILES
]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory, photos):
    """Folders of the checkpoints by case, made when asked for."""
    made = {}

    def checkpoint(case):
        if case not in made:
            family, settings, processing, _ = CASES[case]
            folder = tmp_path_factory.mktemp("checkpoint") / family
            made[case] = save_checkpoint(folder, family, photos[:4], processing, **settings)
        return made[case]

    return checkpoint


@pytest.fixture(scope="module")
def networks(tmp_path_factory, checkpoints):
    """Folders of the exported networks by case and format, with the differences that the export found."""
    made = {}

    def network(case, to):
        need(to)
        if (case, to) not in made:
            folder = tmp_path_factory.mktemp("network") / to
            made[case, to] = folder, export_checkpoint(checkpoints(case), to, folder, **CASES[case][3])
        return made[case, to]

    return network


@pytest.mark.parametrize(("case", "to"), EVERY)
def test_outputs_are_pytorchs(case, to, networks, checkpoints):
    folder, differences = networks(case, to)
    model, _ = load_checkpoint(checkpoints(case), dtype=torch.float32)
    network, _ = load_exported(folder)
    form = network.form
    generator = torch.Generator().manual_seed(3)
    sizes = [(SIZE, SIZE)] if form.height else [(SIZE, SIZE), (32, 32), (96, 160)]
    for batch, (height, width) in [(batch, size) for batch in (1, 3) for size in sizes]:
        pixels = torch.randn(batch, 3, height, width, generator=generator)
        with torch.inference_mode():
            expected = model(pixel_values=pixels)
        found = network(pixels)
        assert type(found) is OUTPUTS[model.config.model_type]
        assert list(found.keys()) == list(expected.keys())
        for name, values in found.items():
            assert values.dtype == torch.float32
            torch.testing.assert_close(values, expected[name], atol=1e-4, rtol=1e-4)
    assert {one.output for one in differences} == set(form.outputs)
    assert all(one.accepted(1e-4) for one in differences)


@pytest.mark.parametrize(("case", "to"), EVERY)
def test_reports_are_pytorchs(case, to, networks, checkpoints, photos):
    folder, _ = networks(case, to)
    large = [photo for photo in photos if min(photo.size) >= SIZE]
    reports = assert_same_answers(checkpoints(case), folder, large, batch_size=2)
    assert len({round(report.score, 4) for report in reports}) > 2
    assert any(0.02 < report.mask.mean() < 0.98 for report in reports)
    if case.startswith("gamma"):
        assert any(not np.array_equal(report.mask, report.ai_mask) for report in reports)
    if case in ("segformer", "deeplabv3plus", "fcn8s"):
        assert max(len(report.attribution) for report in reports) > 2


@pytest.mark.parametrize(("case", "to"), [("gamma", "onnx"), ("deeplabv3plus", "openvino"), ("iclnet", "openvino")])
def test_photographs_of_the_repository_and_of_the_corpora(case, to, networks, checkpoints, repository, data_dir):
    folder, _ = networks(case, to)
    paths = [*sorted((repository / "examples" / "images").glob("*.jpg"))[:2]]
    paths += [sorted((data_dir / kind).rglob("*.[pj][np]g"))[0] for kind in ("real", "generated", "tampered")]
    # a fifth of the size: these networks see 64 x 64 pixels at a time
    shown = []
    for path in paths:
        image = Image.open(path).convert("RGB")
        shown.append(image.resize((max(image.width // 5, SIZE), max(image.height // 5, SIZE))))
    assert_same_answers(checkpoints(case), folder, shown)


def test_tiles_of_other_sizes(networks, checkpoints, photos):
    folder, _ = networks("deeplabv3plus", "openvino")
    # 96 x 128: higher than a tile, and no multiple of it
    photo = photos[3].crop((0, 0, 128, 96))
    assert_same_answers(checkpoints("deeplabv3plus"), folder, [photo, photos[5]], tile=96, overlap=32, batch_size=3)


def test_the_folder_holds_what_a_report_needs(networks, checkpoints, repository):
    folder, differences = networks("gamma", "onnx")
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        EXPORT_FILE,
        "model.onnx",
        "preprocessor_config.json",
    ]
    report = json.loads((folder / EXPORT_FILE).read_text())
    assert report["network"] == {
        "to": "onnx",
        "dtype": "float32",
        "height": SIZE,
        "width": SIZE,
        "batch": 1,
        "inputs": ["pixel_values"],
        "outputs": ["logits", "manipulation_logits", "ai_logits"],
    }
    assert report["tolerance"] == TOLERANCES["float32"] == 1e-4
    assert [row["relative"] for row in report["differences"]] == [one.relative for one in differences]
    assert {"torch", "onnx", "onnxruntime", "forgescope"} <= set(report["versions"])
    config = json.loads((folder / "config.json").read_text())
    assert (config["model_type"], config["id2label"]) == ("gamma", {"0": "real", "1": "fake"})
    # PyTorch writes the paths of source files into a graph
    content = (folder / "model.onnx").read_bytes()
    assert b"site-packages" not in content
    assert str(repository).encode() not in content


def test_analyze_keeps_the_network(networks, photos):
    folder, _ = networks("segformer", "onnx")
    report = analyze(photos[0], model=folder)
    assert (report.model, report.precision) == (str(folder), "float32")
    assert analyze(photos[0], model=str(folder), dtype="float32").score == report.score


def test_openvino_reports_to_nobody():
    need("openvino")
    import_openvino()
    assert sys.modules["openvino_telemetry"] is None


def test_no_more_threads_than_pytorch(networks):

    network, _ = load_exported(networks("deeplabv3plus", "openvino")[0])
    assert network.runtime.settings["INFERENCE_NUM_THREADS"] == torch.get_num_threads()
    session = load_exported(networks("gamma", "onnx")[0])[0].runtime.session
    assert session.get_session_options().intra_op_num_threads == torch.get_num_threads()


@pytest.mark.slow
@pytest.mark.parametrize("case", ["iclnet", "gamma", "segformer", "deeplabv3plus"])
@pytest.mark.parametrize(("to", "dtype"), [("onnx", "float16"), ("openvino", "float16"), ("openvino", "bfloat16")])
def test_other_types(case, to, dtype, checkpoints, photos, tmp_path):
    need(to)
    differences = export_checkpoint(checkpoints(case), to, tmp_path / "out", dtype=dtype, **CASES[case][3])
    assert 1e-6 < max(one.relative for one in differences) <= TOLERANCES[dtype]
    ours, theirs = Analyzer(tmp_path / "out"), Analyzer(checkpoints(case), device="cpu")
    assert ours.precision == ("bfloat16" if dtype == "bfloat16" else "float32")
    found, expected = ours.analyze(photos[3]), theirs.analyze(photos[3])
    assert np.abs(found.probability_map - expected.probability_map).mean() < 0.02
    inputs = json.loads((tmp_path / "out" / EXPORT_FILE).read_text())["network"]["inputs"]
    assert ("high_frequencies" in inputs) == (case == "iclnet" and dtype == "bfloat16")


@pytest.mark.slow
@pytest.mark.parametrize("to", NETWORK_FILES)
def test_the_embedded_checkpoint(to, tmp_path, repository):
    need(to)
    export_checkpoint("iclnet-mini", to, tmp_path / "out")
    photos = sorted((repository / "examples" / "images").glob("*.jpg"))
    assert_same_answers("iclnet-mini", tmp_path / "out", photos)
