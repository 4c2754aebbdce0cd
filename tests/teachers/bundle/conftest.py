"""One bundle for all tests, and a copy of it for each that changes something."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from bundles import make_key
from tiny import Tiny, make_tiny

from sansdata.api.bundle import create_bundle


@dataclass(frozen=True)
class Made:
    """folder: the bundle, signed by `private`; nobody changes it."""

    folder: Path
    private: Path
    public: Path
    tiny: Tiny


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    home = tmp_path_factory.mktemp("vendor")
    tiny = make_tiny(home)
    private, public = make_key(home)
    create_bundle(tiny.teacher, home / "chest", tiny.task, {"version": "1.2.0", "privacy": "no epsilon"}, private)
    return Made(home / "chest", private, public, tiny)


@pytest.fixture
def bundle(made: Made, tmp_path: Path) -> Path:
    """A copy to be changed."""
    return Path(shutil.copytree(made.folder, tmp_path / "chest"))
