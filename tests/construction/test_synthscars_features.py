"""Features against the network called by hand; their folder against one pass; stops, bad files and weights."""

import signal
import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from synthscars_tools import TINY_NETWORK, save_tiny_weights

from forgescope.construction.inpainting import open_photo
from forgescope.construction.synthscars_feature_folder import write_features
from forgescope.construction.synthscars_features import DEFAULT_MODEL, FeatureSettings, load_features


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.pth")


@pytest.fixture(scope="module")
def extract(weights):
    return load_features(FeatureSettings(TINY_NETWORK, str(weights), device="cpu"))


def mean_colours(images):
    return np.array([np.asarray(image).mean((0, 1)) for image in images], dtype=np.float32)


def test_features_are_those_before_the_classifier(extract, weights, photographs):
    images = [open_photo(photo) for photo in photographs[:3]]
    network = timm.create_model(TINY_NETWORK).eval()
    network.load_state_dict(torch.load(weights))
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
    with torch.inference_mode():
        maps = network.forward_features(torch.stack([transform(image) for image in images]))
    values = extract(images)
    assert values.shape == (3, network.num_features)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, maps.mean((2, 3)), rtol=1e-5, atol=1e-6)


def test_weights_of_another_network_are_refused(tmp_path):
    state = timm.create_model(TINY_NETWORK).state_dict()
    broken, missing = tmp_path / "broken.pth", tmp_path / "missing.pth"
    broken.write_bytes(b"no weights")
    torch.save({key: value for key, value in state.items() if key != "conv1.0.weight"}, missing)
    torch.save({**state, "layer9.weight": torch.zeros(1)}, tmp_path / "more.pth")
    for name in ("broken", "missing", "more"):
        with pytest.raises(ValueError, match=f"{name}.pth does not hold the weights of test_resnet: "):
            load_features(FeatureSettings(TINY_NETWORK, str(tmp_path / f"{name}.pth")))
    with pytest.raises(FileNotFoundError, match="none.pth does not exist: expected a file with weights of test_resn"):
        load_features(FeatureSettings(TINY_NETWORK, str(tmp_path / "none.pth")))
    with pytest.raises(ValueError, match="resnet5000 cannot be loaded: Unknown model"):
        load_features(FeatureSettings("resnet5000"))
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        FeatureSettings(batch_size=0)


def test_a_file_of_weights_counts_by_its_content(weights, tmp_path):
    other = save_tiny_weights(tmp_path / "tiny.pth", seed=1)
    same = tmp_path / "copy.pth"
    same.write_bytes(weights.read_bytes())
    records = [FeatureSettings(TINY_NETWORK, str(file)).decisive() for file in (weights, same, other)]
    assert records[0] == records[1] != records[2]
    assert str(tmp_path) not in str(records)
    assert FeatureSettings().decisive() == {"model": DEFAULT_MODEL, "weights": None, "batch_size": 32}


def test_the_default_network_takes_the_file_of_torchvision(tmp_path, photographs):
    from torchvision.models import resnet50
    from torchvision.models.feature_extraction import create_feature_extractor

    torch.manual_seed(0)
    network = resnet50(weights=None).eval()
    torch.save(network.state_dict(), tmp_path / "resnet50.pth")
    extract = load_features(FeatureSettings(weights=str(tmp_path / "resnet50.pth"), device="cpu"))
    images = [open_photo(photo) for photo in photographs[:2]]
    with torch.inference_mode():
        pixels = torch.stack([extract.transform(image) for image in images])
        expected = create_feature_extractor(network, {"flatten": "out"})(pixels)["out"]
    assert pixels.shape == (2, 3, 224, 224)
    assert expected.shape == (2, 2048)
    np.testing.assert_allclose(extract(images), expected, rtol=1e-4, atol=1e-5)


def test_the_folder_holds_what_one_pass_gives(extract, photographs, tmp_path):
    found = write_features(tmp_path / "f", photographs, extract, open_photo, 5, {})
    expected = np.concatenate(
        [extract([open_photo(photo) for photo in photographs[start : start + 5]]) for start in (0, 5, 10)]
    )
    assert found.indices.tolist() == list(range(12))
    assert np.array_equal(found.values, expected)
    assert found.unreadable == {}
    assert sorted(file.name for file in (tmp_path / "f").glob("*.npz")) == [
        "00000000.npz",
        "00000005.npz",
        "00000010.npz",
    ]


def test_a_stopped_folder_goes_on_and_holds_the_same_bytes(extract, photographs, tmp_path, digest):
    bad = tmp_path / "bad.jpg"
    bad.write_text("no photograph")
    photos = [bad, *photographs[:4], bad, *photographs[4:]]
    opened = []

    def stop_at_eight(photo):
        opened.append(photo)
        if len(opened) == 8:
            raise KeyboardInterrupt
        return open_photo(photo)

    whole = write_features(tmp_path / "whole", photos, extract, open_photo, 3, {"a": 1})
    with pytest.raises(KeyboardInterrupt):
        write_features(tmp_path / "stopped", photos, extract, stop_at_eight, 3, {"a": 1})
    opened.clear()
    resumed = write_features(
        tmp_path / "stopped", photos, extract, lambda photo: opened.append(photo) or open_photo(photo), 3, {"a": 1}
    )
    # two batches of three were done, and the bad one of the third is known
    assert len(opened) == 14 - 6
    assert digest(tmp_path / "stopped") == digest(tmp_path / "whole")
    assert resumed.unreadable == whole.unreadable == {0: "bad.jpg is not an image", 5: "bad.jpg is not an image"}
    assert resumed.indices.tolist() == [1, 2, 3, 4, *range(6, 14)]
    assert np.array_equal(resumed.values, whole.values)
    opened.clear()
    write_features(tmp_path / "stopped", photos, extract, opened.append, 3, {"a": 1})
    assert opened == []
    with pytest.raises(ValueError, match="was begun with other network: use the same or another folder"):
        write_features(tmp_path / "stopped", photos, extract, open_photo, 3, {"a": 2})


def test_a_folder_of_broken_images_has_no_features(tmp_path):
    photos = [tmp_path / f"{number}.jpg" for number in range(3)]
    for photo in photos:
        photo.write_bytes(b"")
    found = write_features(tmp_path / "f", photos, mean_colours, open_photo, 2, {})
    assert (found.indices.shape, found.values.shape, list(found.unreadable)) == ((0,), (0, 0), [0, 1, 2])


# computes mean colours of the given images in batches of three, and kills itself at the eighth
KILLED = """
import os, signal, sys
folder, *paths = sys.argv[1:]
sys.argv = ["forgescope"]  # no models are registered, which would take long
from pathlib import Path
import numpy as np
from forgescope.construction.inpainting import open_photo
from forgescope.construction.synthscars_feature_folder import write_features
photos = [Path(path) for path in paths]
def read_photo(path):
    if path == photos[7]:
        os.kill(os.getpid(), signal.SIGKILL)
    return open_photo(path)
def mean_colours(images):
    return np.array([np.asarray(image).mean((0, 1)) for image in images], dtype=np.float32)
write_features(Path(folder), photos, mean_colours, read_photo, 3, {})
"""


def test_a_killed_folder_goes_on_and_holds_the_same_bytes(photographs, tmp_path, digest):
    command = [sys.executable, "-c", KILLED, str(tmp_path / "killed"), *map(str, photographs)]
    child = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert sorted(file.name for file in (tmp_path / "killed").glob("*.npz")) == ["00000000.npz", "00000003.npz"]
    for name in ("killed", "whole"):
        write_features(tmp_path / name, photographs, mean_colours, open_photo, 3, {})
    assert digest(tmp_path / "killed") == digest(tmp_path / "whole")


def no_memory(images):
    raise RuntimeError("out of memory")


@pytest.mark.parametrize(
    ("extract", "message"),
    [
        (no_memory, "the feature network failed on 2 images: out of memory"),
        (lambda images: np.zeros(3), r"must give finite numbers of shape \(2, D\), got shape \(3,\)"),
        (lambda images: np.full((2, 4), np.nan), r"must give finite numbers of shape \(2, D\), got shape \(2, 4\)"),
    ],
)
def test_networks_that_are_of_no_use(extract, message, tmp_path):
    photos = [tmp_path / f"{number}.png" for number in range(2)]
    for photo in photos:
        Image.new("RGB", (8, 8)).save(photo)
    with pytest.raises(ValueError, match=message):
        write_features(tmp_path / "f", photos, extract, open_photo, 2, {})
