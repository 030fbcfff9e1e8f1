"""Explanations in Python: batches, streaming, sampling, bad images, and answers that are not as they should be."""

import json
import math
from collections import Counter

import pytest
import torch
from answering_fakereasoning import ANSWERS, OTHER_ANSWER, OTHER_QUESTION, plain_photo
from transformers import AutoModelForImageTextToText, AutoProcessor, TextStreamer, pipeline

from forgescope.answer_stream import AnswerStream
from forgescope.examination import Failure
from forgescope.explain import Explainer
from forgescope.explanation import Explanation
from forgescope.processing.chain_of_thought import QUESTION
from forgescope.reading import ImageReadError
from forgescope.token_choice import SeededSampling, seed_of_image
from forgescope.trainers.adapters_fakereasoning import TuningConfig, add_adapters

COLORS = list(ANSWERS)


@pytest.fixture(scope="module")
def explainer(answering_checkpoint):
    return Explainer(answering_checkpoint, device="cpu", batch_size=3)


@pytest.fixture(scope="module")
def explained(explainer):
    return dict(zip(COLORS, explainer.explain_many(map(plain_photo, COLORS)), strict=True))


def test_an_answer_in_the_form_of_the_paper(explained, answering_checkpoint):
    red = explained["red"]
    assert (red.verdict, red.text, red.problems) == ("fake", ANSWERS["red"], [])
    assert red.fake_probability == pytest.approx(torch.sigmoid(torch.tensor(4.0)).item(), abs=1e-4)
    assert red.stages == {
        "summary": "I look.",
        "caption": "A red wall.",
        "reasoning": "No grain.",
        "conclusion": "This image is fake.",
    }
    assert red.describe().splitlines()[1] == "Caption: A red wall."
    assert (explained["green"].verdict, explained["green"].problems) == ("real", [])
    assert explained["green"].fake_probability == pytest.approx(1 - red.fake_probability, abs=1e-4)
    assert json.loads(json.dumps(red.to_dict())) == {
        "verdict": "fake",
        "fake_probability": red.fake_probability,
        "text": ANSWERS["red"],
        **red.stages,
        "problems": [],
        "model": str(answering_checkpoint),
        "path": None,
    }


def test_an_answer_without_stages_is_reported(explained):
    blue = explained["blue"]
    assert (blue.verdict, blue.fake_probability, blue.text) == (None, None, "I cannot say.")
    assert blue.problems == [f"{stage} is missing" for stage in ("SUMMARY", "CAPTION", "REASONING", "CONCLUSION")]
    assert (blue.stages, blue.describe()) == ({}, "I cannot say.")


def test_words_that_contradict_the_probability_are_reported(explained):
    black = explained["black"]
    assert (black.verdict, black.conclusion) == ("fake", "This image is not real.")
    assert black.fake_probability == pytest.approx(torch.sigmoid(torch.tensor(-2.0)).item(), abs=1e-4)
    assert black.contradictory
    assert black.problems == ["the conclusion says fake, but the probability to be fake is 0.119"]
    assert not any(one.contradictory for color, one in explained.items() if color != "black")
    assert not Explanation("fake", 0.5, "").contradictory


def test_a_conclusion_in_other_words_has_no_probability(explained):
    white = explained["white"]
    assert (white.verdict, white.fake_probability) == ("fake", None)
    assert white.problems[-1] == "the conclusion is in words that have no probability"


def test_batches_equal_single_images(explainer, explained):
    for color in ("green", "blue", "white"):
        batched = explained[color]
        alone = explainer.explain(plain_photo(color))
        assert alone.fake_probability == pytest.approx(batched.fake_probability, abs=1e-5)
        assert alone.to_dict() | {"fake_probability": None} == batched.to_dict() | {"fake_probability": None}
    assert explainer.answers([plain_photo("blue"), plain_photo("white")]) == [ANSWERS["blue"], ANSWERS["white"]]
    assert explainer.answers([]) == []


@pytest.mark.parametrize("color", ["red", "blue"])
def test_a_streamed_answer_is_the_answer(explainer, explained, color):
    pieces: list[str] = []
    stream = AnswerStream(explainer.processor.tokenizer, pieces.append)
    for _ in range(2):
        assert explainer.explain(plain_photo(color), stream).text == explained[color].text
    assert "".join(pieces) == 2 * ANSWERS[color]
    assert len(pieces) >= 2 * len(ANSWERS[color].split())


def test_the_streamer_of_transformers_can_be_used(explainer, capsys):
    streamer = TextStreamer(explainer.processor.tokenizer, skip_prompt=True, skip_special_tokens=True)
    list(explainer.explain_many([plain_photo("white"), plain_photo("blue")], streamer))
    assert capsys.readouterr().out == f"{ANSWERS['white']}\n{ANSWERS['blue']}\n"


def test_a_stream_keeps_blanks_that_begin_a_line(explainer):
    tokenizer = explainer.processor.tokenizer
    text = "One\n two  three\n\n four "
    pieces: list[str] = []
    stream = AnswerStream(tokenizer, pieces.append)
    stream.put(torch.tensor([[1, 2, 3]]))
    for number in tokenizer(text, add_special_tokens=False)["input_ids"]:
        stream.put(torch.tensor([number]))
    assert "".join(pieces) == "One\n two  three"
    stream.end()
    assert "".join(pieces) == text.rstrip()


def test_another_question_gives_another_answer(answering_checkpoint):
    model, processor = (
        AutoModelForImageTextToText.from_pretrained(answering_checkpoint),
        AutoProcessor.from_pretrained(answering_checkpoint),
    )
    other = Explainer(model, processor, question=OTHER_QUESTION)
    assert (other.question, Explainer(model, processor).question) == (OTHER_QUESTION, QUESTION)
    assert other.explain(plain_photo("red")).text == OTHER_ANSWER
    assert other.name == str(answering_checkpoint)


def test_an_answer_that_is_cut_off_is_reported(answering_checkpoint):
    short = Explainer(answering_checkpoint, max_new_tokens=20).explain(plain_photo("red"))
    assert short.verdict is None
    assert ANSWERS["red"].startswith(short.text)
    assert "the answer was cut off after 20 tokens" in short.problems
    assert "CONCLUSION is missing" in short.problems


def test_bad_images_are_reported_and_the_rest_go_on(explainer, tmp_path):
    (tmp_path / "empty.png").touch()
    plain_photo("red").save(tmp_path / "red.png")
    images = [
        tmp_path / "red.png",
        tmp_path / "empty.png",
        plain_photo("green").convert("RGBA"),
        tmp_path / "none.png",
    ]
    red, empty, green, none = explainer.results(images)
    assert (red.verdict, red.path) == ("fake", str(tmp_path / "red.png"))
    assert empty == Failure(str(tmp_path / "empty.png"), f"{tmp_path}/empty.png: the file is empty (0 bytes)")
    assert (green.verdict, green.text, green.path) == ("real", ANSWERS["green"], None)
    assert none.error == f"{tmp_path}/none.png: no such file"
    with pytest.raises(ImageReadError, match="the file is empty"):
        list(explainer.explain_many(images))
    with pytest.raises(ImageReadError, match="no such file"):
        explainer.explain(tmp_path / "none.png")


def test_images_of_any_mode_are_answered(answering_checkpoint):
    short = Explainer(answering_checkpoint, max_new_tokens=2)
    modes = ("L", "LA", "P", "CMYK", "I;16", "1")
    photos = [
        plain_photo("black").convert("I").convert(mode) if mode == "I;16" else plain_photo("black").convert(mode)
        for mode in modes
    ]
    assert [one.problems[-1] for one in short.explain_many(photos)] == 6 * ["the answer was cut off after 2 tokens"]


def test_values_that_are_no_numbers_are_a_failure(answering_checkpoint):
    broken = Explainer(answering_checkpoint)
    with torch.no_grad():
        broken.model.lm_head.weight.fill_(float("nan"))
    (failure,) = broken.results([plain_photo("red")])
    assert "48 x 40 pixels (the model returned values that are not numbers" in failure.error


def test_sampling_does_not_depend_on_the_batch(answering_checkpoint):
    short = Explainer(answering_checkpoint, max_new_tokens=6, batch_size=3)
    photos = [plain_photo(color) for color in COLORS]
    sampled = short.answers(photos, temperature=6.0, seed=1)
    assert short.answers(photos[::-1], temperature=6.0, seed=1) == sampled[::-1]
    assert short.answers(photos[1:2], temperature=6.0, seed=1) == sampled[1:2]
    assert short.answers(photos, temperature=6.0, seed=2) != sampled
    likeliest = short.answers(photos)
    assert likeliest != sampled
    assert short.answers(photos, temperature=0.2, seed=1) == likeliest
    hot = Explainer(short.model, short.processor, max_new_tokens=6, temperature=6.0, seed=1)
    assert [one.text for one in hot.explain_many(photos)] == sampled


def test_samples_have_the_probabilities_of_the_softmax():
    scores = torch.tensor([[1.0, 0.0, -1.0, 0.5]])
    expected = (scores / 0.7).softmax(dim=-1)[0]
    choose = SeededSampling(0.7, range(4000))
    counts = Counter(choose(None, scores.expand(4000, 4)).argmax(dim=-1).tolist())
    for token, probability in enumerate(expected.tolist()):
        assert counts[token] / 4000 == pytest.approx(probability, abs=0.025)


def test_every_image_has_a_seed_of_its_own():
    seeds = {seed_of_image(seed, plain_photo(color)) for seed in (0, 1) for color in COLORS}
    assert len(seeds) == 2 * len(COLORS)
    assert seed_of_image(0, plain_photo("red")) == seed_of_image(0, plain_photo("red"))
    assert seed_of_image(0, plain_photo("red", (10, 20))) != seed_of_image(0, plain_photo("red", (20, 10)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1.0}, "expected a temperature of 0 or more, got -1"),
        ({"temperature": float("nan")}, "expected a temperature of 0 or more, got nan"),
        ({"batch_size": 0}, "expected batch_size of at least 1, got 0"),
        ({"max_new_tokens": 0}, "expected max_new_tokens of at least 1, got 0"),
        ({"dtype": "int8"}, "expected dtype auto, float32, bfloat16, got 'int8'"),
        ({"device": "nowhere"}, "device 'nowhere' cannot be used"),
    ],
)
def test_wrong_settings_are_refused(answering_checkpoint, settings, message):
    with pytest.raises(ValueError, match=message):
        Explainer(answering_checkpoint, **settings)


def test_unsuitable_models_are_refused(explainer):
    with pytest.raises(ValueError, match="model type 'iclnet', which cannot be used here; expected fakereasoning"):
        Explainer("iclnet-mini")
    with pytest.raises(ValueError, match="expected a processor with a loaded model"):
        Explainer(explainer.model)
    with pytest.raises(ValueError, match="expected a temperature above 0, got 0"):
        SeededSampling(0, [1])


def test_adapters_are_merged_into_their_checkpoint(answering_checkpoint, tmp_path):
    model, processor = (
        one.from_pretrained(answering_checkpoint) for one in (AutoModelForImageTextToText, AutoProcessor)
    )
    adapted = add_adapters(model, TuningConfig(lora_rank=2))
    with torch.no_grad():
        adapted.base_model.model.probability_mapper.modules_to_save["default"].log_temperature.add_(1)
    adapted.save_pretrained(tmp_path)
    for part in (model.config, processor):
        part.save_pretrained(tmp_path)
    explained = Explainer(tmp_path).explain(plain_photo("red"))
    assert explained.text == ANSWERS["red"]
    assert explained.fake_probability == pytest.approx(torch.sigmoid(torch.tensor(4.0 / math.e)).item(), abs=1e-4)


def test_ids_that_do_not_fit_the_tokenizer_are_refused(answering_checkpoint):
    model, processor = (
        AutoModelForImageTextToText.from_pretrained(answering_checkpoint),
        AutoProcessor.from_pretrained(answering_checkpoint),
    )
    model.config.fake_token_id = 7
    with pytest.raises(ValueError, match="fake_token_id 7"):
        Explainer(model, processor)


def test_the_stock_pipeline_gives_the_same_answer(answering_checkpoint):
    ask = pipeline("image-text-to-text", model=str(answering_checkpoint), device="cpu")
    text = ask.processor.prompts([plain_photo("red")])[0]
    (answer,) = ask(images=plain_photo("red"), text=text, max_new_tokens=100, return_full_text=False)
    assert answer["generated_text"].strip() == ANSWERS["red"]
    chat = [{"role": "user", "content": [{"type": "image", "image": plain_photo("green")}]}]
    chat[0]["content"].append({"type": "text", "text": QUESTION})
    (answer,) = ask(text=chat, max_new_tokens=100, return_full_text=False)
    assert answer["generated_text"].strip() == ANSWERS["green"]
