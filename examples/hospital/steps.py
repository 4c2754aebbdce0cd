"""A command as somebody would type it: shown, run in a process of its own, and held to its exit code."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path


def say(text: str) -> None:
    print(f"\n== {text}", flush=True)


def sansdata(*words: object, expected: int = 0) -> str:
    """`sansdata WORDS`; gives what it printed. Raises SystemExit where it ends otherwise than expected."""
    argv = [str(word) for word in words]
    print("$ sansdata " + " ".join(argv), flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "sansdata", *argv], capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    print(done.stdout + done.stderr, flush=True)
    if done.returncode != expected:
        raise SystemExit(f"'sansdata {argv[0]}' ended with {done.returncode}, expected {expected}")
    return done.stdout + done.stderr


def key_pair(private: Path, public: Path) -> None:
    """An Ed25519 key, as `openssl genpkey -algorithm ed25519` makes it."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private.write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ))  # fmt: skip
    private.chmod(0o600)
    public.write_bytes(key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ))  # fmt: skip


def arguments(what: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("folder", type=Path, help="where all four houses stand")
    parser.add_argument("--data", default="digits", choices=["digits", "pneumoniamnist"])
    parser.add_argument("--quick", action="store_true", help="a poorer teacher and student, for trying the scripts")
    return parser.parse_args()
