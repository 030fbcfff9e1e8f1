"""Every protocol of the papers by name. ICL-Net's numbers go with the preset `iclnet` (`protocols_iclnet`)."""

from . import protocols_diffseg, protocols_fakereasoning, protocols_gamma, protocols_legion
from .protocol import Protocol

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        *protocols_gamma.PROTOCOLS,
        *protocols_diffseg.PROTOCOLS,
        *protocols_fakereasoning.PROTOCOLS,
        *protocols_legion.PROTOCOLS,
    )
}


def find_protocol(name: str) -> Protocol:
    """Look a protocol up.

    Raises:
        ValueError: no protocol has this name.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"unknown protocol {name!r}: expected one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
