"""Flower's own processes: its simulation gives the weights of a run in process, a deployment outlives a client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tiny import differing

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "federated"


def loopback(out: Path, *words: str) -> list[dict]:
    """Runs the example's script; gives the lines of its rounds."""
    done = subprocess.run(
        [sys.executable, EXAMPLE / "loopback.py", out, *words], capture_output=True, text=True, timeout=1500,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return [json.loads(text) for text in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_simulation_gives_the_weights_of_a_run_in_process(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Flower's simulation was not tested: pip install .[flower-sim]")
    from safetensors.torch import load_file

    from sansdata.api.federate import run
    from sansdata.federated.settings import FederateSettings

    loopback(tmp_path / "flower", "--simulation", "--clients", "3", "--rounds", "2")
    config = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
    settings = FederateSettings(
        data=config["data"], network=config["network"], method=config["method"], clients=3, active=3, rounds=2,
        partition={"alpha": config["alpha"]}, seed=config["seed"], threads=1,  # pyright: ignore[reportArgumentType]
    )  # fmt: skip
    run(settings, tmp_path / "process")
    both = [load_file(tmp_path / name / "student.safetensors") for name in ("flower", "process")]
    assert not differing(*both)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_deployment_goes_on_without_a_client_that_is_killed(tmp_path: Path) -> None:
    pytest.importorskip("flwr", reason="Flower's deployment was not tested: pip install .[flower]")
    rounds = loopback(tmp_path / "run", "--clients", "3", "--rounds", "4")
    assert [line["round"] for line in rounds] == [0, 1, 2, 3]
    assert rounds[0]["taken"] == 3
    assert rounds[-1]["taken"] == 2
    assert [one["client"] for one in rounds[-1]["lost"]] == [2]
