"""`sansdata.attack_success` and `sansdata evaluate --attack`, on the tiny world."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import Tiny, make_module, make_task
from typer.testing import CliRunner

import sansdata
from sansdata.cli.main import app
from sansdata.engine.run import run


def test_the_command_and_the_function_say_the_same_and_keep_it(tiny: Tiny, tmp_path: Path) -> None:
    run(tiny.settings("noise", {"transfer": {"batch": 8}}, budget="2steps"), tmp_path / "run")
    file = tmp_path / "figures.json"
    words = ["evaluate", str(tmp_path / "run"), "--data", str(tiny.data), "--attack", "blend", "--target", "1"]
    done = CliRunner().invoke(app, [*words, "--attack", "badnets-square", "--json", str(file)])
    assert done.exit_code == 0, done.output
    assert "blend" in done.output
    assert "badnets-square" in done.output
    found = json.loads(file.read_text())["attacks"]
    one = sansdata.attack_success(str(tmp_path / "run"), tiny.data, "blend", 1)
    assert found["blend"] == json.loads(json.dumps(one.to_dict()))
    kept = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    by_name = {f"{name} to class 1 on {tiny.data}": value for name, value in found.items()}
    assert kept["attacks"] == by_name
    assert 0 <= kept["accuracy"] <= 1
    sansdata.evaluate(str(tmp_path / "run"), tiny.data)
    assert json.loads((tmp_path / "run" / "evaluation.json").read_text())["attacks"] == by_name


def test_a_module_is_measured_without_a_run(tiny: Tiny) -> None:
    module = make_module().train()
    found = sansdata.attack_success(module, tiny.data, "trojan-patch", 2, task=make_task())
    assert found.count > 0
    assert module.training


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--attack", "blend"], "--data"),
        (["--attack", "blnd", "--data", "DATA"], "blend"),
        (["--attack", "blend", "--target", "9", "--data", "DATA"], "0 to 3"),
    ],
)
def test_wrong_input_is_exit_code_2(words: list[str], said: str, tiny: Tiny) -> None:
    words = [str(tiny.data) if word == "DATA" else word for word in words]
    done = CliRunner().invoke(app, ["evaluate", tiny.teacher, "--task", tiny.task, *words])
    assert done.exit_code != 0
    assert said in f"{done.output}{done.exception}"
