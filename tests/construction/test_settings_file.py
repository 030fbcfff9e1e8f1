import dataclasses

import pytest

from forgescope.construction.settings_file import read_sections


@dataclasses.dataclass
class Tool:
    model: str
    threshold: float = 0.3
    sizes: tuple[int, ...] = ()

    def __post_init__(self):
        if self.threshold < 0:
            raise ValueError("threshold must be at least 0")


KINDS = {"tool": Tool, "others": Tool}


def read(tmp_path, text: str):
    file = tmp_path / "some.yaml"
    file.write_text(text)
    return read_sections(file, KINDS, lists=("others",))


def test_sections_and_lists(tmp_path):
    text = "tool: {model: a, threshold: 1e-4, sizes: [1, 2]}\nothers:\n  - model: b\n  - {model: c}\n"
    assert read(tmp_path, text) == {"tool": Tool("a", 1e-4, (1, 2)), "others": [Tool("b"), Tool("c")]}
    assert read(tmp_path, "") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tol: {model: a}", "unknown key tol; did you mean tool\\?"),
        ("xyz: {model: a}", "unknown key xyz; expected tool, others"),
        ("tool: {model: a, treshold: 1}", "unknown key tool.treshold; did you mean tool.threshold\\?"),
        ("others: [{model: a}, {modle: a}]", "unknown key others\\[1\\].modle; did you mean others\\[1\\].model\\?"),
        ("tool: {threshold: 1}", "section tool needs model"),
        ("tool: {model: a, threshold: -1}", "section tool: threshold must be at least 0"),
        ("tool: {model: a, threshold: high}", "section tool: '<' not supported"),
        ("tool: [1]", "section tool must hold `key: value` lines"),
        ("others: {model: a}", "section others must be a list"),
        ("- tool", "must hold sections: tool, others"),
        ("tool: {", "is no YAML file"),
    ],
)
def test_what_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_sections(tmp_path / "none.yaml", KINDS)
