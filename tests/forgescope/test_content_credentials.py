"""Content credentials: real signatures are made, read back, broken, and never fetched from anywhere."""

import sys

import numpy as np
import pytest
from PIL import Image

from forgescope.content_credentials import Action, read_content_credentials
from forgescope.provenance import read_provenance

NOTE = "No list of trusted signers was consulted: anybody can sign under any name."


@pytest.fixture(scope="module")
def signing():
    pytest.importorskip("c2pa")
    import signed_pictures

    return signed_pictures


@pytest.fixture(scope="module")
def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))


@pytest.fixture
def write(tmp_path):
    def write(content, name="picture.jpg"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_a_signed_claim_is_read_back(signing, picture, write, kind):
    found = read_provenance(write(signing.signed(picture, kind)))
    (claim,) = found.c2pa
    assert (claim.issuer, claim.signer, claim.generator) == ("Test Studio", "Test Signer", "test_generator 1.0")
    assert claim.source_types == ("trainedAlgorithmicMedia",)
    assert claim.actions == (Action("c2pa.created", "Model X 3", "trainedAlgorithmicMedia"),)
    assert (claim.validation_state, claim.problems, claim.signed_at) == ("Valid", (), None)
    assert found.notes == [NOTE]
    assert found.describe() == (
        "content credentials (Valid): signed as Test Studio, test_generator 1.0, trainedAlgorithmicMedia"
    )


def test_a_changed_pixel_breaks_the_signature(signing, picture, write):
    content = bytearray(signing.signed(picture))
    content[-40] ^= 1  # in the coded pixels, before the marker that ends the file
    found = read_provenance(write(content))
    (claim,) = found.c2pa
    assert claim.validation_state == "Invalid"
    assert [problem.partition(":")[0] for problem in claim.problems] == ["assertion.dataHash.mismatch"]
    assert claim.issuer == "Test Studio"
    assert found.describe().startswith("content credentials (Invalid, assertion.dataHash.mismatch): signed as")


def test_a_changed_claim_breaks_the_signature(signing, picture, write):
    content = signing.signed(picture)
    assert content.count(b"Model X") == 1
    (claim,) = read_provenance(write(content.replace(b"Model X", b"Model Y"))).c2pa
    assert claim.validation_state == "Invalid"
    assert claim.actions[0].software == "Model Y 3"
    assert any(problem.startswith("assertion.hashedURI.mismatch") for problem in claim.problems)


def test_saving_anew_loses_the_credentials(signing, picture, write, tmp_path):
    with Image.open(write(signing.signed(picture))) as image:
        image.save(tmp_path / "anew.jpg")
    found = read_provenance(tmp_path / "anew.jpg")
    assert (found.c2pa, found.describe(), found.notes) == ([], "", [])


def test_earlier_claims_follow_with_what_was_wrong_when_they_came_in(signing, picture, write):
    parent = bytearray(signing.signed(picture))
    parent[-40] ^= 1
    actions = (signing.OPENED, signing.EDITED)
    found = read_provenance(write(signing.signed(picture, "png", actions, bytes(parent)), "second.png"))
    newest, earlier = found.c2pa
    assert (newest.validation_state, newest.problems) == ("Valid", ())
    assert [action.action for action in newest.actions] == ["c2pa.opened", "c2pa.edited"]
    assert newest.source_types == ("compositeWithTrainedAlgorithmicMedia",)
    assert [problem.partition(":")[0] for problem in earlier.problems] == ["assertion.dataHash.mismatch"]
    assert (earlier.validation_state, earlier.actions[0].action) == (None, "c2pa.created")
    assert found.describe().endswith("compositeWithTrainedAlgorithmicMedia, trainedAlgorithmicMedia")


def test_credentials_elsewhere_are_named_and_not_fetched(signing, picture, write):
    address = "http://127.0.0.1:9/credentials.c2pa"
    found = read_provenance(write(signing.signed(picture, remote=address)))
    assert found.c2pa == []
    assert found.c2pa_error == f"they are kept elsewhere, and nothing is fetched: {address}"
    assert found.describe() == f"content credentials cannot be read ({found.c2pa_error})"


def test_damaged_credentials_are_said_to_be_so(signing, picture, write):
    content = signing.signed(picture)
    start = content.index(b"jumb")
    found = read_provenance(write(content[: start + 20] + bytes(20) + content[start + 40 :]))
    assert found.c2pa == []
    assert found.describe().startswith("content credentials cannot be read (")


def test_bytes_cut_or_changed_anywhere_raise_nothing(signing, picture, write):
    content, generator = signing.signed(picture), np.random.default_rng(1)
    for _ in range(60):
        changed = bytearray(content[: generator.integers(len(content) // 2, len(content))])
        changed[generator.integers(100, 8000)] = generator.integers(256)
        credentials = read_content_credentials(write(changed), "JPEG")
        assert credentials.claims is not None


def test_long_claims_are_cut(signing, picture, write):
    actions = [signing.CREATED, *({"action": "c2pa.edited", "softwareAgent": {"name": "x" * 500}} for _ in range(80))]
    (claim,) = read_provenance(write(signing.signed(picture, actions=actions))).c2pa
    assert len(claim.actions) == 50
    assert claim.actions[1].software == "x" * 200


def test_formats_without_credentials_are_not_asked(signing, picture, tmp_path):
    picture.save(tmp_path / "picture.bmp")
    found = read_provenance(tmp_path / "picture.bmp")
    assert (found.c2pa, found.c2pa_error, found.notes) == ([], None, [])


def test_without_the_library_the_command_is_named(picture, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    picture.save(tmp_path / "picture.jpg")
    found = read_provenance(tmp_path / "picture.jpg")
    assert found.c2pa is None
    assert found.notes == ['Content credentials were not looked for: pip install "forgescope[provenance]"']
    assert found.describe() == ""
