"""A page in the browser: drop a photograph, see what a model marks in it, and how stable its verdict is."""

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

try:
    import gradio as gr
except ImportError as error:
    raise ImportError('the demo needs gradio: pip install "forgescope[demo]"') from error

from .demo_answers import AUTHENTIC_LINE, FORGED_LINE, Answers
from .demo_examine import CHANGES, Change, Examiner
from .demo_html import CSS, HEADER, MODEL_INFO, STABILITY, UNTRIED, WAITING

PICTURE_HEIGHT = 420
PLOT_HEIGHT = 200
# Per cent of the width that show the bare photograph.
SLIDER_AT = 40
LARGEST_FILE = "50mb"
# Uploads and pictures of the page are looked for every hour and deleted after a day, both in seconds.
DELETE_FILES = (3600, 86400)
LINE_COLORS = {"score": "#2f6fde", FORGED_LINE: "#d9453b", AUTHENTIC_LINE: "#2e9e5b"}
# Gradio's usual semibold file lacks letters, its bold one does not; nothing is loaded from elsewhere.
FONT = (gr.themes.utils.fonts.LocalFont("Source Sans Pro", weights=(400, 700)), "system-ui", "sans-serif")
# Gradio's are too light to read.
INFO_COLORS = {"block_info_text_color": "*neutral_600", "block_info_text_color_dark": "*neutral_300"}
# One examination at a time: the models use all cores, or the GPU, by themselves. Uploads are checked by
# `forgescope.reading` in place of Gradio, whose checks raise no sentence. The page is no API.
EVENT: dict[str, Any] = {
    "concurrency_id": "models",
    "concurrency_limit": 1,
    "preprocess": False,
    "api_visibility": "private",
}


def build_demo(
    models: Sequence[str | os.PathLike] = (), device: str | None = None, examples: Sequence[str | os.PathLike] = ()
) -> gr.Blocks:
    """Make the page.

    Args:
        models: folders and Hub ids, offered before the embedded checkpoints; the first is chosen.
        device: torch device; None: a GPU when there is one.
        examples: image files that the page offers.

    Returns:
        The page, for `launch_demo`.

    Raises:
        ValueError: there is no such checkpoint.
    """
    answers = Answers(Examiner(models, device))
    with gr.Blocks(title="forgescope", analytics_enabled=False, delete_cache=DELETE_FILES) as page:
        gr.HTML(HEADER, elem_classes="fs")
        with gr.Row():
            with gr.Column(scale=2):
                photo, model = _inputs(answers.examiner.names, examples)
            with gr.Column(scale=3):
                shown = _result()
        button, sliders, plots = _stability()
        trials = gr.State([])
        tried = [trials, *_trials(), *plots]

        sweep = button.click(answers.try_all, [photo, model, trials], tried, **EVENT)
        for change, slider in zip(CHANGES, sliders, strict=True):
            slider.release(partial(answers.try_one, change), [photo, model, slider, trials], tried, **EVENT)
        model.change(_with_info, model, model, queue=False, show_progress="hidden", api_visibility="private")
        for chosen in (photo, model):
            chosen.change(answers.examine, [photo, model], [*shown, *tried], cancels=[sweep], **EVENT)
    return page


def launch_demo(
    page: gr.Blocks, host: str | None = None, port: int | None = None, share: bool = False, **settings: Any
) -> tuple[str, str | None]:
    """Serve the page.

    Args:
        page: as `build_demo` made it.
        host: address to listen at; None: Gradio's, which is this computer alone.
        port: None: the first free one from Gradio's 7860 on.
        share: ask Gradio for a public address, through its own servers.
        **settings: further arguments of `gr.Blocks.launch`.

    Returns:
        The local address, and the public one where there is one.

    Raises:
        OSError: it cannot listen there.
    """
    try:
        _, local, public = page.queue().launch(
            server_name=host,
            server_port=port,
            share=share,
            max_file_size=LARGEST_FILE,
            theme=gr.themes.Default(font=FONT).set(**INFO_COLORS),
            css=CSS,
            footer_links=[],
            **settings,
        )
    except OSError as error:
        place = f"{host or 'this computer'}, port {port or 'any'}"
        raise OSError(f"cannot listen at {place}: the port is taken, or the address is not this computer's") from error
    return local, public


def _inputs(names: Sequence[str], examples: Sequence[str | os.PathLike]) -> tuple[gr.Image, gr.Dropdown]:
    photo = gr.Image(
        label="Photograph",
        type="filepath",
        image_mode=None,
        sources=["upload", "clipboard"],
        height=PICTURE_HEIGHT,
        elem_id="photo",
    )
    info = MODEL_INFO.get(names[0])
    model = gr.Dropdown(list(names), value=names[0], label="Model", info=info, elem_id="model")
    if examples:
        gr.Examples([os.fspath(one) for one in examples], photo, label="Examples", elem_id="examples")
    return photo, model


def _with_info(model: str) -> dict[str, Any]:
    """What is said of the chosen model; Gradio takes None for no change."""
    return gr.update(info=MODEL_INFO.get(model, ""))


def _result() -> list[gr.Component]:
    """Verdict, pictures and details, as `Answers.examine` fills them."""
    return [
        gr.HTML(WAITING, elem_id="verdict", elem_classes="fs"),
        _comparison("Photograph and what the model marks", "pictures"),
        gr.HTML(elem_id="details", elem_classes="fs"),
    ]


def _stability() -> tuple[gr.Button, list[gr.Slider], list[gr.LinePlot]]:
    sliders, plots = [], []
    with gr.Row(elem_classes="fs-middle"):
        with gr.Column(scale=4):
            gr.HTML(STABILITY, elem_classes="fs")
        with gr.Column(scale=1, min_width=200):
            button = gr.Button("Try all strengths", elem_id="try-all", variant="primary")
    with gr.Row():
        for change in CHANGES:
            with gr.Column():
                sliders.append(_slider(change))
                plots.append(_plot(change))
    return button, sliders, plots


def _slider(change: Change) -> gr.Slider:
    return gr.Slider(
        change.lowest,
        change.highest,
        value=change.neutral,
        step=change.step,
        label=change.title,
        info=f"{change.neutral}: unchanged",
        elem_id=change.kind,
    )


def _plot(change: Change) -> gr.LinePlot:
    return gr.LinePlot(
        x="strength",
        y="score",
        color="line",
        color_map=LINE_COLORS,
        x_title=change.unit,
        color_title=" ",
        x_lim=[change.lowest, change.highest],
        y_lim=[0, 1],
        height=PLOT_HEIGHT,
        elem_id=f"{change.kind}-plot",
    )


def _trials() -> tuple[gr.HTML, gr.ImageSlider]:
    """Table and pictures of the changed photographs."""
    with gr.Row():
        with gr.Column(scale=3):
            table = gr.HTML(UNTRIED, elem_id="trials", elem_classes="fs")
        with gr.Column(scale=2):
            pictures = _comparison("The last change and what the model marks", "changed")
    return table, pictures


def _comparison(label: str, name: str) -> gr.ImageSlider:
    return gr.ImageSlider(
        label=label,
        format="png",
        interactive=False,
        max_height=PICTURE_HEIGHT,
        elem_id=name,
        slider_position=SLIDER_AT,
    )
