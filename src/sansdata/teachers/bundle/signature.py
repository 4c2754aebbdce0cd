"""Who made a bundle: model.sig, checked by a public key that the reader has from the maker by another way.

The sort of the key decides how. Ed25519 signs the bytes of SHA256SUMS: that is the default. An elliptic-curve key
signs as OpenSSF's model signing does (a Sigstore bundle over the hash of every file), for who has its tools.
The first is the default because a hospital needs one common library for it, or openssl alone, because what is signed is
the very list that was just checked, and because its signature has no fields that could be read in two ways; model
signing brings sixteen packages, most of them for a network that the hospital has not, and does not import without a
seventeenth that it does not name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...errors import BundleError, MissingLibraryError
from ...files import read_regular, reason, temporary_name, write_atomic
from ...signing import ED25519, Key, sign, verified
from . import layout


def write_signature(folder: Path, key: Key, sums: bytes) -> None:
    """Writes model.sig by a private key. sums: the bytes of SHA256SUMS. Raises OSError, MissingLibraryError."""
    if key.sort == ED25519:
        write_atomic(folder / layout.SIGNATURE, sign(key, sums))
        return
    draft = temporary_name(folder.parent / layout.SIGNATURE)
    config = _openssf("signing").Config().set_hashing_config(_hashing())
    config.use_elliptic_key_signer(private_key=key.file).sign(folder, draft)
    draft.replace(folder / layout.SIGNATURE)


def require_signed(folder: Path, key: Key, sums: bytes) -> None:
    """Raises BundleError where model.sig is missing, or was not made by the private half of `key` over what is there;
    MissingLibraryError."""
    path = folder / layout.SIGNATURE
    try:
        signature = read_regular(path, layout.MOST[layout.SIGNATURE])
    except FileNotFoundError:
        raise BundleError(f"{folder}: is not signed (no {layout.SIGNATURE}), and a key was given", "unsigned") from None
    except OSError as fault:
        raise BundleError(f"{path}: cannot be read ({reason(fault)})", "unsigned") from None
    good = verified(key, sums, signature) if key.sort == ED25519 else _verified_by_openssf(folder, key)
    if not good:
        raise BundleError(
            f"{folder}: the signature is not by the key {key.file} (SHA-256 of it begins with {key.fingerprint[:12]}), "
            "or not of these files. Ask the maker for the key by another way than that of the bundle", "signature",
        )  # fmt: skip


def _verified_by_openssf(folder: Path, key: Key) -> bool:
    config = _openssf("verifying").Config().set_hashing_config(_hashing())
    try:
        config.use_elliptic_key_verifier(public_key=key.file).verify(folder, folder / layout.SIGNATURE)
    except MissingLibraryError:
        raise
    except Exception:  # whatever its readers of JSON, of protocol buffers and of keys make of anybody's bytes
        return False
    return True


def _hashing() -> Any:
    return _openssf("hashing").Config().set_ignored_paths(
        paths=[layout.SIGNATURE], ignore_git_paths=False
    )  # fmt: skip


def _openssf(module: str) -> Any:
    try:
        from importlib import import_module

        return import_module(f"model_signing.{module}")
    except ImportError as fault:
        raise MissingLibraryError(
            f"a signature by an elliptic-curve key needs model-signing ({fault}): pip install model-signing pyopenssl "
            "(the extra 'openssf'); an Ed25519 key needs only cryptography"
        ) from None
