"""Content credentials (C2PA) of a file: what its signed claims say, and whether the signatures hold."""

import json
import os
from dataclasses import dataclass
from typing import Any

from .image_metadata import INSTALL, find_values

# Formats that can carry credentials, as Pillow names them.
MIME_TYPES = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
}
# Nothing is fetched: a picture must not make its reader's computer call addresses. Signers are not compared with a
# list of trusted ones, for none is at hand.
SETTINGS = {
    "verify": {"verify_trust": False, "remote_manifest_fetch": False, "ocsp_fetch": False},
    "core": {"allowed_network_hosts": []},
}
UNTRUSTED = "signingCredential.untrusted"
NOT_LOOKED_FOR = f"Content credentials were not looked for: {INSTALL}"
NOT_TRUSTED = "No list of trusted signers was consulted: anybody can sign under any name."
MOST_CLAIMS = 20
MOST_ACTIONS = 50
MOST_PROBLEMS = 20
LONGEST_VALUE = 200


@dataclass(frozen=True)
class Action:
    """One thing that a claim says was done.

    Args:
        action: such as `c2pa.created` or `c2pa.edited`.
        software: what did it, None where it is not said.
        source_type: IPTC digital source type, such as `trainedAlgorithmicMedia`; None where it is not said.
    """

    action: str
    software: str | None = None
    source_type: str | None = None


@dataclass(frozen=True)
class ContentCredential:
    """One signed claim, as it is written; nothing of it is proved but what `validation_state` says.

    Args:
        issuer: organization that the signing certificate names.
        signer: common name of the certificate.
        signed_at: time of signing, where a time stamp tells.
        generator: software that made the claim, with its version.
        source_types: IPTC digital source types anywhere in the claim.
        actions: what it says was done.
        validation_state: of the newest claim, as the library says: `Valid`: signature and file belong together;
            `Invalid`: they do not, or one was altered. None for earlier claims, which came in with ingredients.
        problems: what does not hold, the C2PA status code first; of earlier claims, when they were taken in.
    """

    issuer: str | None
    signer: str | None
    signed_at: str | None
    generator: str | None
    source_types: tuple[str, ...]
    actions: tuple[Action, ...]
    validation_state: str | None
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Credentials:
    """All content credentials of a file.

    Args:
        claims: the newest first; None: not looked for, `note` says why.
        error: why credentials that the file may hold cannot be read.
        note: what the reader should know.
    """

    claims: list[ContentCredential] | None
    error: str | None = None
    note: str | None = None


def read_content_credentials(path: str | os.PathLike, image_format: str | None) -> Credentials:
    """Read and check the content credentials of a file, offline.

    Args:
        path: image file.
        image_format: as Pillow names it, such as `JPEG`.

    Returns:
        The credentials; damaged ones give an error in it, none raises.

    Raises:
        OSError: the file cannot be opened.
    """
    try:
        import c2pa
    except (ImportError, OSError, RuntimeError):  # the last two where its native library cannot be loaded
        return Credentials(None, note=NOT_LOOKED_FOR)
    if image_format not in MIME_TYPES:
        return Credentials([])
    with open(path, "rb") as file:
        try:
            with c2pa.Context.from_dict(SETTINGS) as context:
                reader = c2pa.Reader.try_create(MIME_TYPES[image_format], file, context=context)
                if reader is None:
                    return Credentials([])
                with reader:
                    claims = _claims(json.loads(reader.json()))
        except Exception as error:  # of the library, or from a store of unexpected form: the examination must go on
            return Credentials([], error=_reason(error))
    left_out = (
        f" {len(claims)} claims, of which the first {MOST_CLAIMS} are kept." if len(claims) > MOST_CLAIMS else ""
    )
    return Credentials(claims[:MOST_CLAIMS], note=NOT_TRUSTED + left_out)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if text.startswith("Remote:"):  # the library then names the address
        text = f"they are kept elsewhere, and nothing is fetched: {text.rpartition(' ')[2]}"
    return _short(text) or type(error).__name__


def _claims(store: dict[str, Any]) -> list[ContentCredential]:
    """Every claim of the store, the active one, which the file belongs to, first."""
    manifests, active = store["manifests"], store["active_manifest"]
    problems = _problems(store, active)
    labels = [active, *(label for label in manifests if label != active)]
    states = {active: store.get("validation_state")}
    return [_claim(manifests[label], states.get(label), problems.get(label, [])) for label in labels]


def _claim(manifest: dict[str, Any], state: str | None, problems: list[str]) -> ContentCredential:
    signature = manifest.get("signature_info") or {}
    assertions = manifest.get("assertions") or []
    types = [*find_values(assertions, "digitalSourceType"), *find_values(assertions, "DigitalSourceType")]
    return ContentCredential(
        issuer=_short(signature.get("issuer")),
        signer=_short(signature.get("common_name")),
        signed_at=_short(signature.get("time")),
        generator=_generator(manifest),
        source_types=tuple(dict.fromkeys(name for one in types if (name := _source_type(one)))),
        actions=_actions(assertions),
        validation_state=state,
        problems=tuple(problems[:MOST_PROBLEMS]),
    )


def _generator(manifest: dict[str, Any]) -> str | None:
    """Name and version; claims of version 1 have one string instead."""
    names = [_software(info) for info in manifest.get("claim_generator_info") or ()]
    return _short(", ".join(name for name in names if name) or manifest.get("claim_generator"))


def _software(value: Any) -> str | None:
    if isinstance(value, dict):
        value = " ".join(str(value[key]) for key in ("name", "version") if value.get(key))
    return _short(value)


def _actions(assertions: list[dict[str, Any]]) -> tuple[Action, ...]:
    """What stands in the assertions `c2pa.actions` and `c2pa.actions.v2`."""
    said = [
        action
        for assertion in assertions
        if str(assertion.get("label")).startswith("c2pa.actions")
        for action in assertion["data"]["actions"]
    ]
    return tuple(
        Action(
            _short(action.get("action")) or "unnamed",
            _software(action.get("softwareAgent")),
            _source_type(action.get("digitalSourceType")),
        )
        for action in said[:MOST_ACTIONS]
    )


def _source_type(value: Any) -> str | None:
    """Last part of the address that names a digital source type."""
    return _short(str(value).rstrip("/").rpartition("/")[2]) if value else None


def _problems(store: dict[str, Any], active: str) -> dict[str, list[str]]:
    """Failed checks by label of the claim that they are about."""
    problems: dict[str, list[str]] = {}
    for failures in find_values(store, "failure"):
        for failure in failures:
            if failure["code"] == UNTRUSTED:
                continue
            label = next((label for label in store["manifests"] if label in str(failure.get("url"))), active)
            text = _short(f"{failure['code']}: {failure.get('explanation')}")
            if text and text not in problems.setdefault(label, []):
                problems[label].append(text)
    return problems


def _short(value: Any) -> str | None:
    return str(value)[:LONGEST_VALUE] if value else None
