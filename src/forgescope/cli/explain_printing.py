"""How `forgescope explain` prints: answers while they come and whole, in colours on a terminal."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

VERDICT_STYLES = {"fake": "bold red", "real": "bold green", None: "bold yellow"}
STAGE_STYLE = "bold cyan"
NOTHING_NAMED = "No artifact is named."
# Before these no blank is left where a tag stood.
PUNCTUATION = ".,:;!?)"


def stage_printer(console: "Console") -> Callable[[str], None]:
    """Make a function that prints pieces of an answer, tags of stages coloured."""
    from rich.text import Text

    from forgescope.processing.chain_of_thought import TAG

    def show(piece: str) -> None:
        text = Text(piece)
        text.highlight_regex(TAG, STAGE_STYLE)
        _print_on(console, text)

    return show


class PhrasePrinter:
    """Print pieces of LEGION's answer: phrases numbered and in their colours, without tags.

    Args:
        console: where to.
    """

    def __init__(self, console: "Console"):
        self.console = console
        self.number = 0
        # within a phrase; a phrase has come and its [SEG] has not
        self.is_open, self.is_waiting = False, False
        # blanks that wait for the next word, and whether a tag came with them
        self.blanks, self.after_tag = "", False

    def __call__(self, piece: str) -> None:
        """Print a piece, which ends with a whole word or tag."""
        from rich.text import Text

        from forgescope.processing.grounded_text import PHRASE_START, SEG_TOKEN, TAG

        shown = Text()
        for part in TAG.split(piece):
            if not TAG.fullmatch(part):
                self._add(shown, part, _phrase_style(self.number) if self.is_open else None)
                continue
            self.after_tag, self.is_open = True, part == PHRASE_START
            if part == PHRASE_START or (part == SEG_TOKEN and not self.is_waiting):
                self.number += 1
                self._add(shown, f"({self.number})", _phrase_style(self.number))
            self.is_waiting = self.is_open or (self.is_waiting and part != SEG_TOKEN)
        _print_on(self.console, shown)

    def _add(self, shown: "Text", part: str, style: str | None) -> None:
        word = part.strip()
        self.blanks = self.blanks or part[: len(part) - len(part.lstrip())]
        if word:
            joined = self.after_tag and word[0] in PUNCTUATION
            shown.append("" if joined else self.blanks).append(word, style)
            self.blanks, self.after_tag = part[len(part.rstrip()) :], False


def print_row(console: "Console", row: dict[str, Any], streamed: bool, with_path: bool) -> None:
    """Print path, verdict, probability, answer and problems; the answer not where it was streamed."""
    from rich.text import Text

    if streamed:
        console.print("\n")
    if with_path:
        console.print(Text(row["path"], "bold"))
    console.print(Text(verdict_text(row), VERDICT_STYLES[row["verdict"]]))
    if not streamed:
        for line in _artifact_lines(row) if "phrases" in row else _stage_lines(row):
            console.print(line)
    for problem in row["problems"]:
        console.print(Text(f"problem: {problem}", "yellow"))
    if with_path:
        console.print()


def verdict_text(row: dict[str, Any]) -> str:
    """Verdict and probability of a row."""
    probability = row["fake_probability"]
    said = row["verdict"] or "no verdict"
    return said if probability is None else f"{said}, probability to be fake {probability:.3f}"


def _stage_lines(row: dict[str, Any]) -> "list[Text]":
    from rich.text import Text

    from forgescope.processing.chain_of_thought import STAGES

    stages = {stage.capitalize(): row[stage.lower()] for stage in STAGES if row[stage.lower()] is not None}
    named = stages or {"Answer": row["text"]}
    return [Text.assemble((f"{name}: ", STAGE_STYLE), stage) for name, stage in named.items()]


def _artifact_lines(row: dict[str, Any]) -> "list[Text]":
    """The overview, and a line an artifact: number, phrase, explanation and share of the pixels."""
    from rich.text import Text

    if not row["phrases"]:
        return [Text(row["text"]), Text(NOTHING_NAMED)]
    lines = [Text(row["overview"])] if row["overview"] else []
    for number, one in enumerate(row["phrases"], start=1):
        style = _phrase_style(number)
        explanation = f": {one['explanation']}" if one["explanation"] else ""
        share = (f"  {one['area_fraction']:.2%} of the pixels", "dim")
        lines.append(Text.assemble((f"({number}) {one['phrase']}", style), explanation, share))
    return lines


def _phrase_style(number: int) -> str:
    from forgescope.phrase_overlay import phrase_color

    return "bold rgb({},{},{})".format(*phrase_color(number))


def _print_on(console: "Console", text: "Text") -> None:
    console.print(text, end="")
    console.file.flush()
