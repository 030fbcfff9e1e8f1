import string

import numpy as np
import pytest
from bright_regions import bright_regions, noisy_photo
from chat_server import ChatServer, Status
from PIL import Image

from forgescope.refine import generate_function, load_language_model
from forgescope.refinement.artifacts import Artifact
from forgescope.refinement.records import Step
from forgescope.refinement.regenerate import regenerate_steps
from forgescope.refinement.revisers import describe_image, language_model_reviser, revision_request
from forgescope.refinement.stopping import StopRule


@pytest.fixture(autouse=True)
def _online(monkeypatch):
    """The client refuses every server while HF_HUB_OFFLINE is set, as the tests set it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


def paint(prompt: str, seed: int) -> Image.Image:
    """A text-to-image function: each prompt and seed gives another picture."""
    return noisy_photo(48, 32, seed=sum(map(ord, prompt)) + seed)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


class TestLoop:
    def test_equation_five(self):
        """P_{t+1} = Revise(P_t, M_t), I_{t+1} = Regen(P_{t+1}), M_t with all that came before."""
        memories = []

        def revise(steps):
            memories.append([(step.number, step.prompt, len(step.artifacts)) for step in steps])
            return f"{steps[-1].prompt}!"

        photo = noisy_photo(30, 20)
        steps = list(regenerate_steps("a cat", bright_regions, paint, revise, image=photo, rule=StopRule(3)))
        assert [step.prompt for step in steps] == ["a cat", "a cat!", "a cat!!", "a cat!!!"]
        assert np.array_equal(pixels(steps[0].image), pixels(photo))
        for step in steps[1:]:
            assert np.array_equal(pixels(step.image), pixels(paint(step.prompt, 42)))
        found = [len(step.artifacts) for step in steps]
        everything = list(zip(range(4), [step.prompt for step in steps], found, strict=True))
        assert memories == [everything[:1], everything[:2], everything[:3]]

    def test_without_an_image_the_first_is_made_of_the_prompt(self):
        steps = list(regenerate_steps("a cat", bright_regions, paint, lambda steps: "a dog", seed=7))
        assert np.array_equal(pixels(steps[0].image), pixels(paint("a cat", 7)))
        assert [step.prompt for step in steps] == ["a cat", "a dog", "a dog"]

    def test_an_empty_list_stops_before_any_revision(self):
        steps = list(regenerate_steps("a cat", lambda image: [], paint, lambda steps: pytest.fail("asked")))
        assert len(steps) == 1

    def test_an_explanation_without_a_mask_still_counts(self):
        def explain(image):
            return [Artifact("hand", "six fingers", np.zeros((image.height, image.width), np.uint8))]

        assert len(list(regenerate_steps("a cat", explain, paint, lambda steps: "a dog"))) == 3

    @pytest.mark.parametrize(
        ("tools", "message"),
        [
            ({"prompt": " "}, "regeneration needs a prompt"),
            ({"seed": -1}, "seed must be at least 0"),
            ({"generate": lambda prompt, seed: None}, "text-to-image model must return a PIL image, got NoneType"),
            ({"revise": lambda steps: ""}, "the reviser must return a prompt, got ''"),
            ({"explain": lambda image: None}, "explain must return a list of Artifact, got NoneType"),
        ],
    )
    def test_bad_tools(self, tools, message):
        good = {"prompt": "a", "explain": bright_regions, "generate": paint, "revise": lambda steps: "b"}
        with pytest.raises(ValueError, match=message):
            list(regenerate_steps(**{**good, **tools}))


class TestReviser:
    def step(self, number, prompt, *flaws):
        artifacts = tuple(Artifact(phrase, text, np.zeros((4, 6), np.uint8)) for phrase, text in flaws)
        return Step(number, Image.new("RGB", (6, 4), (number, 0, 0)), prompt, artifacts)

    def test_the_request_holds_the_whole_memory_in_order(self):
        steps = [
            self.step(0, "a {man}", ("left hand", "six fingers"), ("left hand", "no nails")),
            self.step(1, "a man waving"),
        ]
        text = revision_request(steps)
        parts = ["Image 0\nPrompt: a {man}\nFlaws:\n- left hand: six fingers\n- left hand: no nails\n\n",
                 "Image 1\nPrompt: a man waving\nFlaws:\n- none named\n\n", "at most 50 words"]  # fmt: skip
        assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)

    def test_a_chat_server_is_sent_everything(self):
        prompts = iter(["a cat with five toes", "a cat on a red roof"])

        def answer(request):
            return f"I think <prompt>no</prompt>.\n<PROMPT> {next(prompts)}\n</PROMPT>"

        with ChatServer(answer) as server:
            revise = language_model_reviser(load_language_model("tiny", server.url), with_images=True)
            photo = noisy_photo(30, 20)
            steps = list(regenerate_steps("a cat", bright_regions, paint, revise, image=photo))
            asked = [body["messages"][0]["content"] for body in server.bodies]
        assert [step.prompt for step in steps] == ["a cat", "a cat with five toes", "a cat on a red roof"]
        texts = ["".join(part.get("text", "") for part in parts) for parts in asked]
        assert [len(parts) - 1 for parts in asked] == [1, 2]
        for step in steps[:2]:
            lines = [f"- {artifact.phrase}: {artifact.explanation}" for artifact in step.artifacts]
            assert f"Prompt: {step.prompt}\nFlaws:\n" + "\n".join(lines) in texts[1]
        assert "a cat with five toes" not in texts[0]

    def test_no_images_by_default(self):
        with ChatServer(lambda request: "<prompt>b</prompt>") as server:
            revise = language_model_reviser(load_language_model("tiny", server.url))
            assert revise([self.step(0, "a", ("hand", "six fingers"))]) == "b"
            (part,) = server.bodies[0]["messages"][0]["content"]
        assert part["type"] == "text"

    def test_a_reply_without_tags_is_asked_for_again(self):
        replies = iter(["a cat", "<prompt></prompt>", "<prompt>a cat</prompt>"])
        asked = []

        def ask(images, text):
            asked.append(text)
            return next(replies)

        assert language_model_reviser(ask)([self.step(0, "a")]) == "a cat"
        assert [text.endswith("Your last reply had no text between <prompt> and </prompt>.") for text in asked] == [
            False,
            True,
            True,
        ]
        with pytest.raises(ValueError, match=r"gave no <prompt>...</prompt> in 2 tries; its last reply: 'no idea'"):
            language_model_reviser(lambda images, text: "no\nidea", tries=2)([self.step(0, "a")])
        with pytest.raises(ValueError, match="tries must be at least 1, got 0"):
            language_model_reviser(ask, tries=0)

    def test_a_server_that_fails(self):
        with ChatServer(lambda request: Status(404)) as server:
            revise = language_model_reviser(load_language_model("tiny", server.url))
            steps = regenerate_steps("a", bright_regions, paint, revise, image=noisy_photo(30, 20))
            assert next(steps).number == 0
            with pytest.raises(OSError, match="answers 404 to model 'tiny'"):
                next(steps)

    def test_the_first_prompt_can_be_a_description(self):
        with ChatServer(lambda request: f"<prompt>{len(request.images)} image</prompt>") as server:
            assert describe_image(load_language_model("tiny", server.url), noisy_photo(8, 8)) == "1 image"

    def test_models_on_this_machine(self, tmp_path):
        """Random weights answer nonsense, the same each time, and no prompt."""
        from tiny_vision_language import tiny_llava

        model, processor = tiny_llava()
        folder = tmp_path / "llava"
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        ask = load_language_model(str(folder), device="cpu")
        ask.max_new_tokens = 4
        images = [noisy_photo(16, 16)]
        assert ask(images, "a") == ask(images, "a")
        with pytest.raises(ValueError, match="gave no <prompt>"):
            language_model_reviser(ask, with_images=True, tries=1)([self.step(0, "a")])

    def test_a_model_without_eyes(self, tmp_path):
        from tokenizers import Tokenizer, models, pre_tokenizers
        from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

        tokens = {token: number for number, token in enumerate(["<pad>", "</s>", "<unk>", *string.printable])}
        backend = Tokenizer(models.WordLevel(tokens, unk_token="<unk>"))
        backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="</s>")
        tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
        config = LlamaConfig(vocab_size=len(tokens), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                             num_attention_heads=2, pad_token_id=0, bos_token_id=None, eos_token_id=1)  # fmt: skip
        model = LlamaForCausalLM(config)
        model.generation_config.max_length = 4096
        model.save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        ask = load_language_model(str(tmp_path), device="cpu")
        assert isinstance(ask([], "a prompt"), str)
        with pytest.raises(ValueError, match="sees no images: give a vision-language model"):
            ask([noisy_photo(8, 8)], "a prompt")


class TestPipeline:
    def test_prompt_and_seed_decide(self, text_to_image_pipeline):
        generate = generate_function(text_to_image_pipeline, num_inference_steps=2)
        calls = [("a cat", 1), ("a cat", 1), ("two dogs", 1), ("a cat", 2)]
        one, again, other, seeded = (generate(*call) for call in calls)
        assert one.size == (64, 64)
        assert np.array_equal(pixels(one), pixels(again))
        assert not np.array_equal(pixels(one), pixels(other))
        assert not np.array_equal(pixels(one), pixels(seeded))

    def test_end_to_end(self, text_to_image_pipeline):
        generate = generate_function(text_to_image_pipeline, num_inference_steps=1)

        def revise(steps):
            return ", ".join([steps[0].prompt, *(artifact.explanation for artifact in steps[-1].artifacts)])

        runs = [list(regenerate_steps("a cat", bright_regions, generate, revise)) for _ in range(2)]
        assert [len(run) for run in runs] == [3, 3]
        assert all(np.array_equal(pixels(a.image), pixels(b.image)) for a, b in zip(*runs, strict=True))

    def test_a_pipeline_for_something_else(self, inpainting_pipeline, text_to_image_pipeline):
        with pytest.raises(ValueError, match="StableDiffusionInpaintPipeline makes no image of a text alone"):
            generate_function(inpainting_pipeline)
        with pytest.raises(ValueError, match="does not take strength: leave it out"):
            generate_function(text_to_image_pipeline, strength=0.5)

    def test_an_inpainting_checkpoint_in_a_text_to_image_pipeline(self, inpainting_pipeline, tmp_path):
        from diffusers import AutoPipelineForText2Image

        pipeline = AutoPipelineForText2Image.from_pipe(inpainting_pipeline)
        with pytest.raises(ValueError, match="the network takes 9 channels and latents have 4: this is a checkpoint"):
            generate_function(pipeline)
