"""Back to the last bundle whose signature holds, at once or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from bundles import make_key
from typer.testing import CliRunner

from sansdata.api.bundle import create_bundle, rollback_bundle
from sansdata.cli.main import app
from sansdata.errors import ConfigError


@pytest.fixture(scope="module")
def versions(made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("store")
    for version in ("1.2.0", "1.9.0", "1.10.0", "2.0"):
        suffix = ".zip" if version == "1.9.0" else ""
        create_bundle(
            made.tiny.teacher, store / f"m-{version}{suffix}", made.tiny.task, {"version": version}, made.private
        )
    return store


@pytest.fixture
def store(versions: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(versions, tmp_path / "store"))


def current(store: Path) -> str:
    return (store / "CURRENT").read_text().strip()


def test_it_goes_back_by_number_one_at_a_time(store: Path, made) -> None:
    """1.10 comes after 1.9: versions are numbers, not texts."""
    names = []
    for _ in range(3):
        done = rollback_bundle(store, made.public)
        assert done.now == current(store)
        names.append(done.now)
    assert names == ["m-1.10.0", "m-1.9.0.zip", "m-1.2.0"]
    with pytest.raises(ConfigError, match=r"no bundle to go back to from m-1\.2\.0"):
        rollback_bundle(store, made.public)
    assert current(store) == "m-1.2.0"


def test_what_does_not_hold_is_passed_over(store: Path, made) -> None:
    (store / "m-1.10.0" / "docs/README.md").write_text("changed")
    (store / "m-1.9.0.zip").write_bytes(b"")
    done = rollback_bundle(store, made.public)
    assert done.now == "m-1.2.0"
    assert done.passed_over == ("m-1.10.0: changed", "m-1.9.0.zip: archive")


def test_a_current_one_that_is_broken_can_be_left(store: Path, made) -> None:
    (store / "CURRENT").write_text("m-2.0\n")
    (store / "m-2.0" / "docs/README.md").write_text("changed")
    assert rollback_bundle(store, made.public).now == "m-1.10.0"


def test_nothing_is_signed_by_another_key(store: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no bundle in it passes"):
        rollback_bundle(store, make_key(tmp_path, "other")[1])
    assert not (store / "CURRENT").exists()


@pytest.mark.parametrize("name", ["../elsewhere", "none", "", "a\0b", "x" * 2000])
def test_a_current_that_names_no_bundle_is_said(name: str, store: Path, made) -> None:
    (store / "CURRENT").write_text(name)
    with pytest.raises(ConfigError, match="CURRENT"):
        rollback_bundle(store, made.public)
    assert (store / "CURRENT").read_text() == name


def test_a_folder_without_bundles_is_said(tmp_path: Path, made) -> None:
    with pytest.raises(ConfigError, match="holds no bundle"):
        rollback_bundle(tmp_path, made.public)
    with pytest.raises(ConfigError, match="expected a folder of bundles"):
        rollback_bundle(tmp_path / "none", made.public)


def test_the_command(store: Path, made) -> None:
    ended = CliRunner().invoke(app, ["bundle", "rollback", str(store), "--key", str(made.public)])
    assert ended.exit_code == 0, ended.output
    assert "now       m-1.10.0  (version 1.10.0)" in ended.output
