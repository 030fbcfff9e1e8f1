"""The demo in a real browser: drop a photograph, move a slider, choose another model, be turned away."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from answering_fakereasoning import plain_photo

import forgescope

pytest.importorskip("gradio", reason="the page is made with gradio")
STARTED_AFTER, ANSWERED_AFTER = 120, 60  # seconds at most, on a busy machine


@pytest.fixture(scope="module")
def server(tiny_checkpoint, answering_checkpoint, repository, tmp_path_factory):
    """Address of the real app, started from the command line, and the file of what it prints."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("demo")
    models = ["--model", str(tiny_checkpoint), "--model", str(answering_checkpoint)]
    command = [sys.executable, "-m", "forgescope", "demo", *models, "--port", str(port), "--device", "cpu", "--json"]
    environment = os.environ | {"GRADIO_TEMP_DIR": str(folder / "uploads"), "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=repository, env=environment)
        waited_until = time.monotonic() + STARTED_AFTER
        while not (
            found := re.search(r'^{"local": "(http[^"]+)", "public": null}$', (folder / "log").read_text(), re.M)
        ):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < waited_until, "the demo did not start"
            time.sleep(0.2)
        yield found[1], folder / "log"
        process.terminate()
        process.wait(timeout=ANSWERED_AFTER)


@pytest.fixture
def page(browser_page, server):
    """The open page; it may ask nothing of any other address, and the app must not fail."""
    address, log = server
    asked = set()
    browser_page.on("request", lambda request: asked.add(request.url))
    browser_page.set_default_timeout(1000 * ANSWERED_AFTER)
    browser_page.goto(address)
    browser_page.wait_for_selector("#photo input[type=file]", state="attached")
    yield browser_page
    assert [url for url in asked if url.startswith("http") and not url.startswith(address)] == []
    assert "Traceback" not in log.read_text()


def drop(page, file):
    """Give the page a file, and wait for what it says of it."""
    page.set_input_files("#photo input[type=file]", file)
    page.wait_for_selector("#verdict .badge, #verdict .failed")


def move(page, slider, share):
    """Take the handle of a slider to a share of its width; gives the strength there."""
    handle = page.locator(f"#{slider} input[type=range]")
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    handle.click(position={"x": share * box["width"], "y": box["height"] / 2})
    return int(handle.input_value())


def rows_of(page):
    return [row.split("\t") for row in page.locator("#trials tbody tr").all_inner_texts()]


def test_a_photograph_is_examined_and_changed(page, repository, tiny_checkpoint):
    file = repository / "examples" / "images" / "inpainting_rocket.jpg"
    report = forgescope.analyze(file, model=tiny_checkpoint, device="cpu")
    assert "The verdict appears here." in page.inner_text("#verdict")
    drop(page, file)
    assert f"score {report.score:.3f}" in page.inner_text("#verdict")
    assert page.inner_text("#verdict .badge") == report.verdict
    assert page.locator("#pictures img").count() == 2
    assert "Move a slider" in page.inner_text("#trials")

    quality = move(page, "jpeg", 0.4)
    page.wait_for_selector("#trials table")
    assert 30 < quality < 60
    rows = rows_of(page)
    assert [row[0] for row in rows] == ["unchanged", f"jpeg:{quality} (shown)"]
    assert rows[0][1] == f"{report.score:.3f}"
    summary = page.inner_text("#trials p")
    kernel = move(page, "blur", 0.5)
    page.wait_for_function("text => document.querySelector('#trials p').innerText !== text", arg=summary)
    assert [row[0] for row in rows_of(page)] == ["unchanged", f"jpeg:{quality}", f"blur:{kernel} (shown)"]
    page.locator("#blur-plot canvas, #blur-plot svg.marks").wait_for()

    page.click("#try-all")
    page.wait_for_function("document.querySelectorAll('#trials tbody tr').length >= 13")
    assert f"of {len(rows_of(page)) - 1} changes" in page.inner_text("#trials p")


def test_another_model_and_another_photograph(page, tmp_path, answering_checkpoint):
    plain_photo("red").save(tmp_path / "red.png")
    drop(page, tmp_path / "red.png")
    page.click("#model input")
    page.get_by_role("option", name=str(answering_checkpoint)).click()
    page.wait_for_function("document.querySelector('#details').innerText.includes('Explanation')")
    assert "Conclusion: This image is fake." in page.inner_text("#details")
    assert page.inner_text("#verdict .badge") == "forged"


def test_what_iclnet_mini_is_for_is_said_of_it_alone(page, tiny_checkpoint):
    def choose(name):
        page.click("#model input")
        page.get_by_role("option", name=name).click()

    said = page.get_by_text("its image verdicts are at chance")
    assert said.count() == 0
    choose("iclnet-mini")
    said.wait_for()
    choose(str(tiny_checkpoint))
    said.wait_for(state="detached")


def test_what_is_no_image_is_one_sentence(page, tmp_path):
    (tmp_path / "bad.png").write_text("<b>text</b>")
    drop(page, tmp_path / "bad.png")
    assert page.inner_text("#verdict").startswith("bad.png: not an image: the content is of no known format")
    page.click("#try-all")
    page.wait_for_selector("#trials .failed")
    assert page.inner_text("#trials") == "Choose a photograph first."


def test_only_uploaded_files_are_read(server, repository, tiny_checkpoint):
    """A request may not name a file of the server, as the page does not check what kind of file it is given."""
    address, _ = server
    config = json.load(urllib.request.urlopen(f"{address}config"))
    events = [one["id"] for one in config["dependencies"] if len(one["inputs"]) == 2]
    file = {"path": str(repository / "docs" / "images" / "overlay.jpg"), "meta": {"_type": "gradio.FileData"}}
    asked = {"data": [file, str(tiny_checkpoint)], "fn_index": events[0], "session_hash": "outsider"}
    request = urllib.request.Request(
        f"{address}gradio_api/queue/join", json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request).read()
    answer = urllib.request.urlopen(f"{address}gradio_api/queue/data?session_hash=outsider").read().decode()
    messages = [json.loads(line.removeprefix("data: ")) for line in answer.splitlines() if line.startswith("data: ")]
    completed = next(one for one in messages if one["msg"] == "process_completed")
    assert not completed["success"]
    assert "score" not in answer
