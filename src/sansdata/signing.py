"""Signatures of files by keys that both sides hold: Ed25519 over a file's bytes, which needs no network and no clock.

A key is a PEM file. Who signs makes one and gives its public half away:

    openssl genpkey -algorithm ed25519 -out vendor.key
    openssl pkey -in vendor.key -pubout -out vendor.pub

What is signed can be checked without sansdata:
`openssl pkeyutl -verify -pubin -inkey vendor.pub -rawin -in FILE -sigfile SIGNATURE`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ConfigError, MissingLibraryError
from .files import read_regular, reason

MAX_KEY_BYTES = 65_536
ED25519, ELLIPTIC = "ed25519", "elliptic"
"""Sorts of keys: ours, and those that OpenSSF's model signing takes (NIST P-256, P-384 and P-521)."""
CURVES = ("secp256r1", "secp384r1", "secp521r1")


@dataclass(frozen=True)
class Key:
    """A key as its file holds it. sort: ED25519 or ELLIPTIC. fingerprint: SHA-256 of the public half, as hex."""

    file: Path
    sort: str
    fingerprint: str
    material: Any
    """The key object of `cryptography`, private or public."""


def private_key(path: str | Path) -> Key:
    """The private key in a PEM file without a password. Raises ConfigError for anything else, MissingLibraryError."""
    path, serialization = Path(path), _library()
    data = _read(path)
    try:
        material = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError) as fault:
        raise ConfigError(
            f"{path}: holds no private key in PEM without a password ({_first(fault)}). Make one: "
            "openssl genpkey -algorithm ed25519 -out my.key"
        ) from None
    return _key(path, material, material.public_key())


def public_key(path: str | Path) -> Key:
    """The public key in a PEM file; raises as `private_key`. A private key is refused: it does not belong here."""
    path, serialization = Path(path), _library()
    data = _read(path)
    if b"PRIVATE KEY" in data:
        raise ConfigError(f"{path}: is a private key, which stays with who signs. Give its public half: "
                          f"openssl pkey -in {path} -pubout")  # fmt: skip
    try:
        material = serialization.load_pem_public_key(data)
    except (ValueError, TypeError) as fault:
        raise ConfigError(f"{path}: holds no public key in PEM ({_first(fault)})") from None
    return _key(path, material, material)


def sign(key: Key, message: bytes) -> bytes:
    """The 64 bytes of an Ed25519 signature. Raises ConfigError for a key of another sort."""
    if key.sort != ED25519:
        raise ConfigError(f"{key.file}: this is signed by an Ed25519 key, and that is one of another sort")
    return key.material.sign(message)


def verified(key: Key, message: bytes, signature: bytes) -> bool:
    """Whether the private half of `key` has signed `message`."""
    from cryptography.exceptions import InvalidSignature

    if key.sort != ED25519:
        return False
    try:
        key.material.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _key(path: Path, material: Any, public: Any) -> Key:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    if isinstance(public, ed25519.Ed25519PublicKey):
        sort = ED25519
    elif isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name in CURVES:
        sort = ELLIPTIC
    else:
        raise ConfigError(f"{path}: a key of a sort that is not used here; take Ed25519, or NIST P-256 for OpenSSF")
    encoded = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Key(path, sort, hashlib.sha256(encoded).hexdigest(), material)


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, MAX_KEY_BYTES)
    except OSError as fault:
        raise ConfigError(f"{path}: the key cannot be read ({reason(fault)})") from None


def _library() -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError as fault:
        raise MissingLibraryError(
            f"signatures need cryptography ({fault}): pip install cryptography (the extra 'sign')"
        ) from None
    return serialization


def _first(fault: Exception) -> str:
    return " ".join(str(fault).split())[:120]
