"""Fair4Free: what a student may learn from, and that it draws sets and not rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import sansdata
from sansdata.engine.session import Session
from sansdata.errors import MethodError
from sansdata.figures import values
from sansdata.methods.fair4free import Fair4Free, Fair4FreeConfig
from sansdata.methods.index import method_config
from sansdata.runtime import Runtime
from sansdata.teachers.autoencoder import save_autoencoder, task_of, teacher_of
from sansdata.teachers.autoencoder.base import AutoEncoder, Bank
from sansdata.testing.worlds import LATENT, WORLDS, make_autoencoder


def model_with(*parts: str) -> AutoEncoder:
    model = make_autoencoder()
    if "moments" not in parts:
        model.moments = None
    if "bank" in parts:
        draw = torch.Generator().manual_seed(0)
        model.bank = Bank(3 + torch.randn(40, LATENT, generator=draw), torch.tensor([0, 1] * 20))
    return model


def session(model: AutoEncoder, steps: int = 150, **options: Any) -> Session:
    config = method_config("fair4free", "default", options)
    return Session(
        Fair4Free, config, teacher_of(model, task_of(model)), WORLDS["latents"].student(), task_of(model), Runtime(), 0,
        steps,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("parts", "handover", "mode"),
    [
        (("moments",), "auto", "moments"), ((), "auto", "cycle"), ((), "prior", "prior"),
        (("moments", "bank"), "auto", "moments"), (("bank",), "auto", "cycle"),
    ],
)  # fmt: skip
def test_targets_come_from_where_no_row_is_needed(parts: tuple[str, ...], handover: str, mode: str) -> None:
    """Latents of real rows are never taken unasked, though they lie in the file."""
    method = session(model_with(*parts), handover=handover).method
    assert isinstance(method, Fair4Free)
    assert method.mode == mode
    assert method.warnings() == []


@pytest.mark.parametrize(
    ("parts", "options", "words"),
    [
        ((), {"handover": "moments"}, "prior, cycle"),
        (("moments",), {"handover": "latent-bank", "personal_data": True}, "prior, moments, cycle"),
        (("bank",), {"handover": "latent-bank"}, "not data-free.*personal_data=true"),
    ],
)
def test_a_handover_that_is_not_there_or_is_data_is_refused(
    parts: tuple[str, ...], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(MethodError, match=words):
        session(model_with(*parts), **options)


def test_a_run_on_latents_of_real_rows_says_so_in_ledger_summary_and_report(tmp_path: Path) -> None:
    model, teacher = model_with("bank"), tmp_path / "teacher.safetensors"
    save_autoencoder(teacher, model)
    result = sansdata.distill(
        str(teacher), "latent-mlp-small", "fair4free", "12steps", tmp_path / "run", task=task_of(model), strict=True,
        options={"handover": "latent-bank", "personal_data": True, "transfer": {"batch": 16}},
        settings={"threads": 1, "engine": {"snapshots": 1}},
    )  # fmt: skip
    ledger = json.loads((result.run_dir / "ledger.json").read_text())
    assert any("40 real rows: personal data" in entry["role"] for entry in ledger["files"])
    assert [one["name"] for one in result.summary["warnings"]] == ["not data-free"]
    page = (result.run_dir / "report.html").read_text()
    assert "personal data" in page
    assert "not data-free" in page.lower()


@pytest.mark.parametrize("loss", ["mmd", "energy", "sliced-w2", "mse"])
def test_a_loss_row_by_row_collapses_and_one_between_sets_does_not(loss: str) -> None:
    """Targets far from the origin, so that the way there is the same for all."""
    learnt = session(
        model_with("bank"), handover="latent-bank", personal_data=True, loss=loss,
        transfer={"batch": 64, "lr": 0.03},
    )  # fmt: skip
    learnt.advance(150)
    figures = values(learnt.method.findings())
    assert (figures["latent_spread_ratio"] < 0.35) == (loss == "mse"), figures
    assert figures["latent_energy_distance"] < (2.0 if loss == "mse" else 0.5)


def test_the_papers_preset_takes_the_bank_and_the_default_does_not() -> None:
    assert method_config("fair4free", "paper", {}).handover == "latent-bank"
    assert Fair4FreeConfig().handover == "auto"
