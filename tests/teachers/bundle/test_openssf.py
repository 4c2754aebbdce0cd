"""Signatures as OpenSSF's model signing makes them, by an elliptic-curve key."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bundles import make_key, summed_again, zipped

from sansdata.api.bundle import create_bundle, verify_bundle
from sansdata.errors import BundleError

pytest.importorskip("model_signing")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_key(tmp_path_factory.mktemp("keys"), "vendor", "SECP256R1")


@pytest.fixture
def signed(made, keys: tuple[Path, Path], tmp_path: Path) -> Path:
    create_bundle(made.tiny.teacher, tmp_path / "chest", made.tiny.task, sign=keys[0])
    return tmp_path / "chest"


def test_it_is_signed_and_its_own_tool_agrees(signed: Path, keys: tuple[Path, Path]) -> None:
    assert verify_bundle(signed, keys[1]).signer is not None
    assert json.loads((signed / "model.sig").read_text())["mediaType"].startswith("application/vnd.dev.sigstore")
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(signed), "--signature",
               str(signed / "model.sig"), "--public_key", str(keys[1])]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_an_archive_of_it_is_too(signed: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    """A folder of another name, which the statement names otherwise."""
    assert verify_bundle(zipped(signed, tmp_path / "other.zip"), keys[1]).signer is not None


def test_what_was_changed_is_refused(signed: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    (signed / "docs/README.md").write_text("another card")
    summed_again(signed)
    with pytest.raises(BundleError, match="not by the key") as fault:
        verify_bundle(signed, keys[1])
    assert fault.value.reason == "signature"


@pytest.mark.parametrize("content", [b"", b"{}", b"\0" * 64, b"[" * 100_000], ids=["none", "empty", "ours", "deep"])
def test_what_is_no_signature_is_refused(content: bytes, signed: Path, keys: tuple[Path, Path]) -> None:
    (signed / "model.sig").write_bytes(content)
    with pytest.raises(BundleError, match="not by the key"):
        verify_bundle(signed, keys[1])


def test_a_key_of_another_sort_is_refused(signed: Path, keys: tuple[Path, Path], tmp_path: Path, made) -> None:
    for key in (make_key(tmp_path, "other", "SECP256R1")[1], make_key(tmp_path, "own")[1]):
        with pytest.raises(BundleError, match="not by the key"):
            verify_bundle(signed, key)
    with pytest.raises(BundleError, match="not by the key"):
        verify_bundle(made.folder, keys[1])
