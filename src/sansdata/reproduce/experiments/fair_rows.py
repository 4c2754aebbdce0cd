"""Synthetic rows of a fair autoencoder's latents: how fair and how good is a classifier that was trained on them, on
the real test rows.

The autoencoder is trained once for a seed and its settings, on the real training rows. Of an arm's `experiment`:
autoencoder (settings of it), rule and proxies (of the decoding), and draws, where latents are drawn by the teacher
itself in one of its modes ('prior') or are those of real rows ('real') and no student is trained. Other methods:
'real-rows' is a classifier of the real training rows, 'constant' names one class for all, 'reductions' is fairlearn's
exponentiated gradient for demographic parity on real rows, which knows both rows and groups. 'accuracy' is the
classifier's.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...api.autoencoder import AutoencoderSettings, fit_autoencoder, latents_of_rows
from ...api.distill import distill
from ...api.result import Result
from ...api.rows import draw_latents
from ...datasets.labelled import KindSet
from ...datasets.load import load_set
from ...evaluate import fair_rows
from ...evaluate.fair_rows import LabelledRows, labelled_rows, latent_aucs
from ...evaluate.generated_rows import measured_rows
from ...network import Network
from ...tasks import load_task
from ...teachers.autoencoder import AutoEncoder, load_autoencoder, save_autoencoder, task_of
from ...teachers.autoencoder.base import Bank
from ...teachers.autoencoder.decoding import decoded, rule_of
from ..recipes.model import Arm, Recipe
from ..teachers import cache

ROWS = 20_000
SENSITIVE = {"adult": ("sex", ">50K"), "german-credit": ("personal-status=A92", "1")}
"""Data -> (the sensitive column, women against men; the good class)."""


@dataclass(frozen=True)
class Drawn:
    """latents (ROWS, Z), what they cost, and what is said of their student."""

    latents: Tensor
    cost: dict[str, Any]
    measures: dict[str, float]


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm; the test rows are opened once, after the last step."""
    training = _set(recipe.data, "train")
    path = ensure_autoencoder(recipe.data, arm.experiment.get("autoencoder", {}), seed)
    model = load_autoencoder(path)
    if arm.method in OTHERS:
        learnt, real = (_rows(model, _set(recipe.data, split)) for split in ("train", "test"))
        return figures(OTHERS[arm.method](model, learnt, real, seed), {}, arm.steps, {"samples": len(learnt)})
    drawn = drawn_by(recipe, arm, seed, path)
    stream = torch.Generator().manual_seed(seed)
    rule = rule_of(arm.experiment.get("rule", "neutral"), arm.experiment.get("proxies", ()), model)
    made = decoded(model, drawn.latents, rule, stream)
    learnt, real = _rows(model, training), _rows(model, _set(recipe.data, "test"))
    measured = measured_rows(made, model, real, learnt)
    return figures(measured, drawn.measures | _aucs(recipe.data, path, seed), arm.steps, drawn.cost)


def figures(measured: dict[str, float], more: dict[str, float], steps: int, cost: dict[str, Any]) -> dict[str, Any]:
    """As the page has them: shares in percent, ratios and areas as they are."""
    named = {
        "AUROC": "auroc", "DPR": "dpr", "EOR": "eor", "s-AUC": "s_auc", "density": "density",
        "closest record": "closest_record",
    }  # fmt: skip
    shares = {
        "balanced": "balanced_accuracy", "positive": "positive_rate", "coverage": "coverage",
        "nearer to training": "nearer_to_training",
    }  # fmt: skip
    measures = {shown: measured[name] for shown, name in named.items() if name in measured}
    measures |= {shown: 100 * measured[name] for shown, name in shares.items() if name in measured}
    return {"accuracy": measured["accuracy"], "steps": steps, "cost": cost, "measures": measures | more}


# -- the autoencoder, and who draws latents


def ensure_autoencoder(data: str, settings: dict[str, Any], seed: int) -> Path:
    """Its file; trained first where it is not there."""
    chosen = AutoencoderSettings.model_validate(settings)
    written = json.dumps(chosen.model_dump(mode="json"), sort_keys=True)
    path = cache() / f"{data}-fair-{hashlib.sha256(written.encode()).hexdigest()[:12]}-{seed}.safetensors"
    if path.is_file():
        return path
    sensitive, positive = SENSITIVE[data]
    model = fit_autoencoder(_set(data, "train"), sensitive, positive, chosen, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_autoencoder(path, model)
    return path


def drawn_by(recipe: Recipe, arm: Arm, seed: int, path: Path) -> Drawn:
    """By the teacher itself, or by a student, which arms that differ in the rule alone have in common."""
    model, source = load_autoencoder(path), arm.experiment.get("draws")
    stream = torch.Generator().manual_seed(seed)
    if source == "real":
        latents, _ = latents_of_rows(model, _set(recipe.data, "train"), seed)
        return Drawn(latents[torch.randint(len(latents), (ROWS,), generator=stream)], {"samples": ROWS}, {})
    if source is not None:
        return Drawn(model.latents(source, ROWS, stream), {"samples": ROWS}, {})
    options = json.dumps(arm.options, sort_keys=True)
    return _drawn_by_student(recipe.data, recipe.student, recipe.threads, options, arm.steps, seed, path)


@lru_cache(maxsize=16)
def _drawn_by_student(data: str, student: str, threads: int, written: str, steps: int, seed: int, path: Path) -> Drawn:
    """A strict run of fair4free with these options (JSON)."""
    options, model = json.loads(written), load_autoencoder(path)
    with tempfile.TemporaryDirectory() as folder:
        if options.get("handover") == "latent-bank":
            path = Path(folder) / "with-bank.safetensors"
            model.bank = Bank(*latents_of_rows(model, _set(data, "train"), seed))
            save_autoencoder(path, model)
        result = distill(
            str(path), student, "fair4free", f"{steps}steps", Path(folder) / "run", seed, task=task_of(model),
            strict=True, options=options, settings={"threads": threads, "engine": {"snapshots": 1, "sample_grids": 1}},
        )  # fmt: skip
        cost, measures = result.cost, of_student(result)
        stream = torch.Generator().manual_seed(seed)
        latents = draw_latents(Network.of(result.student, result.task), result.task, ROWS, stream)
    return Drawn(latents, cost, measures)


def of_student(result: Result) -> dict[str, float]:
    """Of the latents that it draws."""
    by_name = {one["name"]: one.get("value") for one in result.summary["figures"]}
    shown = {"latent spread": "latent_spread_ratio", "latent distance": "latent_energy_distance"}
    return {name: by_name[figure] for name, figure in shown.items()}


@lru_cache(maxsize=16)
def _latent_aucs(data: str, path: Path, seed: int) -> tuple[float, float]:
    training = _set(data, "train")
    return latent_aucs(*latents_of_rows(load_autoencoder(path), training, seed), training.labels)


def _aucs(data: str, path: Path, seed: int) -> dict[str, float]:
    """How well group and class can be read from latents of real rows."""
    group, label = _latent_aucs(data, path, seed)
    return {"s-AUC of z": group, "class AUC of z": label}


@lru_cache(maxsize=4)
def _set(data: str, split: str) -> KindSet:
    rows = load_set(data, load_task(data), split)
    assert isinstance(rows, KindSet)
    return rows


def _rows(model: AutoEncoder, rows: KindSet) -> LabelledRows:
    assert not isinstance(rows.packed, Tensor)
    return labelled_rows(model, rows.packed, torch.from_numpy(rows.labels))


# -- what stands beside the rows


def _again(learnt: LabelledRows, seed: int) -> LabelledRows:
    """A resample of the training rows, so that seeds differ."""
    return learnt.at(np.random.default_rng(seed).integers(0, len(learnt), len(learnt)))


def _real(model: AutoEncoder, learnt: LabelledRows, real: LabelledRows, seed: int) -> dict[str, float]:
    return fair_rows.downstream(model, _again(learnt, seed), real)


def _constant(model: AutoEncoder, learnt: LabelledRows, real: LabelledRows, seed: int) -> dict[str, float]:
    return fair_rows.constant(real, positive=bool(learnt.positive.mean() >= 0.5))


def _reductions(model: AutoEncoder, learnt: LabelledRows, real: LabelledRows, seed: int) -> dict[str, float]:
    """Of boosted trees, within 2 points of demographic parity on the training rows."""
    from fairlearn.reductions import DemographicParity, ExponentiatedGradient

    again, trees = _again(learnt, seed), fair_rows.classifier(model, seed).set_params(max_iter=40)
    reduction: Any = ExponentiatedGradient(trees, DemographicParity(difference_bound=0.02), max_iter=8)
    reduction.fit(again.columns, again.positive.astype(int), sensitive_features=again.groups)
    scores = reduction._pmf_predict(real.columns)[:, 1]
    chosen = np.asarray(reduction.predict(real.columns, random_state=seed)).astype(bool)
    return fair_rows.served(chosen, scores, real)


OTHERS = {"real-rows": _real, "constant": _constant, "reductions": _reductions}
"""Method -> (autoencoder, training rows, test rows, seed) -> figures of a classifier."""
