import inspect

import diffusers
import numpy as np
import pytest
from PIL import Image

from forgescope.construction.diffseg.editor_table import EDITORS, FIGURE_6_EDITORS
from forgescope.construction.diffseg.editors import Editor, EditorSettings, load_editor
from forgescope.datasets_scripts import diffseg30k
from forgescope.modeling import configuration_diffseg

SIZE = 64


def picture(seed: int = 0, size: int = SIZE) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8))


def middle(size: int = SIZE) -> np.ndarray:
    mask = np.zeros((size, size), dtype=bool)
    mask[size // 4 : -size // 4, size // 4 : -size // 4] = True
    return mask


def fill_red(image, mask, prompt, seed):
    """Importable, for the settings."""
    return Image.composite(Image.new("RGB", image.size, (255, 0, 0)), image, mask)


def test_the_order_of_the_table_is_that_of_reader_and_model():
    assert FIGURE_6_EDITORS == diffseg30k.FIGURE_6_EDITORS == configuration_diffseg.FIGURE_6_EDITORS


@pytest.mark.parametrize("editor", EDITORS, ids=lambda editor: editor.name)
def test_what_diffusers_has(editor):
    if editor.pipeline is not None:
        accepted = set(inspect.signature(getattr(diffusers, editor.pipeline).__call__).parameters)
        assert {"prompt", "image", "mask_image", "generator"} <= accepted
        assert editor.model.count("/") == 1
        return
    family = {"kolors": "Kolors", "glide": "Glide", "hunyuandit": "HunyuanDiT"}[editor.name]
    assert [name for name in dir(diffusers) if name.startswith(family) and "Inpaint" in name] == []
    with pytest.raises(ValueError, match=f"diffusers has no inpainting pipeline for {editor.title}: "):
        load_editor(EditorSettings(editor.name))


def test_a_pipeline(tiny_pipeline):
    editor = Editor(tiny_pipeline, num_inference_steps=1)
    first = editor(picture(), middle(), "a wall", 3)
    assert (first.mode, first.size) == ("RGB", (SIZE, SIZE))
    assert np.array_equal(np.asarray(first), np.asarray(editor(picture(), middle(), "a wall", 3)))
    for prompt, seed in (("a cat", 3), ("a wall", 4)):
        assert not np.array_equal(np.asarray(first), np.asarray(editor(picture(), middle(), prompt, seed)))
    assert editor.calls == 4


def test_a_function_sees_everything():
    seen = []

    def edit(image, mask, prompt, seed):
        seen.append((image.size, mask.mode, np.asarray(mask), prompt, seed))
        return np.zeros((SIZE, SIZE, 3), dtype=np.uint8)

    assert np.asarray(Editor(edit)(picture(), middle(), "a wall", 3)).max() == 0
    size, mode, mask, prompt, seed = seen[0]
    assert (size, mode, prompt, seed) == ((SIZE, SIZE), "L", "a wall", 3)
    assert np.array_equal(mask, middle() * 255)


def test_small_editors_get_small_images_and_every_touched_pixel():
    seen = []

    def edit(image, mask, prompt, seed):
        seen.append((image.size, np.asarray(mask) > 0))
        return fill_red(image, mask, prompt, seed)

    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[5, 9:12] = True
    edited = Editor(edit, 16)(picture(), mask, "x", 0)
    assert edited.size == (SIZE, SIZE)
    size, touched = seen[0]
    assert size == (16, 16)
    assert np.array_equal(touched, mask.reshape(16, 4, 16, 4).any(axis=(1, 3)))
    assert (np.asarray(edited)[5, 10] // 100).tolist() == [2, 0, 0]
    Editor(edit, SIZE)(picture(), mask, "x", 0)
    assert seen[1][0] == (SIZE, SIZE)


def test_wrong_use(tiny_pipeline):
    with pytest.raises(ValueError, match="does not take num_steps"):
        Editor(tiny_pipeline, num_steps=1)
    with pytest.raises(ValueError, match="a function takes no strength"):
        Editor(fill_red, strength=1)
    with pytest.raises(ValueError, match="takes no prompt"):
        Editor(lambda image, mask_image: image)


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "sd2"},
        {"name": "mine"},
        {"name": "mine", "pipeline": "StableDiffusionInpaintPipeline"},
        {"name": "mine", "pipeline": "diffusers:StableDiffusionInpaintPipeline"},
        {"name": "kolors", "pipeline": "StableDiffusionInpaintPipeline", "size": 32},
        {"name": "glide"},
    ],
)
def test_loading_from_a_folder(settings, tiny_pipeline, tiny_pipeline_folder):
    given = EditorSettings(
        model=str(tiny_pipeline_folder), arguments={"num_inference_steps": 1}, device="cpu", **settings
    )
    editor = load_editor(given)
    assert editor.size == {"kolors": 32, "glide": 256}.get(given.name)
    if editor.size is None:
        expected = Editor(tiny_pipeline, num_inference_steps=1)(picture(), middle(), "a wall", 3)
        assert np.array_equal(np.asarray(editor(picture(), middle(), "a wall", 3)), np.asarray(expected))


def test_loading_a_function():
    editor = load_editor(EditorSettings("glide", function="PIL.ImageChops:overlay", size=8))
    assert editor.size == 8
    assert load_editor(EditorSettings("mine", function="PIL.ImageChops:overlay")).size is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "mine"}, "editor mine needs a model, or a function"),
        ({"name": "sd2", "model": "x", "pipeline": "NoSuchPipeline"}, "editor sd2: diffusers .* no class NoSuch"),
        ({"name": "sd2", "model": "x", "dtype": "float8"}, "editor sd2: unknown dtype 'float8'"),
        ({"name": "a", "function": "no.such.module:f"}, "cannot import 'no.such.module:f': expected package"),
        ({"name": "a", "function": "json:nothing"}, "cannot import 'json:nothing'"),
        ({"name": "a", "function": "json"}, "cannot import 'json'"),
        ({"name": "a", "model": "x", "pipeline": "no.such:Class"}, "editor a: cannot import"),
        ({"name": "a", "function": "json:load", "model": "x"}, "a function takes no model, pipeline or arguments"),
        ({"name": "a", "pipeline": "X", "custom_pipeline": "y"}, "give pipeline or custom_pipeline, not both"),
        ({"name": "a", "size": 0}, "size must be at least 1, got 0"),
        ({"name": "a", "arguments": [1]}, "arguments must hold `key: value` lines"),
    ],
)
def test_what_cannot_be_loaded(settings, message):
    with pytest.raises(ValueError, match=message):
        load_editor(EditorSettings(**settings))


def test_a_model_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="editor sd2: .*none"):
        load_editor(EditorSettings("sd2", model=str(tmp_path / "none")))
