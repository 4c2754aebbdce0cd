"""Keys and signatures by them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from bundles import make_key

from sansdata.errors import ConfigError, MissingLibraryError
from sansdata.signing import ED25519, ELLIPTIC, private_key, public_key, sign, verified


def test_a_signature_is_by_one_key_over_one_message(tmp_path: Path) -> None:
    private, public = make_key(tmp_path)
    other = make_key(tmp_path, "other")[1]
    signature = sign(private_key(private), b"text")
    assert verified(public_key(public), b"text", signature)
    assert not verified(public_key(public), b"text ", signature)
    assert not verified(public_key(public), b"text", signature[:-1] + bytes([signature[-1] ^ 1]))
    assert not verified(public_key(public), b"text", b"")
    assert not verified(public_key(other), b"text", signature)
    assert private_key(private).fingerprint == public_key(public).fingerprint != public_key(other).fingerprint


def test_openssl_makes_the_keys_that_we_read(tmp_path: Path) -> None:
    """As the docs say, and back: openssl accepts what we sign."""
    key, pub, message, signature = (tmp_path / name for name in ("k.key", "k.pub", "message", "signature"))
    for command in (f"genpkey -algorithm ed25519 -out {key}", f"pkey -in {key} -pubout -out {pub}"):
        subprocess.run(["openssl", *command.split()], check=True, capture_output=True)
    message.write_bytes(b"text")
    signature.write_bytes(sign(private_key(key), b"text"))
    check = f"pkeyutl -verify -pubin -inkey {pub} -rawin -in {message} -sigfile {signature}"
    assert subprocess.run(["openssl", *check.split()], check=False, capture_output=True).returncode == 0


def test_sorts(tmp_path: Path) -> None:
    assert private_key(make_key(tmp_path)[0]).sort == ED25519
    private, public = make_key(tmp_path, "e", "SECP384R1")
    assert public_key(public).sort == ELLIPTIC
    assert not verified(public_key(public), b"", b"")
    with pytest.raises(ConfigError, match="another sort"):
        sign(private_key(private), b"")
    with pytest.raises(ConfigError, match="a sort that is not used here"):
        public_key(make_key(tmp_path, "s", "SECP256K1")[1])


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read"), (b"", "holds no"), (b"text", "holds no"), (b"x" * 100_000, "larger than 65,536")],
)  # fmt: skip
def test_what_is_no_key_is_said(content: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    for read in (private_key, public_key):
        with pytest.raises(ConfigError, match=said):
            read(path)


def test_halves_are_not_mixed_up(tmp_path: Path) -> None:
    private, public = make_key(tmp_path)
    with pytest.raises(ConfigError, match="which stays with who signs"):
        public_key(private)
    with pytest.raises(ConfigError, match="no private key"):
        private_key(public)


def test_a_password_is_not_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "key"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:x", "-out", path],
        check=True, capture_output=True,
    )  # fmt: skip
    with pytest.raises(ConfigError, match="without a password"):
        private_key(path)


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private, _ = make_key(tmp_path)
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)
    with pytest.raises(MissingLibraryError, match="pip install cryptography"):
        private_key(private)
