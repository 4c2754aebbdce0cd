"""A bundle to be tampered with, and keys."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SUMS, SIGNATURE = "SHA256SUMS", "model.sig"


def make_key(folder: Path, name: str = "vendor", curve: str = "") -> tuple[Path, Path]:
    """(the file of a private key, that of its public half): Ed25519, or of an elliptic curve."""
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    key: Any = ec.generate_private_key(getattr(ec, curve)()) if curve else ed25519.Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )  # fmt: skip
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )  # fmt: skip
    return private, public


def summed_again(folder: Path) -> None:
    """As somebody does who changes a bundle and hides it: SHA256SUMS fits what lies there now."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in (SUMS, SIGNATURE))
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in files]
    (folder / SUMS).write_text("".join(lines))


def changed_json(folder: Path, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes a description and hides it."""
    path = folder / name
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))
    summed_again(folder)


def zipped(folder: Path, archive: Path, around: str = "") -> Path:
    """The files of a folder as a plain archive."""
    with zipfile.ZipFile(archive, "w") as contents:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                contents.write(path, f"{around}{path.relative_to(folder)}")
    return archive
