"""The text in which a question is put to a Vicuna language model, with or without the answer.

The wordings are facts that checkpoints were trained on: they must not be changed. Layout of one turn:

    SYSTEM USER: question ASSISTANT: answer</s>

FakeReasoning (arXiv 2503.21210) does not print its prompts; its published code trains with `vicuna_v1` and asks with
`llava_v1`. LEGION trains and asks with `llava_v1`.
"""

from dataclasses import dataclass

IMAGE_TOKEN = "<image>"


@dataclass(frozen=True)
class ConversationTemplate:
    """Words around the questions and answers.

    Args:
        system: what the conversation is, said once at its start.
        user: name before a question.
        assistant: name before an answer.
        separator: between the system text, the question and the answer.
        end: after an answer; the language model's end-of-sequence token.
    """

    system: str
    user: str = "USER"
    assistant: str = "ASSISTANT"
    separator: str = " "
    end: str = "</s>"


TEMPLATES = {
    "vicuna_v1": ConversationTemplate(
        "A chat between a curious user and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the user's questions."
    ),
    "llava_v1": ConversationTemplate(
        "A chat between a curious human and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the human's questions."
    ),
}

# messages of transformers' chat format: a content is a text, or a list of images (which come first) and texts
CHAT_TEMPLATE = """\
{%- if messages[0]['role'] == 'system' -%}
  {%- set system = messages[0]['content'] -%}
  {%- set turns = messages[1:] -%}
{%- else -%}
  {%- set system = 'SYSTEM' -%}
  {%- set turns = messages -%}
{%- endif -%}
{%- if system is not string -%}{%- set system = system[0]['text'] -%}{%- endif -%}
{{- system + 'SEPARATOR' -}}
{%- for message in turns -%}
  {{- ('ASSISTANT' if message['role'] == 'assistant' else 'USER') + ': ' -}}
  {%- if message['content'] is string -%}
    {{- message['content'] -}}
  {%- else -%}
    {%- for part in message['content'] if part['type'] == 'image' -%}{{- 'IMAGE\\n' -}}{%- endfor -%}
    {%- for part in message['content'] if part['type'] == 'text' -%}{{- part['text'] -}}{%- endfor -%}
  {%- endif -%}
  {{- 'END' if message['role'] == 'assistant' else 'SEPARATOR' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- 'ASSISTANT:' -}}{%- endif -%}
"""


def conversation_template(name: str) -> ConversationTemplate:
    """Template of a name.

    Raises:
        ValueError: a name that is none of `TEMPLATES`.
    """
    if name not in TEMPLATES:
        raise ValueError(f"unknown conversation template {name!r}: expected {' or '.join(TEMPLATES)}")
    return TEMPLATES[name]


def conversation(template: str, question: str, answer: str | None = None) -> str:
    """One question in a template, and its answer.

    Args:
        template: name of the template, `vicuna_v1` or `llava_v1`.
        question: with `<image>` where it asks about one, see `image_question`.
        answer: None ends the text where the answer begins.

    Returns:
        The text; it begins with the same characters with and without the answer.

    Raises:
        ValueError: unknown template.
    """
    words = conversation_template(template)
    question_turn = f"{words.user}: {question}"
    answer_turn = f"{words.assistant}:" if answer is None else f"{words.assistant}: {answer}{words.end}"
    return words.separator.join((words.system, question_turn, answer_turn))


def image_question(question: str) -> str:
    """A question about one image: `<image>` on a line of its own before it, wherever it stood."""
    return f"{IMAGE_TOKEN}\n{question.replace(IMAGE_TOKEN, '').strip()}"


def jinja_template(template: str, image: str = IMAGE_TOKEN) -> str:
    """Jinja text of a template for `apply_chat_template`; a conversation of one turn equals `conversation`.

    Args:
        template: name of the template, `vicuna_v1` or `llava_v1`.
        image: line that stands for an image, with `<image>` in it and no quotation marks.

    Raises:
        ValueError: unknown template.
    """
    words = conversation_template(template)
    values = {
        "SYSTEM": words.system.replace("'", "\\'"),
        "SEPARATOR": words.separator,
        "USER": words.user,
        "ASSISTANT": words.assistant,
        "IMAGE": image,
        "END": words.end,
    }
    text = CHAT_TEMPLATE
    for name, value in values.items():
        text = text.replace(f"'{name}", f"'{value}")
    return text


__all__ = [
    "IMAGE_TOKEN",
    "TEMPLATES",
    "ConversationTemplate",
    "conversation",
    "conversation_template",
    "image_question",
    "jinja_template",
]
