"""`forgescope env`: versions and hardware, to be pasted into a report of a fault."""

from typing import Any

import typer

from .output import Json, json_output


def env(as_json: Json = False) -> None:
    """Print versions, processors, optional packages and folders, for reports of faults.

    Nothing secret is printed: no key, and no name of a user.

    Example: forgescope env
    """
    from forgescope.environment import describe_environment

    with json_output(as_json) as answer:
        answer.update(describe_environment())
        if not as_json:
            for line in _lines(answer):
                typer.echo(line)


def _lines(found: dict[str, Any]) -> list[str]:
    """Lay out what was found, one fact a line."""
    hardware = dict(found["hardware"])
    gpus = hardware.pop("gpus", [])
    facts = {**found["system"], **found["packages"], **hardware}
    facts["gpu"] = "; ".join(gpus) or None
    facts |= {f"hub {name}": value for name, value in found["hub"].items()}
    facts |= found["variables"]
    for name, extra in found["extras"].items():
        lacking = f"no ({', '.join(extra['missing'])}): {extra['install']}"
        facts[f"extra {name}"] = "yes" if extra["installed"] else lacking
    width = max(map(len, facts))
    return [f"{name.replace('_', ' '):<{width}}  {_said(value)}" for name, value in facts.items()]


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
