"""Every protocol of the papers by name."""

from difflib import get_close_matches

from . import protocols_diffseg, protocols_fakereasoning, protocols_gamma, protocols_iclnet, protocols_legion
from .protocol import Protocol

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        *protocols_iclnet.PROTOCOLS,
        *protocols_diffseg.PROTOCOLS,
        *protocols_legion.PROTOCOLS,
        *protocols_fakereasoning.PROTOCOLS,
        *protocols_gamma.PROTOCOLS,
    )
}


def find_protocol(name: str) -> Protocol:
    """Look a protocol up.

    Raises:
        ValueError: no protocol has this name.
    """
    if name not in PROTOCOLS:
        close = get_close_matches(name, PROTOCOLS, n=1)
        meant = f"did you mean {close[0]}? " if close else ""
        raise ValueError(f"unknown protocol {name!r}: {meant}`forgescope protocols` lists all {len(PROTOCOLS)}")
    return PROTOCOLS[name]
