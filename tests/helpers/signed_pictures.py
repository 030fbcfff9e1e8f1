"""Pictures with content credentials, signed by a chain of certificates that is made here."""

import io
from datetime import datetime, timedelta, timezone
from functools import lru_cache

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
CREATED = {
    "action": "c2pa.created",
    "softwareAgent": {"name": "Model X", "version": "3"},
    "digitalSourceType": SOURCE_TYPES + "trainedAlgorithmicMedia",
}
OPENED = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["parent"]}}
EDITED = {"action": "c2pa.edited", "digitalSourceType": SOURCE_TYPES + "compositeWithTrainedAlgorithmicMedia"}


def _certificate(organization, name, key, issuer=None, issuer_key=None) -> x509.Certificate:
    """One for signing claims; without an issuer one that signs certificates, and itself."""
    root = issuer is None
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )
    issuer_key = issuer_key or key
    now = datetime.now(timezone.utc)
    others = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
    )
    usage = x509.KeyUsage(digital_signature=not root, key_cert_sign=root, crl_sign=root, decipher_only=False, **others)
    builder = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=subject if root else issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=root, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not root:
        purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purposes, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


@lru_cache(maxsize=1)
def _chain_and_key() -> tuple[bytes, bytes]:
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _certificate("Test Root", "Test Root CA", root_key)
    leaf = _certificate("Test Studio", "Test Signer", key, root.subject, root_key)
    chain = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (leaf, root))
    plain = serialization.NoEncryption()
    return chain, key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def signed(
    picture: Image.Image,
    kind: str = "jpeg",
    actions=(CREATED,),
    parent: bytes | None = None,
    remote: str | None = None,
) -> bytes:
    """A file with content credentials.

    Args:
        picture: its pixels.
        kind: `jpeg`, `png` or `webp`.
        actions: of the claim.
        parent: a JPEG file that it was made from; the first action must be `OPENED` then.
        remote: address where the credentials are said to be, in place of credentials in the file.

    Returns:
        The file.
    """
    chain, key = _chain_and_key()
    info = c2pa.C2paSignerInfo("es256", chain, key, b"")
    info.ta_url = None  # no time stamp; c2pa 0.32 does not take None above
    signer = c2pa.Signer.from_info(info)
    manifest = {
        "claim_generator_info": [{"name": "test_generator", "version": "1.0"}],
        "assertions": [{"label": "c2pa.actions", "data": {"actions": list(actions)}}],
    }
    source, target = io.BytesIO(), io.BytesIO()
    picture.save(source, kind.upper())
    source.seek(0)
    with c2pa.Builder(manifest) as builder:
        if parent is not None:
            builder.add_ingredient({"relationship": "parentOf", "label": "parent"}, "image/jpeg", io.BytesIO(parent))
        if remote is not None:
            builder.set_no_embed()
            builder.set_remote_url(remote)
        builder.sign(signer, f"image/{kind}", source, target)
    return target.getvalue()
