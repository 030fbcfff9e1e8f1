"""Options that had another name once: commands that were written down go on working."""

from typing import Any

from typer.core import TyperCommand

# Old name -> what it is called now, as everywhere else.
RENAMED = {"--output": "--out", "--config": "--settings"}


class RenamedOptions(TyperCommand):
    """A verb that knows its old option names too; its help does not show them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read old names as new ones."""
        known = {name for option in self.params for name in option.opts}
        end = args.index("--") if "--" in args else len(args)
        return super().parse_args(ctx, [*(_renamed(word, known) for word in args[:end]), *args[end:]])


def _renamed(word: str, known: set[str]) -> str:
    name, equals, value = word.partition("=")
    new = RENAMED.get(name)
    return word if new is None or name in known or new not in known else f"{new}{equals}{value}"
