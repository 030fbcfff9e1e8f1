import pytest

from forgescope.construction.json_replies import UnusableReply, ask_json, parse_json, text_of


@pytest.mark.parametrize(
    "reply",
    [
        '{"a": 1}',
        ' \n{"a": 1}\n',
        '```json\n{"a": 1}\n```',
        '```\n{"a": 1}```',
        'Here it is:\n```JSON\n{"a": 1}\n```\nOk?',
    ],
)
def test_an_object_alone_or_fenced(reply):
    assert parse_json(reply) == {"a": 1}


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ("", "it is not JSON, it begins ''"),
        ("Sure! {'a': 1}", "it is not JSON, it begins \"Sure! {'a': 1}\""),
        ('{"a": 1} and more', "it is not JSON"),
        ('{"a": __import__("os")}', "it is not JSON"),
        ("[1, 2]", "it is not a JSON object"),
        ('{"a": NaN}', "it holds NaN"),
        ('```json\n{"a": 1}\n```\n```json\n{"a": 2}\n```', "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("x" * 500, "x{80}\\.\\.\\.'$"),
    ],
)
def test_anything_else_is_refused(reply, message):
    with pytest.raises(ValueError, match=message):
        parse_json(reply)


def numbered(*replies):
    asked = []

    def model(images, prompt):
        asked.append(prompt)
        return replies[len(asked) - 1]

    return model, asked


def check(reply):
    if "a" not in reply:
        raise ValueError('"a" is missing')
    return reply["a"]


def test_an_unusable_reply_is_asked_for_again_with_the_reason():
    model, asked = numbered("no", '{"b": 2}', '{"a": 3}')
    assert ask_json(model, [], "Say a.", check) == 3
    assert asked[0] == "Say a."
    assert "it is not JSON, it begins 'no'" in asked[1]
    assert '"a" is missing' in asked[2]
    assert asked[2].startswith("Say a.\n\n")
    assert "not JSON" not in asked[2]


def test_no_more_tries_than_stated():
    model, asked = numbered("no", "no", '{"a": 3}')
    with pytest.raises(UnusableReply, match="no usable reply in 2 tries; the last: it is not JSON"):
        ask_json(model, [], "Say a.", check, tries=2)
    assert len(asked) == 2
    with pytest.raises(ValueError, match="tries must be at least 1, got 0"):
        ask_json(model, [], "Say a.", check, tries=0)


def test_errors_of_the_model_are_no_replies():
    def broken(images, prompt):
        raise ValueError("refused")

    with pytest.raises(ValueError, match="^refused$"):
        ask_json(broken, [], "x", check)


@pytest.mark.parametrize("value", [None, 3, "", "  ", "x" * 11])
def test_texts_are_checked(value):
    assert text_of({"name": " a\n b "}, "name", 10) == "a b"
    with pytest.raises(ValueError, match='"name" must be a text of 1 to 10 characters, got'):
        text_of({"name": value}, "name", 10)
