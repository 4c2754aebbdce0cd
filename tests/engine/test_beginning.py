"""What a run refuses before its first move, `--dry-run` refuses too, and writes nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny import Tiny
from typer.testing import CliRunner

from sansdata.api.distill import distill_settings, plan_only
from sansdata.cli.main import app
from sansdata.errors import ConfigError, MissingLibraryError, RunDirectoryError, UserError
from sansdata.settings import RunSettings

FM = {"latent": 8, "width": 8, "batch": 8, "k": 2, "warmup_rounds": 2, "steps_per_round": 2, "pool": 64,
      "transfer": {"batch": 8}}  # fmt: skip

Refused = tuple[dict[str, Any], str | None, type[UserError], str]

REFUSED: dict[str, Refused] = {
    "a key and no seal": ({}, "no.pem", ConfigError, "add --sealed"),
    "no such key": ({"sealed": True}, "no.pem", ConfigError, r"no\.pem"),
    "a service in a sealed run": (
        {"sealed": True, "teacher": "openai:model@http://127.0.0.1:9"}, None, ConfigError, "asks nobody"
    ),
    "no such earlier run": (
        {"method": "fm", "options": FM, "images_of": "nowhere"}, None, RunDirectoryError, "nowhere"
    ),
    "a library": ({"engine": {"tensorboard": True}}, None, MissingLibraryError, "tensorboard"),
}  # fmt: skip


@pytest.mark.parametrize("act", [plan_only, lambda settings, sign: distill_settings(settings, "run", sign=sign)],
                         ids=["dry", "run"])  # fmt: skip
@pytest.mark.parametrize(("fields", "sign", "error", "reason"), REFUSED.values(), ids=REFUSED)
def test_both_refuse_the_same(
    act: Callable[[RunSettings, str | None], Any],
    fields: dict[str, Any],
    sign: str | None,
    error: type[UserError],
    reason: str,
    tiny: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # as if it were not installed
    settings = tiny.settings("noise", {"transfer": {"batch": 8}}, budget="2steps", strict=False)
    with pytest.raises(error, match=reason):
        act(RunSettings.model_validate(settings.model_dump() | fields), sign)
    assert list(tmp_path.iterdir()) == []


def test_the_command_gives_a_dry_run_its_key(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny.config(tiny.settings("noise", budget="2steps"), folder=tmp_path)
    ended = CliRunner().invoke(app, ["distill", "--config", str(config), "--dry-run", "--sign", "no.pem"])
    assert isinstance(ended.exception, ConfigError), ended.output
    assert "add --sealed" in str(ended.exception)


def test_a_dry_run_finds_that_its_place_is_taken(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny.config(tiny.settings("noise", budget="2steps"), folder=tmp_path)
    ended = CliRunner().invoke(app, ["distill", "--config", str(config), "--dry-run", "--out", str(tmp_path)])
    assert isinstance(ended.exception, RunDirectoryError), ended.output
    assert "already exists" in str(ended.exception)
